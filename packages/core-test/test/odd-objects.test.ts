// Objects from plugins may be frozen, a Proxy, without a prototype, or reused: a proxy must work with them.
import { createProxy, staticSource } from '@meshgate/core';
import type {
  Connector,
  Endpoint,
  Hello,
  Layer,
  Observer,
  ProxyOptions,
  Resolver,
  Route,
  RouteSource,
  Sniffer,
} from '@meshgate/core';
import { rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

function apiRoute(address: Endpoint): Route {
  return { name: 'api', serverNames: ['api.example'], backends: [{ address, weight: 1, healthy: true }] };
}

/** The same data, built differently. */
type Make = <T>(value: T) => T;

function isPlain(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    (Array.isArray(value) || Object.getPrototypeOf(value) === Object.prototype)
  );
}

const frozen: Make = (value) => {
  if (!isPlain(value)) return value;
  for (const inner of Object.values(value)) frozen(inner);
  return Object.freeze(value);
};

const proxied: Make = (value) =>
  isPlain(value)
    ? new Proxy(value, {
        get: (target, key) => proxied(Reflect.get(target, key) as unknown),
      })
    : value;

const withoutPrototype: Make = (value) => {
  if (!isPlain(value) || Array.isArray(value)) return value;
  const bare: unknown = Object.create(null);
  const inner = Object.entries(value).map(([key, one]) => [key, withoutPrototype(one)]);
  return Object.assign(bare as typeof value, Object.fromEntries(inner));
};

const HELLO: Hello = { protocol: 'any', serverName: 'api.example' };
const sniffer = (make: Make): Sniffer => ({
  name: 'any',
  inspect: () => make({ kind: 'hello', hello: make(HELLO) } as const),
});

async function proxyOf(options: Partial<ProxyOptions>) {
  const events = recorder();
  const proxy = createProxy({
    listen: { host: '127.0.0.1', port: 0 },
    sniffers: [sniffer((value) => value)],
    observers: [events],
    drain: { graceMs: 0, spreadMs: 0 },
    ...options,
  });
  await proxy.start();
  return { address: proxy.address, events, [Symbol.asyncDispose]: () => proxy.stop() };
}

type Started = Awaited<ReturnType<typeof proxyOf>>;

async function echo({ address, events }: Started, count: number): Promise<string> {
  await using client = await rawClient(address);
  await client.send('x');
  await client.receive(1);
  client.end();
  await client.closed;
  await events.untilCount('connection.closed', count);
  return events.all('connection.closed').at(-1)?.closed.error?.message ?? 'OK';
}

describe.each<[what: string, make: Make]>([
  ['frozen', frozen],
  ['behind a Proxy', proxied],
  ['without a prototype', withoutPrototype],
])('what is %s', (_what, make) => {
  it('is as good as any other, of whatever part of a plugin', async () => {
    await using backend = await tcpBackend('b');
    const route = apiRoute(backend.address);
    const source: RouteSource = {
      name: 'odd',
      async *watch(signal) {
        yield make({
          version: '1',
          routes: [route, { ...route, name: 'other', serverNames: ['other.example'], limits: { connections: 5 } }],
        });
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
      },
    };
    const resolver: Resolver = { resolve: () => make({ ...route, name: 'resolved', limits: { perBackend: 5 } }) };
    const layer: Layer<Connector> = (inner) => ({
      connect: async (to, context) => make({ ...(await inner.connect(to, context)) }),
    });
    const filter = { name: 'odd', filter: async () => make({ kind: 'hello', hello: HELLO } as const) };
    const variants: readonly Partial<ProxyOptions>[] = [
      { sources: [source] },
      { sources: [], resolvers: [resolver] },
      { sources: [source], sniffers: [sniffer(make)] },
      { sources: [source], filters: [filter] },
      { sources: [source], layers: [layer] },
    ];
    for (const variant of variants) {
      await using proxy = await proxyOf(variant);
      expect(await echo(proxy, 1)).toBe('OK');
    }
  });
});

describe('an upstream', () => {
  it('that a layer gives back again and again counts once, for every limit', async () => {
    await using backend = await tcpBackend('b');
    const limits = { connections: 2, perBackend: 2 };
    const backends = [{ address: backend.address, weight: 1, healthy: true }];
    const route: Route = { name: 'api', serverNames: ['api.example'], backends, limits, balance: 'least_connections' };
    const again: Layer<Connector> = (inner) => ({
      async connect(to, context) {
        const upstream = await inner.connect(to, context);
        return { ...upstream, release: (transfer) => [1, 2, 3].forEach(() => upstream.release(transfer)) };
      },
    });
    await using proxy = await proxyOf({ sources: [staticSource('s', [route])], layers: [again] });
    for (let times = 1; times <= 3; times += 1) expect(await echo(proxy, times)).toBe('OK');
    const clients = await Promise.all([1, 2, 3].map(() => rawClient(proxy.address)));
    for (const client of clients) await client.send('x');
    await proxy.events.untilCount('connection.closed', 4);
    const last = proxy.events.all('connection.closed').at(-1)?.closed;
    expect(last?.error).toMatchObject({ code: 'LIMIT_REACHED' });
    for (const client of clients) await client[Symbol.asyncDispose]();
  });
});

describe('an observer', () => {
  it('that writes into what it is told of does not keep the next connection from its backend', async () => {
    await using backend = await tcpBackend('b');
    const route = apiRoute(backend.address);
    const vandal: Observer = {
      name: 'vandal',
      observe(event) {
        if (event.type !== 'connection.closed') return;
        Object.assign(event.closed, { transfer: null, error: null });
        Object.assign(event.closed.connection, { id: null, remote: null, facts: null });
        if (event.closed.upstream !== undefined)
          Object.assign(event.closed.upstream, { route: null, backend: null, address: null });
      },
    };
    const events = recorder();
    await using proxy = await proxyOf({ sources: [staticSource('s', [route])], observers: [events, vandal] });
    for (let times = 1; times <= 2; times += 1) {
      await using client = await rawClient(proxy.address);
      await client.send('x');
      expect((await client.receive(1)).toString()).toBe('x');
      client.end();
      await client.closed;
      await events.untilCount('connection.closed', times);
    }
    expect(events.all('observer.threw')).toEqual([]);
  });
});
