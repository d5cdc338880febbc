import { describe, expect, it } from 'vitest';
import { ProxyError } from '../src/errors.ts';
import type { ProxyEvent } from '../src/observe.ts';
import { Connecting } from '../src/pipeline/connecting.ts';
import type { ConnectDialOptions } from '../src/pipeline/stages.ts';
import type { Endpoint } from '../src/transport/endpoint.ts';
import type { Connection, Dial, Transport } from '../src/transport/transport.ts';

const connection = { id: '1', listener: 'l', remote: { host: '::1', port: 1 }, local: { host: '::1', port: 2 }, at: 0 };
const hello = { protocol: 'tls' };
const backend = { address: { host: '10.0.0.1', port: 1 }, weight: 1, healthy: true };
const route = { name: 'r', serverNames: [], backends: [backend] };
const options = { keepAlive: { idleMs: 1 }, timeoutMs: 1_000 };
const gone = new ProxyError('DOWNSTREAM_RESET', 'gone');
const refused = new ProxyError('CONNECT_REFUSED', 'nobody listens');

/** Dials that the test settles. */
class Network implements Pick<Transport, 'dial'> {
  readonly dials: { to: Endpoint; resolve(connection: Connection): void; reject(reason: unknown): void }[] = [];

  dial(to: Endpoint): Dial {
    const { promise, resolve, reject } = deferred<Connection>();
    this.dials.push({ to, resolve, reject });
    return { done: promise, cut: reject };
  }
}

function deferred<T>() {
  let resolve: (value: T) => void = () => undefined;
  let reject: (reason: unknown) => void = () => undefined;
  const promise = new Promise<T>((onValue, onReason) => ([resolve, reject] = [onValue, onReason]));
  return { promise, resolve, reject };
}

/** A connection that only records whether it was closed. */
class Fake implements Connection {
  readonly remote = backend.address;
  readonly local = backend.address;
  onReset = undefined;
  closedBy: ProxyError | 'nothing' | undefined;
  read = (): Promise<undefined> => Promise.resolve(undefined);
  write = (): Promise<void> => Promise.resolve();
  destroy(reason?: ProxyError): void {
    this.closedBy ??= reason ?? 'nothing';
  }
}

function connecting(transport: Pick<Transport, 'dial'>) {
  const events: ProxyEvent[] = [];
  const observer = { observe: (event: ProxyEvent) => void events.push(event) };
  const context = new Connecting({ transport, observer }, connection, hello);
  context.route = route;
  const dial = (port: number, more?: Partial<ConnectDialOptions>): Dial =>
    context.dial(backend, { host: '10.0.0.1', port }, { ...options, ...more });
  return { context, dial, events };
}

describe('a dial of a session', () => {
  it('is counted once, and is the one shown from its start', () => {
    const { context, dial } = connecting(new Network());
    void dial(1);
    void dial(2);
    expect(context).toMatchObject({ attempts: 2, dialled: { port: 2 } });
  });

  it('returns the connection of the transport', async () => {
    const network = new Network();
    const { dial, events } = connecting(network);
    const { done } = dial(1);
    const reached = new Fake();
    network.dials[0]?.resolve(reached);
    expect(await done).toBe(reached);
    expect(events).toEqual([]);
  });

  it('is reported once when it fails, whether or not the connector waits for it', async () => {
    const network = new Network();
    const { dial, events } = connecting(network);
    void dial(1);
    const second = dial(2);
    for (const { reject } of network.dials) reject(refused);
    await expect(second.done).rejects.toBe(refused);
    expect(events).toEqual([
      { type: 'dial.failed', connection, route, address: { host: '10.0.0.1', port: 1 }, error: refused },
      { type: 'dial.failed', connection, route, address: { host: '10.0.0.1', port: 2 }, error: refused },
    ]);
  });

  it('is not reported when the connector cuts it', async () => {
    const { dial, events } = connecting(new Network());
    const { done, cut } = connectorsView(dial(1));
    cut(gone);
    await expect(done).rejects.toBe(gone);
    expect(events).toEqual([]);
  });

  it('closes a connection that is established after it was cut', async () => {
    const network = new Network();
    const { dial } = connecting({ dial: (to) => ({ ...network.dial(to), cut: () => undefined }) });
    const { done, cut } = connectorsView(dial(1));
    cut(gone);
    const delayed = new Fake();
    network.dials[0]?.resolve(delayed);
    await expect(done).rejects.toBe(gone);
    expect(delayed.closedBy).toBe(gone);
  });

  it('is cancelled even if the transport throws', async () => {
    const network = new Network();
    const cut = (): never => {
      throw new TypeError('no');
    };
    const { context, dial } = connecting({ dial: (to) => ({ ...network.dial(to), cut }) });
    const { done } = dial(1);
    expect(context.end({ bytesUp: 0, bytesDown: 0, error: gone })).toBeUndefined();
    const delayed = new Fake();
    network.dials[0]?.resolve(delayed);
    await expect(done).rejects.toBe(gone);
    expect(delayed.closedBy).toBe(gone);
  });

  it('fails with INTERNAL when the transport throws', async () => {
    const { dial, events } = connecting({
      dial() {
        throw new TypeError('no');
      },
    });
    await expect(dial(1).done).rejects.toMatchObject({ code: 'INTERNAL', message: 'transport: no' });
    expect(events).toMatchObject([{ type: 'dial.failed', error: { code: 'INTERNAL' } }]);
  });
});

