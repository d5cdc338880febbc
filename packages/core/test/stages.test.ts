import { describe, expect, it } from 'vitest';
import { firstOf, layered } from '../src/pipeline/stages.ts';
import type { Sniffer, Verdict } from '../src/pipeline/stages.ts';

const hello: Verdict = {
  kind: 'hello',
  hello: { protocol: 'x', alpn: [], supportedVersions: [], ech: false, earlyData: false },
};

function expected(name: string, ...verdicts: Verdict[]): Sniffer & { readonly queried: unknown[] } {
  const queried: unknown[] = [];
  return {
    name,
    queried,
    inspect: (_head, progress) => (queried.push(progress), verdicts[queried.length - 1] ?? { kind: 'pass' }),
  };
}

describe('several sniffers', () => {
  it('are called in order until one does not pass', () => {
    const third = expected('c', hello);
    expect(firstOf([expected('a', { kind: 'pass' }), expected('b', hello), third]).inspect(new Uint8Array(1))).toBe(
      hello,
    );
    expect(third.queried).toEqual([]);
  });

  it('pass when all of them pass', () => {
    expect(firstOf([expected('a'), expected('b')]).inspect(new Uint8Array(1))).toEqual({ kind: 'pass' });
    expect(firstOf([]).inspect(new Uint8Array(1))).toEqual({ kind: 'pass' });
  });

  it('continue with the one that requested more, which gets its own progress back', () => {
    const [passes, waits, last] = [
      expected('a', { kind: 'pass' }),
      expected('b', { kind: 'more', progress: 7 }, { kind: 'pass' }),
      expected('c', hello),
    ];
    const sniffer = firstOf([passes, waits, last]);
    const verdict = sniffer.inspect(new Uint8Array(1));
    expect(verdict.kind).toBe('more');
    expect(sniffer.inspect(new Uint8Array(2), verdict.kind === 'more' ? verdict.progress : undefined)).toBe(hello);
    expect(passes.queried).toEqual([undefined]);
    expect(waits.queried).toEqual([undefined, 7]);
    expect(last.queried).toEqual([undefined]);
  });

  it('are not wrapped when there is only one', () => {
    const only = expected('a');
    expect(firstOf([only])).toBe(only);
  });
});

it('the first layer is called first', () => {
  const calls: string[] = [];
  const layer = (name: string) => (inner: () => void) => () => {
    calls.push(name);
    inner();
  };
  layered(() => void calls.push('stage'), [layer('outer'), layer('inner')])();
  expect(calls).toEqual(['outer', 'inner', 'stage']);
});
