import { describe, expect, it } from 'vitest';
import { changedUpstream, formatTrace, releasing, withPreface } from '../src/pipeline/connection.ts';
import type { Upstream } from '../src/pipeline/connection.ts';
import { firstOf, firstToKnow, layered, withUpgrade } from '../src/pipeline/stages.ts';
import type { ConnectContext, ConnectDialOptions, Sniffer, UpgradeTime, Verdict } from '../src/pipeline/stages.ts';
import type { Connection, Transfer } from '../src/transport/transport.ts';

const AT = { host: '::1', port: 1 };
const BACKEND = { address: AT, weight: 1, healthy: true };

const hello: Extract<Verdict, { kind: 'hello' }> = {
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

describe('several resolvers', () => {
  const route = { name: 'r', serverNames: [], backends: [] };
  const from = { id: '1', listener: 'l', remote: AT, local: AT, at: 0 };

  it('are asked in order until one knows a route', () => {
    const none = { resolve: () => undefined };
    expect(firstToKnow([none, { resolve: () => route }, none]).resolve(hello.hello, from)).toBe(route);
    expect(firstToKnow([none, none]).resolve(hello.hello, from)).toBeUndefined();
    expect(firstToKnow([]).resolve(hello.hello, from)).toBeUndefined();
  });

  it('are not wrapped when there is only one', () => {
    const only = { resolve: () => route };
    expect(firstToKnow([only])).toBe(only);
  });
});

describe('an upgrade of a layer', () => {
  /** A context that records the options of its dials, and how often its signal was read. */
  function contextOf() {
    const options: ConnectDialOptions[] = [];
    const signals: AbortSignal[] = [];
    const context: ConnectContext = {
      connection: { id: '1', listener: 'l', remote: AT, local: AT, at: 0 },
      hello: hello.hello,
      get signal() {
        signals.push(AbortSignal.abort());
        return AbortSignal.abort();
      },
      abandoned: undefined,
      attempts: 3,
      dial: (_backend, _address, dialled) => (
        options.push(dialled),
        { done: new Promise(() => undefined), cut: () => undefined }
      ),
    };
    return { context, options, signals };
  }

  const named =
    (name: string, calls: string[]) =>
    (connection: Connection, { timeoutMs }: UpgradeTime) => {
      calls.push(`${name} ${timeoutMs <= 1_000 && timeoutMs >= 0 ? 'in time' : timeoutMs}`);
      return Promise.resolve({ ...connection, remote: { host: `${connection.remote.host} ${name}`, port: 1 } });
    };

  it('goes before what is put over the connection anyway, within the time of the dial', async () => {
    const { context, options } = contextOf();
    const calls: string[] = [];
    const upgrading = withUpgrade(context, named('layer', calls));
    const dial = { keepAlive: { idleMs: 1 }, timeoutMs: 1_000 };
    upgrading.dial(BACKEND, AT, { ...dial, upgrade: named('connector', calls) });
    upgrading.dial(BACKEND, AT, dial);
    const connection = { remote: { host: 'raw', port: 1 } } as Connection;
    const within = { timeoutMs: 1_000, signal: new AbortController().signal };
    const both = await options[0]?.upgrade?.(connection, within);
    expect([both?.remote.host, calls]).toEqual(['raw layer connector', ['layer in time', 'connector in time']]);
    expect((await options[1]?.upgrade?.(connection, within))?.remote.host).toBe('raw layer');
  });

  it('leaves the rest of the context as it is, and its signal unmade until it is asked for', () => {
    const { context, signals } = contextOf();
    const upgrading = withUpgrade(context, () => Promise.reject(new Error('no')));
    expect([upgrading.connection, upgrading.hello, upgrading.abandoned, upgrading.attempts]).toEqual([
      context.connection,
      context.hello,
      undefined,
      3,
    ]);
    expect(signals).toHaveLength(0);
    expect([upgrading.signal.aborted, signals.length]).toEqual([true, 1]);
  });
});

describe('an upstream', () => {
  const transfer = { bytesUp: 1, bytesDown: 2 };
  const route = { name: 'r', serverNames: [], backends: [] };

  function upstream(more: Partial<Upstream> = {}) {
    const released: Transfer[] = [];
    const release = (of: Transfer): void => void released.push(of);
    const one: Upstream = { connection: {} as Connection, route, backend: BACKEND, address: AT, release, ...more };
    return { one, released };
  }

  it('keeps the changes of a layer when another takes its place', async () => {
    const next = upstream();
    const { one } = upstream({ retry: { untilMs: 7, reach: () => Promise.resolve(next.one) } });
    const changed = changedUpstream(one, (of) => ({ ...of, trace: 5 }));
    expect([changed.trace, changed.retry?.untilMs]).toEqual([5, 7]);
    const second = await changed.retry?.reach(transfer);
    expect([second?.trace, second?.retry]).toEqual([5, undefined]);
  });

  it('is given back once for good, whatever takes its place', async () => {
    const next = upstream();
    const { one, released } = upstream({
      preface: Uint8Array.of(1),
      trace: 3,
      retry: { untilMs: 7, reach: () => Promise.resolve(next.one) },
    });
    let done = 0;
    const watched = releasing(one, () => (done += 1));
    expect(watched).toMatchObject({ trace: 3, preface: Uint8Array.of(1) });
    const second = await watched.retry?.reach(transfer);
    expect(done).toBe(0);
    second?.release(transfer);
    expect([done, released, next.released]).toEqual([1, [], [transfer]]);
  });

  it('is given back when nothing takes its place', async () => {
    const { one } = upstream({ retry: { untilMs: 7, reach: () => Promise.reject(new Error('none left')) } });
    let done = 0;
    await expect(releasing(one, () => (done += 1)).retry?.reach(transfer)).rejects.toThrow('none left');
    expect(done).toBe(1);
  });

  it('has its preface before the bytes of the client', () => {
    const head = Uint8Array.of(3);
    expect(withPreface({}, head)).toBe(head);
    expect([...withPreface({ preface: Uint8Array.of(1, 2) }, head)]).toEqual([1, 2, 3]);
  });

  it.each([
    [0, '0000000000000'],
    [255, '00000000000ff'],
    [2 ** 52 - 1, 'fffffffffffff'],
  ])('has the trace %d shown as %s', (trace, shown) => {
    expect(formatTrace(trace)).toBe(shown);
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
