// Mistakes that authors of plugins make in JavaScript: each ends its own connection with an error that says what was expected and what
// was found, leaves no socket open, and neither ends the process nor leaves a rejection that nobody handles.
import { createProxy, ProxyError } from '@meshgate/core';
import type { ConnectContext, Connector, FilterContext, ProxyOptions, Route, Service } from '@meshgate/core';
import { rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

type Options = Partial<Record<keyof ProxyOptions, unknown>>;

const strays: unknown[] = [];
const onStray = (reason: unknown): unknown => strays.push(reason);
beforeEach(() => {
  process.on('unhandledRejection', onStray).on('uncaughtException', onStray);
});
afterEach(() => {
  process.off('unhandledRejection', onStray).off('uncaughtException', onStray);
  expect(strays.splice(0)).toEqual([]);
});

const HELLO = { protocol: 'any', serverName: 'api.example' };
const KEEP_ALIVE = { idleMs: 60_000 };

function sniffing(inspect: () => unknown): Options {
  return { sniffers: [{ name: 'careless', inspect }] };
}
function filtering(filter: (client: FilterContext & Record<string, (value: unknown) => never>) => unknown): Options {
  return { filters: [{ name: 'careless', filter }] };
}
function layer(made: (inner: Connector) => unknown): Options {
  return { layers: [made] };
}
/** A layer that connects by itself, by one dial. */
function dialling(
  dial: (context: ConnectContext & { dial(...given: unknown[]): never }, route: Route) => unknown,
): Options {
  return layer(() => ({
    async connect(route: Route, context: never) {
      const { done } = dial(context, route) as { readonly done: Promise<unknown> };
      const [backend] = route.backends;
      return { connection: await done, route, backend, address: backend?.address, release: () => undefined };
    },
  }));
}
/** A layer that changes what the connector gives. */
function upstream(change: object): Options {
  return layer((inner) => ({
    connect: async (...given: Parameters<Connector['connect']>) => ({ ...(await inner.connect(...given)), ...change }),
  }));
}
function resolving(route: Route, change: object): Options {
  return { resolvers: [{ resolve: () => ({ ...route, ...change }) }] };
}

const circular: Record<string, unknown> = { kind: 'allow' };
circular['self'] = circular;

const CASES: readonly (readonly [what: string, wrong: (route: Route) => Options, reason: string])[] = [
  [
    'a layer that forgets to return',
    () => layer((inner) => ({ connect: (...given: Parameters<Connector['connect']>) => void inner.connect(...given) })),
    'layer: expected an upstream with a connection, found nothing',
  ],
  [
    'a layer that gives a promise in an object',
    () =>
      layer((inner) => ({
        connect: (...given: Parameters<Connector['connect']>) => ({ upstream: inner.connect(...given) }),
      })),
    'layer: expected an upstream with a connection, found an object',
  ],
  [
    'a dial without options',
    () => dialling((context, { backends: [backend] }) => context.dial(backend, backend?.address)),
    'layer: dial: expected { timeoutMs, keepAlive }, found nothing',
  ],
  [
    'a dial without a timeout',
    () =>
      dialling((context, { backends: [backend] }) =>
        context.dial(backend, backend?.address, { keepAlive: KEEP_ALIVE }),
      ),
    'layer: dial: expected timeoutMs, a number of 0 or more, found nothing',
  ],
  [
    'a dial with a timeout that is a string',
    () =>
      dialling((context, { backends: [backend] }) =>
        context.dial(backend, backend?.address, { keepAlive: KEEP_ALIVE, timeoutMs: '5000' }),
      ),
    'layer: dial: expected timeoutMs, a number of 0 or more, found a string',
  ],
  [
    'a dial without keepalive',
    () => dialling((context, { backends: [backend] }) => context.dial(backend, backend?.address, { timeoutMs: 500 })),
    'layer: dial: expected keepAlive, an object, found nothing',
  ],
  [
    'a dial to an address alone',
    () => dialling((context, { backends: [backend] }) => context.dial(backend?.address)),
    'layer: dial: expected an address with host and port, found nothing',
  ],
  [
    'a dial to a string',
    () =>
      dialling((context, { backends: [backend] }) =>
        context.dial(backend, '127.0.0.1:80', { timeoutMs: 500, keepAlive: KEEP_ALIVE }),
      ),
    'layer: dial: expected an address with host and port, found a string',
  ],
  [
    'an upgrade that is no function',
    () =>
      dialling((context, { backends: [backend] }) =>
        context.dial(backend, backend?.address, { timeoutMs: 500, keepAlive: KEEP_ALIVE, upgrade: true }),
      ),
    'layer: dial: expected upgrade, a function, found a boolean',
  ],
  [
    'an upgrade that gives nothing',
    () =>
      dialling((context, { backends: [backend] }) =>
        context.dial(backend, backend?.address, {
          timeoutMs: 500,
          keepAlive: KEEP_ALIVE,
          upgrade: async () => undefined,
        }),
      ),
    'upgrade: expected a connection, found nothing',
  ],
  [
    'an upgrade that throws',
    () =>
      dialling((context, { backends: [backend] }) =>
        context.dial(backend, backend?.address, {
          timeoutMs: 500,
          keepAlive: KEEP_ALIVE,
          upgrade: () => {
            throw new Error('broke');
          },
        }),
      ),
    'upgrade: broke',
  ],
  [
    'an upstream whose preface is a string',
    () => upstream({ preface: 'HELO' }),
    'layer: expected an upstream whose preface is a Uint8Array, found a string',
  ],
  [
    'an upstream whose retry is null',
    () => upstream({ retry: null }),
    'layer: expected an upstream whose retry has reach(), found null',
  ],
  [
    'an upstream without a connection',
    () => upstream({ connection: undefined }),
    'layer: expected an upstream with a connection, found an object',
  ],
  ['a verdict that is a string', () => sniffing(() => 'hello'), 'sniffer careless: expected a verdict, found a string'],
  [
    'a verdict that comes later',
    () => sniffing(() => Promise.reject(new Error('later'))),
    'sniffer careless: expected a verdict, found a promise',
  ],
  [
    'a verdict that cannot be read',
    () =>
      sniffing(() => ({
        get kind() {
          throw new Error('no kind');
        },
      })),
    'sniffer careless: no kind',
  ],
  [
    'a rejection without a reason',
    () => sniffing(() => ({ kind: 'reject' })),
    'sniffer careless: expected a verdict, found an object',
  ],
  [
    'rejection bytes that are a string',
    () =>
      sniffing(() => ({
        kind: 'hello',
        hello: { ...HELLO, serverName: 'other.example' },
        rejections: { ROUTE_NOT_FOUND: 'bye' },
      })),
    'sniffer: expected rejection bytes, a Uint8Array, found a string',
  ],
  [
    'a filter that gives an object with a cycle',
    () => filtering(async () => circular),
    "filter careless: expected nothing, a hello or disconnected, found <ref *1> { kind: 'allow'",
  ],
  [
    'a filter that gives a function',
    () => filtering(async () => () => undefined),
    'filter careless: expected nothing, a hello or disconnected, found [Function',
  ],
  [
    'a filter whose code does not exist',
    () =>
      filtering(async () => {
        throw new ProxyError('REFUSED' as never, 'no');
      }),
    'filter careless: expected the code of an error, such as REFUSED_BY_POLICY, found REFUSED: no',
  ],
  [
    'a filter that is a generator',
    () => filtering(function* () {}),
    'filter careless: expected nothing, a hello or disconnected, found Object [Generator]',
  ],
  [
    'a filter that consumes a string',
    () => filtering(async (client) => (await client.peek(1), client.consume('1' as never))),
    'filter careless: expected to consume 0 to 1 bytes, found 1',
  ],
  [
    'a filter that consumes a part of a byte',
    () => filtering(async (client) => (await client.peek(1), client.consume(0.5))),
    'filter careless: expected to consume 0 to 1 bytes, found 0.5',
  ],
  [
    'a filter that peeks at a string',
    () => filtering((client) => client.peek('1' as never)),
    'filter careless: expected to peek at 1 to 131072 bytes, found 1',
  ],
  [
    'a filter whose client has no IP address',
    () => filtering(async (client) => client.setRemote({ host: '300.1.1.1', port: 1 })),
    'filter careless: expected the IP address and port of a client, found 300.1.1.1:1',
  ],
  [
    'a filter whose client has no port',
    () => filtering(async (client) => client.setRemote({ host: '192.0.2.1', port: NaN })),
    'filter careless: expected the IP address and port of a client, found 192.0.2.1:NaN',
  ],
  [
    'a resolver whose access rules are a string',
    (route) => resolving(route, { access: 'deny all' }),
    'resolver: access: expected access rules, found "deny all"',
  ],
  [
    'a resolver whose limit is a string',
    (route) => resolving(route, { limits: { connections: '1' } }),
    'resolver: limits.connections: expected an integer of 1 or more, found "1"',
  ],
  [
    'a resolver whose limit is NaN',
    (route) => resolving(route, { limits: { perBackend: NaN } }),
    'resolver: limits.perBackend: expected an integer of 1 or more, found NaN',
  ],
  [
    'a resolver whose egress is true',
    (route) => resolving(route, { egress: true }),
    'resolver: egress: expected { port',
  ],
  [
    'a resolver whose timeout is a string',
    (route) => resolving(route, { connectTimeoutMs: '5' }),
    'resolver: connectTimeoutMs: expected a number of milliseconds above 0, found "5"',
  ],
  [
    'a resolver whose port is NaN',
    (route) => resolving(route, { backends: [{ ...route.backends[0], address: { host: '127.0.0.1', port: NaN } }] }),
    'resolver: backends.0.address.port: expected an integer from 1 to 65535, found NaN',
  ],
  [
    'a resolver whose backend is null',
    (route) => resolving(route, { backends: [null] }),
    'resolver: backends.0: expected a backend, found null',
  ],
  [
    'a resolver that gives a promise',
    () => ({ resolvers: [{ resolve: () => Promise.reject(new Error('later')) }] }),
    'resolver: expected a route or undefined, found a promise',
  ],
];

describe('a mistake in a plugin', () => {
  it.each(CASES)('%s says what was expected and what was found', async (_what, wrong, reason) => {
    await using backend = await tcpBackend('b');
    const backends = [{ address: backend.address, weight: 1, healthy: true }];
    const route: Route = { name: 'api', serverNames: ['api.example'], backends };
    await using proxy = await started({ routes: [route], ...wrong(route) });
    await using client = await rawClient(proxy.address);
    await client.send('x');
    await client.closed;
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error?.message).toContain(reason);
    expect(closed.error?.code).toBe('INTERNAL');
    await backend.untilIdle();
  });

  it('a balance that chooses later is reported, and another backend is chosen', async () => {
    await using backend = await tcpBackend('b');
    const both = [1, 2].map((weight) => ({ address: backend.address, weight, healthy: true }));
    const balance = { name: 'careless', settings: {} };
    const route: Route = { name: 'api', serverNames: ['api.example'], backends: both, balance };
    await using proxy = await started({
      routes: [route],
      balances: { careless: () => ({ pick: () => Promise.reject(new Error('later')) }) },
    });
    await using client = await rawClient(proxy.address);
    await client.send('x');
    expect((await client.receive(1)).toString()).toBe('x');
    const { error } = await proxy.events.until('balance.failed');
    expect(error.message).toBe('expected one of the backends it was given, found a promise');
  });

  it.each<readonly [what: string, made: unknown, found: string]>([
    ['gives nothing', () => undefined, 'nothing'],
    ['is asynchronous', async (inner: Connector) => inner, 'a promise'],
    ['gives a function', (inner: Connector) => inner.connect.bind(inner), 'a function'],
    ['rejects', () => Promise.reject(new Error('later')), 'a promise'],
  ])('a layer that %s is refused when it wraps the connector', async (_what, made, found) => {
    await using backend = await tcpBackend('b');
    const backends = [{ address: backend.address, weight: 1, healthy: true }];
    const route: Route = { name: 'api', serverNames: ['api.example'], backends };
    const reason = `expected an object with connect(), found ${found}`;
    expect(() => createProxy(optionsOf({ routes: [route], layers: [made] }))).toThrow(`layer: ${reason}`);
    const used: Route = { ...route, use: [{ name: 'careless', settings: {} }] };
    await using proxy = await started({ routes: [used], routeLayers: { careless: () => made } });
    await using client = await rawClient(proxy.address);
    await client.send('x');
    await client.closed;
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error?.message).toContain(
      `the route api uses "careless", which refuses its settings: connector layer: ${reason}`,
    );
  });
});

