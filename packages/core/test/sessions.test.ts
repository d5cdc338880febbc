// Sessions whose transport, connector or observers break their contract: over a test transport, with test time.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ProxyError } from '../src/errors.ts';
import type { ProxyEvent } from '../src/observe.ts';
import { Admission } from '../src/pipeline/admission.ts';
import type { Upstream } from '../src/pipeline/connection.ts';
import { DEFAULT_LIMITS } from '../src/pipeline/limits.ts';
import type { Limits } from '../src/pipeline/limits.ts';
import { Sessions } from '../src/pipeline/sessions.ts';
import type { Stages } from '../src/pipeline/session.ts';
import type { Route } from '../src/routes/route.ts';
import type { Connection, Splice, Stall, Transfer } from '../src/transport/transport.ts';

const BACKEND = { address: { host: '10.0.0.1', port: 443 }, weight: 1, healthy: true };
const ROUTE: Route = { name: 'api', serverNames: [], backends: [BACKEND] };
const never = (): Promise<never> => new Promise(() => undefined);

/** Sends one byte as its hello, or nothing at all, and then stays silent. */
class Client implements Connection {
  readonly remote: { host: string; port: number };
  readonly local = { host: '10.0.0.9', port: 1 };
  onReset: ((error: ProxyError) => void) | undefined;
  destroyedBy: unknown = 'nobody';
  readonly written: string[] = [];
  #hello: string;
  #lose: (reason: unknown) => void = () => undefined;

  constructor(hello = 'x', host = '192.0.2.1') {
    this.#hello = hello;
    this.remote = { host, port: 1 };
  }

