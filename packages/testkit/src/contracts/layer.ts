import { ProxyError } from '@meshgate/core';
import type { ConnectContext, Connection, Connector, Layer, Route, Upstream } from '@meshgate/core';
import { sampleAccepted, sampleHello } from '../event-samples.ts';
import { describe, expect, it } from '../runner.ts';
import { within } from './deadline.ts';

/**
 * Declares a suite that checks the contract of a connector layer: it returns the inner connector's connection, or
 * releases it; rejects with a `ProxyError`; serves many connections concurrently; and settles soon after its client has
 * disconnected.
 *
 * @param create creates a layer for each test, which must pass the route `api` and the client of `sampleAccepted()`
 */
export function describeLayer(name: string, create: () => Layer<Connector>): void {
  describe(`${name}, as a connector layer,`, () => {
    it('returns a connection of the inner connector', async () => {
      const below = new Below();
      const upstream = await connect(create(), below);
      expect(below.made).toContain(upstream.connection);
      expect(upstream).toMatchObject({ route: { name: 'api' }, address: ADDRESS });
      upstream.release({ bytesUp: 0, bytesDown: 0 });
    });

    it('passes the release on to the inner connector, once', async () => {
      const below = new Below();
      const upstream = await connect(create(), below);
      upstream.release({ bytesUp: 1, bytesDown: 2 });
      expect(below.released).toBeGreaterThanOrEqual(1);
      expect(below.released).toBeLessThanOrEqual(below.made.length);
    });

    it('leaves no connection open that it does not return', async () => {
      const below = new Below();
      const upstream = await connect(create(), below);
      const dropped = below.made.filter((connection) => connection !== upstream.connection);
      expect(dropped.filter((connection) => !connection.isDestroyed)).toEqual([]);
    });

    it('rejects with a ProxyError when no backend can be reached', async () => {
      const failing = new ProxyError('CONNECT_REFUSED', 'dial 10.0.0.1:8443: ECONNREFUSED');
      const rejection: unknown = await connect(create(), new Below(() => Promise.reject(failing))).then(
        String,
        identity,
      );
      expect(rejection).toBeInstanceOf(ProxyError);
    });

    it('settles soon after the client has disconnected', async () => {
      const leaving = new AbortController();
      const gone = new ProxyError('DOWNSTREAM_RESET', 'the client disconnected');
      const below = new Below(({ signal }) => aborted(signal));
      const settled = connect(
        create(),
        below,
        contextOf(leaving.signal, () => gone),
      ).then(identity, identity);
      leaving.abort(gone);
      await within(settled, SETTLES_WITHIN_MS, 'the layer to settle after the signal has aborted');
    });

    it('serves a hundred connections concurrently', async () => {
      const [layer, below] = [create(), new Below()];
      const upstreams = await Promise.all(Array.from({ length: 100 }, () => connect(layer, below)));
      expect(new Set(upstreams.map(({ connection }) => connection)).size).toBe(100);
      for (const upstream of upstreams) upstream.release({ bytesUp: 0, bytesDown: 0 });
    });
  });
}

const ADDRESS = { host: '10.0.0.1', port: 8443 };
const ROUTE: Route = {
  name: 'api',
  serverNames: ['api.example.com'],
  backends: [{ address: ADDRESS, weight: 1, healthy: true }],
};
const SETTLES_WITHIN_MS = 1_000;

function connect(
  layer: Layer<Connector>,
  below: Connector,
  context = contextOf(new AbortController().signal),
): Promise<Upstream> {
  return layer(below).connect(ROUTE, context);
}

/** The inner connector: creates a connection per call, and counts releases. */
class Below implements Connector {
  readonly made: FakeConnection[] = [];
  released = 0;
  readonly #before: (context: ConnectContext) => Promise<unknown>;

  constructor(before: (context: ConnectContext) => Promise<unknown> = () => Promise.resolve()) {
    this.#before = before;
  }

  async connect(route: Route, context: ConnectContext): Promise<Upstream> {
    await this.#before(context);
    const connection = new FakeConnection();
    this.made.push(connection);
    const [backend = { address: ADDRESS, weight: 1, healthy: true }] = route.backends;
    return { connection, route, backend, address: ADDRESS, release: () => void (this.released += 1) };
  }
}

class FakeConnection implements Connection {
  readonly remote = ADDRESS;
  readonly local = { host: '10.0.0.9', port: 50_000 };
  onReset: Connection['onReset'];
  isDestroyed = false;
  read = (): Promise<undefined> => Promise.resolve(undefined);
  write = (): Promise<void> => Promise.resolve();

  destroy(): void {
    this.isDestroyed = true;
  }
}

function contextOf(signal: AbortSignal, reason: () => ProxyError | undefined = () => undefined): ConnectContext {
  return {
    connection: sampleAccepted(),
    hello: sampleHello(),
    signal,
    get abandoned() {
      return signal.aborted ? reason() : undefined;
    },
    attempts: 0,
    dial: () => ({ done: Promise.resolve(new FakeConnection()), cut: () => undefined }),
  };
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason as Error), { once: true });
    if (signal.aborted) reject(signal.reason as Error);
  });
}

function identity<T>(value: T): T {
  return value;
}