describe('a session that ends', () => {
  it('cuts all pending dials, and none counts as failed', async () => {
    const { context, dial, events } = connecting(new Network());
    const all = [dial(1), dial(2), dial(3)].map(({ done }) => done);
    context.abandon(gone);
    expect(await Promise.allSettled(all)).toEqual(all.map(() => ({ status: 'rejected', reason: gone })));
    expect(events).toEqual([]);
  });

  it('closes every dialled connection, including those that the connector lost', async () => {
    const network = new Network();
    const { context, dial } = connecting(network);
    const all = [dial(1).done, dial(2).done];
    const reached = [new Fake(), new Fake()];
    for (const [index, each] of reached.entries()) network.dials[index]?.resolve(each);
    await Promise.all(all);
    context.abandon(gone);
    expect(reached.map(({ closedBy }) => closedBy)).toEqual([gone, gone]);
  });

  it('refuses further dials', async () => {
    const network = new Network();
    const { context, dial } = connecting(network);
    context.abandon(gone);
    await expect(dial(1).done).rejects.toBe(gone);
    expect(network.dials).toEqual([]);
    expect(context.signal.reason).toBe(gone);
  });
});

describe('a client that disconnects', () => {
  it('is reported as disconnected before any dial, or after a failed one', async () => {
    const network = new Network();
    const { context, dial } = connecting(network);
    expect(context.closedWhileConnecting(gone).message).toMatch(/after its hello, before a backend was dialled$/);
    const { done } = dial(1);
    network.dials[0]?.reject(refused);
    await expect(done).rejects.toBe(refused);
    expect(context.closedWhileConnecting(gone).message).toMatch(
      /after its hello, after the dial to 10\.0\.0\.1:1 had ended$/,
    );
  });
});

describe('a dial with an upgrade', () => {
  it('returns the upgraded connection, within the remaining time of the dial', async () => {
    const network = new Network();
    const { dial } = connecting(network);
    const above = new Fake();
    let remainingMs = Infinity;
    const { done } = dial(1, {
      upgrade: (_below, { timeoutMs }) => ((remainingMs = timeoutMs), Promise.resolve(above)),
    });
    network.dials[0]?.resolve(new Fake());
    expect(await done).toBe(above);
    expect(remainingMs).toBeLessThanOrEqual(options.timeoutMs);
  });

  it('is in progress until then, so that a client which disconnects meanwhile has waited for its backend', async () => {
    const network = new Network();
    const { context, dial } = connecting(network);
    const begun = deferred<void>();
    void dial(1, { upgrade: () => (begun.resolve(), new Promise(() => undefined)) });
    network.dials[0]?.resolve(new Fake());
    await begun.promise;
    expect(context.isDialling).toBe(true);
    expect(context.closedWhileConnecting(gone).message).toMatch(
      /^gone; .* after its hello, while 10\.0\.0\.1:1 had not responded$/,
    );
  });

  it('fails with the upgrade: reported, the connection closed', async () => {
    const network = new Network();
    const { dial, events } = connecting(network);
    const below = new Fake();
    const untrusted = new ProxyError('UPSTREAM_UNTRUSTED', 'somebody else');
    const { done } = dial(1, { upgrade: () => Promise.reject(untrusted) });
    network.dials[0]?.resolve(below);
    await expect(done).rejects.toBe(untrusted);
    expect(below.closedBy).toBe('nothing');
    expect(events).toMatchObject([{ type: 'dial.failed', error: untrusted }]);
  });

  it('is cancelled when it is no longer needed, and its connection is closed', async () => {
    const network = new Network();
    const { context, dial } = connecting(network);
    const begun = deferred<AbortSignal>();
    const below = new Fake();
    const { done } = dial(1, {
      upgrade: (_below, { signal }) => {
        begun.resolve(signal);
        return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)));
      },
    });
    network.dials[0]?.resolve(below);
    expect((await begun.promise).aborted).toBe(false);
    context.abandon(gone);
    await expect(done).rejects.toBe(gone);
    expect(below.closedBy).toBe(gone);
  });
});

/** A dial as a connector sees it: the promise, and a function that cancels it. */
function connectorsView(dial: Dial): { done: Promise<Connection>; cut(reason: ProxyError): void } {
  return { done: dial.done, cut: (reason) => dial.cut(reason) };
}
