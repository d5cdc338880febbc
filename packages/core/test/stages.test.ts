import { describe, expect, it } from 'vitest';
import { firstOf, layered } from '../src/pipeline/stages.ts';
import type { Sniffer, Verdict } from '../src/pipeline/stages.ts';

const hello: Verdict = {
  kind: 'hello',
  hello: { protocol: 'x', alpn: [], supportedVersions: [], ech: false, earlyData: false },
};

function says(name: string, ...verdicts: Verdict[]): Sniffer & { readonly asked: unknown[] } {
  const asked: unknown[] = [];
  return {
    name,
    asked,
    inspect: (_head, progress) => (asked.push(progress), verdicts[asked.length - 1] ?? { kind: 'pass' }),
  };
}

describe('several sniffers', () => {
  it('are called in order until one does not pass', () => {
    const third = says('c', hello);
    expect(firstOf([says('a', { kind: 'pass' }), says('b', hello), third]).inspect(new Uint8Array(1))).toBe(hello);
    expect(third.asked).toEqual([]);
  });

  it('pass when all of them pass', () => {
    expect(firstOf([says('a'), says('b')]).inspect(new Uint8Array(1))).toEqual({ kind: 'pass' });
    expect(firstOf([]).inspect(new Uint8Array(1))).toEqual({ kind: 'pass' });
  });

  it('continue with the one that asked for more, which gets its own progress back', () => {
    const [passes, waits, last] = [
      says('a', { kind: 'pass' }),
      says('b', { kind: 'more', progress: 7 }, { kind: 'pass' }),
      says('c', hello),
    ];
    const sniffer = firstOf([passes, waits, last]);
    const verdict = sniffer.inspect(new Uint8Array(1));
    expect(verdict.kind).toBe('more');
    expect(sniffer.inspect(new Uint8Array(2), verdict.kind === 'more' ? verdict.progress : undefined)).toBe(hello);
    expect(passes.asked).toEqual([undefined]);
    expect(waits.asked).toEqual([undefined, 7]);
    expect(last.asked).toEqual([undefined]);
  });

  it('are not wrapped when there is only one', () => {
    const only = says('a');
    expect(firstOf([only])).toBe(only);
  });
});

it('the layer listed first sees a call first', () => {
  const calls: string[] = [];
  const layer = (name: string) => (inner: () => void) => () => {
    calls.push(name);
    inner();
  };
  layered(() => void calls.push('stage'), [layer('outer'), layer('inner')])();
  expect(calls).toEqual(['outer', 'inner', 'stage']);
});