describe('a careless service', () => {
  it('that starts too late and cannot be stopped leaves no rejection behind', async () => {
    const starting = new AbortController();
    let begin: () => void = () => undefined;
    let stop: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => (begin = resolve));
    const stopped = new Promise<void>((resolve) => (stop = resolve));
    const slow: Service = {
      name: 'slow',
      start: () => {
        starting.abort();
        return begun;
      },
      stop: () => {
        stop();
        throw new Error('broke');
      },
    };
    const proxy = createProxy(optionsOf({ routes: [], services: [slow] }));
    await expect(proxy.start(starting.signal)).rejects.toThrow('slow did not give up its start in time');
    begin();
    await stopped;
    await new Promise((resolve) => setImmediate(resolve));
  });

  it('whose drain hook cannot be read is reported, and the proxy stops', async () => {
    const service = {
      name: 'careless',
      start: () => undefined,
      stop: () => undefined,
      get drain() {
        throw new Error('no hook');
      },
    };
    const events = recorder();
    const proxy = createProxy(optionsOf({ routes: [], services: [service], observers: [events] }));
    await proxy.start();
    await proxy.stop();
    expect(await events.until('service.failed')).toMatchObject({ service: 'careless', error: { message: 'no hook' } });
    await events.until('listener.closed');
  });
});

function optionsOf(options: Options): ProxyOptions {
  const working = {
    listen: { host: '127.0.0.1', port: 0 },
    sniffers: [{ name: 'any', inspect: () => ({ kind: 'hello', hello: HELLO }) }],
    drain: { graceMs: 0, spreadMs: 0 },
  };
  // Embedders may be JavaScript.
  return { ...working, ...options } as unknown as ProxyOptions;
}

async function started(options: Options) {
  const events = recorder();
  const proxy = createProxy(optionsOf({ ...options, observers: [events] }));
  await proxy.start();
  return { address: proxy.address, events, [Symbol.asyncDispose]: () => proxy.stop() };
}