  read(): Promise<Uint8Array | undefined> {
    const bytes = Buffer.from(this.#hello);
    this.#hello = '';
    return bytes.length > 0 ? Promise.resolve(bytes) : new Promise((_resolve, reject) => (this.#lose = reject));
  }

  write(bytes: Uint8Array): Promise<void> {
    this.written.push(Buffer.from(bytes).toString());
    return Promise.resolve();
  }

  destroy(reason?: ProxyError): void {
    this.destroyedBy = reason ?? 'nothing';
    this.#lose(reason);
  }
}

/** A splice that the test controls. */
class TestSplice implements Splice {
  bytesUp = 3;
  bytesDown = 5;
  lastByteAt: number = performance.now();
  stall: Stall | undefined;
  onCut: (reason: ProxyError) => void = () => undefined;
  end: (transfer: Transfer) => void = () => undefined;
  readonly done: Promise<Transfer> = new Promise((resolve) => (this.end = resolve));
  stalled = (): Stall | undefined => this.stall;
  cut = (reason: ProxyError): void => this.onCut(reason);
}

function proxied(more: Partial<Stages> & { readonly limits?: Limits } = {}) {
  const events: ProxyEvent[] = [];
  const splices: TestSplice[] = [];
  const released: Transfer[] = [];
  const backend = new Client('');
  const upstream: Upstream = {
    connection: backend,
    route: ROUTE,
    backend: BACKEND,
    address: BACKEND.address,
    release: (transfer) => void released.push(transfer),
  };
  const limits = more.limits ?? DEFAULT_LIMITS;
  const stages: Stages = {
    sniffer: {
      name: 'any',
      inspect: (head) =>
        head[0] === 0x3f ? { kind: 'more' } : { kind: 'hello', hello: { protocol: 'x', serverName: 'a' } },
    },
    resolver: { resolve: () => ROUTE },
    connector: { connect: () => Promise.resolve(upstream) },
    transport: {
      dial: () => ({ done: never(), cut: () => undefined }),
      splice: () => {
        const splice = new TestSplice();
        splices.push(splice);
        return splice;
      },
    },
    limits,
    admission: new Admission({ ...DEFAULT_LIMITS, ...limits }),
    observer: { observe: (event) => void events.push(event) },
    ...more,
  };
  const sessions = new Sessions(stages);
  const accept = (client = new Client()): Client => (sessions.accept(client, 'edge'), client);
  const of = <Type extends ProxyEvent['type']>(type: Type) =>
    events.filter((event): event is Extract<ProxyEvent, { type: Type }> => event.type === type);
  return { sessions, stages, accept, events, of, splices, released, backend, upstream };
}

const soon = (): Promise<unknown> => vi.advanceTimersByTimeAsync(0);
const CUT = new ProxyError('CLOSED_BY_ADMIN', 'by an operator');

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('a session', () => {
  it('whose transport does not end a splice that was cut is closed five seconds later', async () => {
    const { sessions, accept, of, released, backend } = proxied();
    const client = accept();
    await soon();
    const [session] = sessions;
    expect([session?.cut(CUT), session?.cut(CUT)]).toEqual([true, false]);
    await vi.advanceTimersByTimeAsync(4_999);
    expect(of('connection.closed')).toEqual([]);
    await vi.advanceTimersByTimeAsync(2);
    const transfer = { bytesUp: 3, bytesDown: 5, error: { code: 'INTERNAL' } };
    expect(of('connection.closed')).toMatchObject([{ closed: { transfer } }]);
    expect(of('connection.closed')[0]?.closed.error?.message).toBe('transport: a splice did not end after it was cut');
    expect([released.length, sessions.size, client.destroyedBy, backend.destroyedBy]).toMatchObject([
      1,
      0,
      { code: 'INTERNAL' },
      { code: 'INTERNAL' },
    ]);
    expect([session?.cut(CUT), session?.live, session?.reached, session?.stalled()]).toEqual([
      false,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('whose splice cannot be cut is closed at once', async () => {
    const { sessions, accept, of, splices } = proxied();
    accept();
    await soon();
    const [splice] = splices;
    if (splice === undefined) throw new Error('expected a splice, found none');
    splice.onCut = () => {
      throw new Error('not now');
    };
    expect(sessions.cut(sessions.live()[0]?.connection.id ?? '', CUT)).toBe(true);
    expect(of('connection.closed')[0]?.closed.error).toMatchObject({ code: 'INTERNAL', message: 'transport: not now' });
    expect(sessions.cut('nobody', CUT)).toBe(false);
  });

  it('whose splice ends with an error of another kind ends with INTERNAL', async () => {
    const { accept, of, splices } = proxied();
    accept();
    await soon();
    splices[0]?.end({ bytesUp: 1, bytesDown: 1, error: new Error('oops') as ProxyError });
    await soon();
    expect(of('connection.closed')[0]?.closed.error).toMatchObject({ code: 'INTERNAL', message: 'transport: oops' });
  });

  it.each<[what: string, timeoutMs: number | undefined, afterMs: number]>([
    ['the proxy', undefined, 5_250],
    ['its route', 1_000, 1_250],
    ['the proxy where a resolver says nonsense', NaN, 5_250],
    ['the proxy where a resolver says less than nothing', -5, 5_250],
  ])(
    'whose transport does not keep to the connect timeout ends soon after that of %s',
    async (_whose, timeoutMs, afterMs) => {
      const route = { ...ROUTE, ...(timeoutMs !== undefined && { connectTimeoutMs: timeoutMs }) };
      const { accept, of } = proxied({
        resolver: { resolve: () => route },
        connector: {
          connect: (_route, context) =>
            context.dial(BACKEND, BACKEND.address, { keepAlive: { idleMs: 1 }, timeoutMs: 1 }).done.then(never),
        },
      });
      accept();
      await vi.advanceTimersByTimeAsync(afterMs - 1);
      expect(of('connection.closed')).toEqual([]);
      await vi.advanceTimersByTimeAsync(2);
      expect(of('connection.closed')[0]?.closed).toMatchObject({
        attempts: 1,
        error: { code: 'CONNECT_TIMEOUT' },
      });
    },
  );

  it('that was cut before its connector answers gives back what that reaches', async () => {
    let reach: (upstream: Upstream) => void = () => undefined;
    const connect = (): Promise<Upstream> => new Promise((resolve) => (reach = resolve));
    const { sessions, accept, of, released, backend, upstream } = proxied({ connector: { connect } });
    accept();
    await soon();
    const [session] = sessions;
    session?.cut(CUT);
    expect(of('connection.closed')).toMatchObject([{ closed: { attempts: 0, error: { code: 'CLOSED_BY_ADMIN' } } }]);
    reach(upstream);
    await soon();
    expect([released.length, backend.destroyedBy, of('connection.connected').length]).toEqual([1, 'nothing', 0]);
  });

  it('whose client resets while it is connecting says what it was waiting for', async () => {
    const { accept, of } = proxied({ connector: { connect: never } });
    const client = accept();
    await vi.advanceTimersByTimeAsync(40);
    client.onReset?.(new ProxyError('DOWNSTREAM_RESET', 'reset by its peer'));
    expect(of('connection.closed')[0]?.closed.error).toMatchObject({
      code: 'DOWNSTREAM_RESET',
      message: 'reset by its peer; 40 ms after its hello, before a backend was dialled',
    });
  });

  it('that is closed when it tells of a backend without an answer reaches no other', async () => {
    const reached: Transfer[] = [];
    const retry = { untilMs: Infinity, reach: (transfer: Transfer) => (reached.push(transfer), never()) };
    const proxy = proxied({
      connector: { connect: () => Promise.resolve({ ...proxy.upstream, retry }) },
      observer: {
        observe: (event) => {
          proxy.events.push(event);
          if (event.type === 'connection.retried') for (const session of proxy.sessions) session.cut(CUT);
        },
      },
    });
    proxy.accept();
    await soon();
    proxy.splices[0]?.end({ bytesUp: 1, bytesDown: 0, handedBack: true });
    await soon();
    expect(proxy.of('connection.closed')[0]?.closed).toMatchObject({ retries: 1, error: { code: 'CLOSED_BY_ADMIN' } });
    expect([reached.length, proxy.released.length, proxy.sessions.size]).toEqual([0, 1, 0]);
  });

  it.each(['downstream', 'upstream'] as const)(
    'that waits for its network is reported once in each silence: %s',
    async (side) => {
      const { sessions, accept, of, splices } = proxied();
      accept();
      await soon();
      const [splice] = splices;
      if (splice === undefined) throw new Error('expected a splice, found none');
      splice.stall = { side, reason: 'segments are lost' };
      await vi.advanceTimersByTimeAsync(60_000);
      const address = side === 'downstream' ? { host: '192.0.2.1', port: 1 } : BACKEND.address;
      const impaired = { problem: 'large-segments', side, reason: 'segments are lost', address };
      expect(of('path.impaired')).toMatchObject([impaired]);
      splice.lastByteAt = performance.now();
      await vi.advanceTimersByTimeAsync(60_000);
      expect(of('path.impaired')).toHaveLength(2);
      splice.end({ bytesUp: 1, bytesDown: 1 });
      await soon();
      expect([sessions.size, vi.getTimerCount()]).toEqual([0, expect.any(Number)]);
    },
  );
});

describe('all sessions', () => {
  it('refuse whoever comes once they accept no more, and say so', () => {
    const { sessions, accept, of } = proxied();
    sessions.stopAccepting();
    expect(accept().destroyedBy).toMatchObject({ code: 'CLOSED_BY_DRAIN' });
    expect(of('connection.refused')).toMatchObject([{ listener: 'edge', error: { code: 'CLOSED_BY_DRAIN' } }]);
    expect([sessions.size, sessions.ended]).toEqual([0, 0]);
  });

  it('are not harmed by a connection that cannot even be refused', () => {
    const { sessions, of } = proxied();
    sessions.stopAccepting();
    const client = new Client();
    client.destroy = () => {
      throw new Error('no');
    };
    sessions.accept(client, 'edge');
    expect(of('connection.refused')).toHaveLength(1);
  });

  it('keep no place for a connection that is none', () => {
    const { sessions, accept } = proxied({ limits: { ...DEFAULT_LIMITS, connections: 1, pendingHellos: 1 } });
    for (const none of [null, {}, { remote: undefined }])
      expect(() => sessions.accept(none as unknown as Connection, 'edge')).toThrow(TypeError);
    accept();
    expect(sessions.size).toBe(1);
  });

  it('close the oldest of the client with most connections when too many hellos are pending, among the first ones', async () => {
    const { accept, of } = proxied({ limits: { ...DEFAULT_LIMITS, pendingHellos: 40 } });
    const alone = Array.from({ length: 20 }, (_, index) => accept(new Client('?', `198.51.100.${index}`)));
    const crowd = Array.from({ length: 21 }, () => accept(new Client('?')));
    await soon();
    expect(of('connection.closed').map(({ closed }) => [closed.connection.remote.host, closed.error?.code])).toEqual([
      ['192.0.2.1', 'LIMIT_REACHED'],
    ]);
    expect([crowd[0]?.destroyedBy, alone[0]?.destroyedBy]).toMatchObject([{ code: 'LIMIT_REACHED' }, 'nobody']);
  });

  it('pass through other stages from a change on, and those that are live keep theirs', async () => {
    const { sessions, stages, accept, of } = proxied({ limits: { ...DEFAULT_LIMITS, helloTimeoutMs: 1_000 } });
    accept(new Client('?'));
    sessions.use({ ...stages, idPrefix: 'w2-', limits: { ...DEFAULT_LIMITS, helloTimeoutMs: 100 } });
    accept(new Client('?'));
    await vi.advanceTimersByTimeAsync(150);
    expect(of('connection.closed').map(({ closed }) => closed.connection.id)).toEqual(['w2-2']);
    await vi.advanceTimersByTimeAsync(900);
    expect(of('connection.closed').map(({ closed }) => closed.error?.code)).toEqual(['SNIFF_TIMEOUT', 'SNIFF_TIMEOUT']);
  });

  it('tell a client in its own protocol why it is turned away, wait for what it still sends, and close', async () => {
    const rejections = { ROUTE_NOT_FOUND: Buffer.from('no such name') };
    const { accept, of } = proxied({
      resolver: { resolve: () => undefined },
      sniffer: {
        name: 'any',
        inspect: () => ({ kind: 'hello', hello: { protocol: 'x', serverName: 'a' }, rejections }),
      },
    });
    const client = accept();
    await soon();
    expect([client.written, client.destroyedBy]).toEqual([['no such name'], 'nobody']);
    expect(of('connection.closed')[0]?.closed.error?.code).toBe('ROUTE_NOT_FOUND');
    await vi.advanceTimersByTimeAsync(200);
    expect(client.destroyedBy).toBe('nothing');
  });

  it('wait for 128 such clients at a time: more are closed at once, and so is one that sends without end', async () => {
    const rejections = { ROUTE_NOT_FOUND: Buffer.from('no') };
    const { accept } = proxied({
      resolver: { resolve: () => undefined },
      sniffer: {
        name: 'any',
        inspect: () => ({ kind: 'hello', hello: { protocol: 'x', serverName: 'a' }, rejections }),
      },
    });
    const clients = Array.from({ length: 129 }, () => accept());
    await soon();
    expect(clients.map(({ destroyedBy }) => destroyedBy)).toEqual([
      ...Array.from({ length: 128 }, () => 'nobody'),
      'nothing',
    ]);
    await vi.advanceTimersByTimeAsync(200);
    const endless = new Client();
    accept(endless);
    endless.read = () => Promise.resolve(new Uint8Array(65_536));
    await soon();
    expect(endless.destroyedBy).toBe('nothing');
  });
});
