import { DEFAULT_LIMITS, nodeTransport, ProxyError } from '@meshgate/core';
import type {
  Connection,
  Connector,
  ConnectionFilter,
  FilterContext,
  Observer,
  ProxyEvent,
  Resolver,
  Splice,
  Transfer,
  Transport,
  Upstream,
} from '@meshgate/core';
import {
  AddressBook,
  Admission,
  balancedConnector,
  Drain,
  indexRoutes,
  Outliers,
  RouteTable,
  Sessions,
} from '@meshgate/core/parts';
import type { Stages } from '@meshgate/core/parts';
import { rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

// Parts of plugins that throw, reject, hang or lie: each only harms its own connection, which ends; its sockets are
// closed, its counts are released, it is reported closed once, and the proxy can still drain.

const KEEP_ALIVE = { idleMs: 60_000 };
const BROKEN = 'plugin broke';
const never = (): Promise<never> => new Promise(() => undefined);

function broken(): never {
  throw new Error(BROKEN);
}

/** Returned by a part whose types promise something else. */
function lie(value: unknown): never {
  return value as never;
}

/** The stages of a working proxy, one of which a case breaks. */
type Working = Stages & { readonly transport: Transport };

/** What one case breaks, and how the connection ends: `OK` if it is not affected. */
interface Case {
  readonly name: string;
  readonly break: (working: Working) => Partial<Stages>;
  readonly ends: string;
  readonly expected?: string;
}

const filtering = (filter: (client: FilterContext) => unknown): Partial<Stages> => {
  const one: ConnectionFilter = lie({ name: 'hostile', filter });
  return { filtersOf: () => [one] };
};
const sniffing = (inspect: () => unknown): Partial<Stages> => ({
  sniffer: lie({ name: 'hostile', inspect }),
});
const resolving = (resolve: () => unknown): Partial<Stages> => ({ resolver: lie({ resolve }) });
const connecting = (connect: Connector['connect']): Partial<Stages> => ({ connector: { connect } });
const splicing = ({ transport }: Working, splice: unknown): Partial<Stages> => ({
  transport: { dial: (to, options) => transport.dial(to, options), splice: lie(splice) },
});
const dialling = ({ transport }: Working, dial: unknown): Partial<Stages> => ({
  transport: { dial: lie(dial), splice: (down, up, options) => transport.splice(down, up, options) },
});
/** Calls every method that ends something, in everything that can be reached from `value`. */
function closeAll(_type: string, value: unknown, seen = new Set<unknown>()): void {
  if (typeof value !== 'object' || value === null || seen.has(value)) return;
  seen.add(value);
  for (const name of ['destroy', 'cut', 'release', 'close', 'end', 'stop']) {
    const method: unknown = Reflect.get(value, name);
    if (typeof method === 'function') Reflect.apply(method, value, [new Error('closed by an observer')]);
  }
  for (const inner of Object.values(value)) closeAll('', inner, seen);
}

const observing = ({ observer }: Working, observe: (type: string, event: ProxyEvent) => unknown): Partial<Stages> => {
  const hostile: Observer = {
    observe(event) {
      observer.observe(event);
      return lie(observe(event.type, event));
    },
  };
  return { observer: hostile };
};
const changed = async (upstream: Promise<Upstream>, change: Partial<Upstream>): Promise<Upstream> => ({
  ...(await upstream),
  ...change,
});
const through = ({ connector }: Working, change: Partial<Upstream>): Partial<Stages> =>
  connecting((route, context) => changed(connector.connect(route, context), change));

const CASES: readonly Case[] = [
  {
    name: 'a filter that throws',
    break: () => filtering(broken),
    ends: 'INTERNAL',
    expected: 'filter hostile: plugin broke',
  },
  {
    name: 'a filter that rejects',
    break: () => filtering(async () => broken()),
    ends: 'INTERNAL',
    expected: 'filter hostile',
  },
  {
    name: 'a filter that answers with a text',
    break: () => filtering(() => Promise.resolve('fine')),
    ends: 'INTERNAL',
  },
  { name: 'a filter that hangs', break: () => filtering(never), ends: 'SNIFF_TIMEOUT' },
  {
    name: 'a filter that answers with a number',
    break: () => filtering(() => 5),
    ends: 'INTERNAL',
    expected: 'filter hostile',
  },
  {
    name: 'a filter whose hello is none',
    break: () => filtering(() => ({ kind: 'hello' })),
    ends: 'INTERNAL',
    expected: 'filter hostile',
  },
  {
    name: 'a sniffer that throws',
    break: () => sniffing(broken),
    ends: 'INTERNAL',
    expected: 'sniffer hostile: plugin broke',
  },
  {
    name: 'a sniffer that answers with null',
    break: () => sniffing(() => null),
    ends: 'INTERNAL',
    expected: 'sniffer hostile',
  },
  {
    name: 'a sniffer that answers with a promise',
    break: () => sniffing(never),
    ends: 'INTERNAL',
    expected: 'sniffer hostile',
  },
  {
    name: 'a sniffer of an unknown kind',
    break: () => sniffing(() => ({ kind: 'maybe' })),
    ends: 'INTERNAL',
    expected: 'sniffer hostile',
  },
  {
    name: 'a sniffer whose hello is none',
    break: () => sniffing(() => ({ kind: 'hello', hello: 5 })),
    ends: 'INTERNAL',
    expected: 'sniffer hostile',
  },
  {
    name: 'a sniffer whose name is a number',
    break: () => sniffing(() => ({ kind: 'hello', hello: { protocol: 'x', serverName: 5 } })),
    ends: 'INTERNAL',
    expected: 'sniffer hostile',
  },
  { name: 'a sniffer that always wants more', break: () => sniffing(() => ({ kind: 'more' })), ends: 'SNIFF_TIMEOUT' },
  {
    name: 'a resolver that throws',
    break: () => resolving(broken),
    ends: 'INTERNAL',
    expected: 'resolver: plugin broke',
  },
  {
    name: 'a resolver that answers with null',
    break: () => resolving(() => null),
    ends: 'INTERNAL',
    expected: 'found null',
  },
  {
    name: 'a resolver that answers with a promise',
    break: () => resolving(never),
    ends: 'INTERNAL',
    expected: 'found a promise',
  },
  {
    name: 'a resolver that answers with a name',
    break: () => resolving(() => 'api'),
    ends: 'INTERNAL',
    expected: 'resolver',
  },
  {
    name: 'a resolver whose route is empty',
    break: () => resolving(() => ({})),
    ends: 'INTERNAL',
    expected: 'resolver',
  },
  {
    name: 'a connector that throws',
    break: () => connecting(broken),
    ends: 'INTERNAL',
    expected: 'connector: plugin broke',
  },
  {
    name: 'a connector that rejects',
    break: () => connecting(async () => broken()),
    ends: 'INTERNAL',
    expected: 'connector: plugin broke',
  },
  {
    name: 'a connector that hangs',
    break: () => connecting(never),
    ends: 'INTERNAL',
    expected: 'connector: not settled',
  },
  {
    name: 'a connector that gives nothing',
    break: () => connecting(() => Promise.resolve(lie(undefined))),
    ends: 'INTERNAL',
    expected: 'connector: expected an upstream',
  },
  {
    name: 'a layer that hangs when the backend is reached',
    break: ({ connector }) => connecting((route, context) => connector.connect(route, context).then(never)),
    ends: 'INTERNAL',
    expected: 'connector: not settled',
  },
  {
    name: 'a layer that throws when the backend is reached',
    break: ({ connector }) => connecting((route, context) => connector.connect(route, context).then(broken)),
    ends: 'INTERNAL',
    expected: 'connector: plugin broke',
  },
  {
    name: 'a layer that forgets a dial that fails',
    break: ({ connector }) =>
      connecting((route, context) => {
        void context.dial(
          { address: { host: '127.0.0.1', port: 1 }, weight: 1, healthy: true },
          { host: '127.0.0.1', port: 1 },
          { keepAlive: KEEP_ALIVE, timeoutMs: 1_000 },
        );
        return connector.connect(route, context);
      }),
    ends: 'OK',
  },
  {
    name: 'an upgrade that hangs',
    break: () =>
      connecting((route, context) => {
        const [backend] = route.backends;
        if (backend === undefined) broken();
        return context
          .dial(backend, backend.address, { keepAlive: KEEP_ALIVE, timeoutMs: 1_000, upgrade: never })
          .done.then(broken);
      }),
    ends: 'INTERNAL',
    expected: 'connector: not settled',
  },
  {
    name: 'a release that throws',
    break: (working) => through(working, { release: broken }),
    ends: 'INTERNAL',
    expected: 'connector: release: plugin broke',
  },
  {
    name: 'a release that is none',
    break: (working) => through(working, { release: lie(undefined) }),
    ends: 'INTERNAL',
    expected: 'connector: release',
  },
  {
    name: 'a release that rejects',
    break: (working) => through(working, { release: lie(async () => broken()) }),
    ends: 'OK',
  },
  {
    name: 'an upstream of another transport',
    break: (working) =>
      connecting((route, context) =>
        changed(working.connector.connect(route, context), { connection: lie({ destroy: () => undefined }) }),
      ),
    ends: 'INTERNAL',
  },
  {
    name: 'a transport that throws when it dials',
    break: (working) => dialling(working, broken),
    ends: 'INTERNAL',
    expected: 'plugin broke',
  },
  {
    name: 'a transport that throws when it splices',
    break: (working) => splicing(working, broken),
    ends: 'INTERNAL',
    expected: 'transport: plugin broke',
  },
  {
    name: 'a transport whose splice is none',
    break: (working) => splicing(working, () => undefined),
    ends: 'INTERNAL',
    expected: 'transport: expected a splice',
  },
  {
    name: 'a transport whose splice rejects',
    break: (working) => splicing(working, () => ({ done: Promise.reject(new Error(BROKEN)), cut: () => undefined })),
    ends: 'INTERNAL',
    expected: 'transport: plugin broke',
  },
  ...[
    ['has carried less than nothing', { bytesUp: -1, bytesDown: 0 }],
    ['has carried a string', { bytesUp: '1', bytesDown: '1' }],
  ].map(([what, transfer]: readonly unknown[]) => ({
    name: `a transport whose splice ${what as string}`,
    break: (working: Working) => splicing(working, () => ({ done: Promise.resolve(transfer), cut: () => undefined })),
    ends: 'INTERNAL',
    expected: 'transport: expected a transfer',
  })),
  {
    name: 'a transport whose splice ends with a text',
    break: (working) =>
      splicing(working, () => ({
        done: Promise.resolve({ bytesUp: 0, bytesDown: 0, error: BROKEN }),
        cut: () => undefined,
      })),
    ends: 'INTERNAL',
    expected: `transport: ${BROKEN}`,
  },
  {
    name: 'a transport whose splice is a thenable, without an error',
    break: ({ transport }) =>
      splicing({ transport } as Working, (...given: Parameters<Transport['splice']>) => {
        const splice = transport.splice(...given);
        const then = (end: (transfer: Transfer) => void): unknown =>
          splice.done.then((one) => end({ ...one, error: lie(null) }));
        const done = {};
        Reflect.set(done, 'then', then);
        return { done, cut: (error: ProxyError) => splice.cut(error) };
      }),
    ends: 'OK',
  },
  {
    name: 'a transport whose transfer is none',
    break: (working) => splicing(working, () => ({ done: Promise.resolve({}), cut: () => undefined })),
    ends: 'INTERNAL',
    expected: 'transport: expected a transfer',
  },
  ...[
    ['names nobody', undefined],
    ['names a client by a number', { host: 7, port: 1 }],
    ['names a client without a port', { host: '192.0.2.1' }],
  ].map(([what, remote]: readonly unknown[]) => ({
    name: `a filter that ${what as string}`,
    break: () => filtering(async (client: FilterContext) => client.setRemote(lie(remote))),
    ends: 'INTERNAL',
    expected: 'filter hostile',
  })),
  ...[undefined, 7, { read: () => undefined }].map((given) => ({
    name: `a filter that puts ${JSON.stringify(given)} in place of the connection`,
    break: () => filtering((client: FilterContext) => client.replace(() => Promise.resolve(lie(given)))),
    ends: 'INTERNAL',
    expected: 'filter hostile: expected a connection',
  })),
  {
    name: 'a sniffer whose protocols are none',
    break: () => sniffing(() => ({ kind: 'hello', hello: { protocol: 'x', alpn: 'h2' } })),
    ends: 'INTERNAL',
    expected: 'sniffer hostile',
  },
  {
    name: 'a sniffer whose trace is no number',
    break: () => sniffing(() => ({ kind: 'hello', hello: { protocol: 'x', trace: 'abc' } })),
    ends: 'INTERNAL',
    expected: 'sniffer hostile',
  },
  {
    name: 'a sniffer with a name of a mebibyte',
    break: () => ({
      ...sniffing(() => ({ kind: 'hello', hello: { protocol: 'x', serverName: 'a.'.repeat(524_288) } })),
      resolver: table,
    }),
    ends: 'ROUTE_NOT_FOUND',
  },
  {
    name: 'a transport that dials nothing',
    break: (working) => dialling(working, () => undefined),
    ends: 'INTERNAL',
    expected: 'transport: expected a dial',
  },
  {
    name: 'a transport whose dial is no promise',
    break: (working) => dialling(working, () => ({ done: 5, cut: () => undefined })),
    ends: 'INTERNAL',
    expected: 'transport: expected a dial',
  },
  {
    name: 'a transport that reaches nothing',
    break: (working) => dialling(working, () => ({ done: Promise.resolve(), cut: () => undefined })),
    ends: 'INTERNAL',
    expected: 'transport: expected a connection, found nothing',
  },
  ...[
    ['backend', {}],
    ['backend', null],
    ['route', {}],
    ['address', { port: 1 }],
    ['connection', {}],
  ].map(([part, given]: readonly unknown[]) => ({
    name: `a layer whose upstream has ${JSON.stringify(given)} for its ${part as string}`,
    break: (working: Working) => through(working, { [part as string]: given }),
    ends: 'INTERNAL',
    expected: 'connector: expected an upstream',
  })),
  {
    name: 'a layer whose upstream can be read once',
    break: ({ connector }) =>
      connecting(async (route, context) => readableOnce(await connector.connect(route, context))),
    ends: 'INTERNAL',
  },
  ...unreadableErrors().map(([what, reason]) => ({
    name: `a connector that rejects with ${what}`,
    break: () => connecting(() => Promise.reject(reason)),
    ends: 'INTERNAL',
    expected: 'connector: ',
  })),
  ...['accepted', 'sniffed', 'routed', 'connected', 'closed'].map((what) => ({
    name: `an observer that throws at connection.${what}`,
    break: (working: Working) => observing(working, (type) => (type === `connection.${what}` ? broken() : undefined)),
    ends: 'OK',
  })),
  { name: 'an observer that rejects', break: (working) => observing(working, async () => broken()), ends: 'OK' },
  { name: 'an observer that closes all it is given', break: (working) => observing(working, closeAll), ends: 'OK' },
];

/** Searched for names, as the routes of a proxy are. */
const table: Resolver = (() => {
  const routes = [{ name: 'r', serverNames: ['*.example'], backends: [] }];
  const search = new RouteTable([indexRoutes('s', { version: '1', routes })]);
  return { resolve: ({ serverName = '' }) => search.lookup(serverName) };
})();

/** `upstream`, whose properties throw when they are read a second time. */
function readableOnce(upstream: Upstream): Upstream {
  const read = new Set<string | symbol>();
  return new Proxy(upstream, {
    get(target, key) {
      if (read.has(key) && key !== 'then') broken();
      read.add(key);
      return Reflect.get(target, key);
    },
  });
}

function unreadableErrors(): readonly (readonly [what: string, reason: unknown])[] {
  const { proxy, revoke } = Proxy.revocable(new Error(BROKEN), {});
  revoke();
  const getter = Object.defineProperty(new Error(BROKEN), 'name', { get: broken });
  return [
    ['a proxy that is revoked', proxy],
    ['an error whose name is a getter that throws', getter],
    ['an error whose message is a symbol', Object.assign(new Error(BROKEN), { message: Symbol('no') })],
    ['an object without a text', Object.create(null)],
    ['a symbol', Symbol(BROKEN)],
    ['nothing', undefined],
  ];
}

/** A working proxy, except for what `one` breaks. */
async function proxyWith(one: Case, backend: { readonly host: string; readonly port: number }) {
  const transport = nodeTransport();
  const events = recorder();
  const limits = {
    ...DEFAULT_LIMITS,
    helloTimeoutMs: one.ends === 'SNIFF_TIMEOUT' ? 100 : 10_000,
    connectTimeoutMs: 100,
  };
  const admission = new Admission(limits);
  const [addresses, outliers] = [new AddressBook(events), new Outliers(events)];
  const route = { name: 'r', serverNames: [], backends: [{ address: backend, weight: 1, healthy: true }] };
  const working: Working = {
    sniffer: { name: 'any', inspect: () => ({ kind: 'hello', hello: { protocol: 'any', serverName: 'a' } }) },
    resolver: { resolve: () => route },
    connector: balancedConnector({ addresses, outliers, observer: events, limits, keepAlive: KEEP_ALIVE }),
    transport,
    limits,
    admission,
    observer: events,
  };
  const sessions = new Sessions({ ...working, ...one.break(working) });
  const options = { backlog: 8, keepAlive: KEEP_ALIVE, onPause: () => undefined };
  const listening = await transport.listen({ host: '127.0.0.1', port: 0 }, options, (connection) =>
    sessions.accept(connection, 'test'),
  );
  const listeners = { stop: () => listening.close() };
  const drain = new Drain(
    { delayMs: 0, graceMs: 0, spreadMs: 0 },
    { sessions, listeners, services: [], observer: events },
  );
  return { at: listening.address, events, sessions, admission, drain, dispose: () => outliers.clear() };
}

describe('a plugin with', () => {
  it.each(CASES)('$name affects at most its own connection', async (one) => {
    await using backend = await tcpBackend('b');
    const proxy = await proxyWith(one, backend.address);
    await using client = await rawClient(proxy.at);
    await client.send('x');
    if (one.ends === 'OK' || one.name.startsWith('a release')) {
      expect((await client.receive(1)).toString()).toBe('x');
      client.end();
    }
    await client.closed;
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error?.code ?? 'OK').toBe(one.ends);
    expect(closed.error?.message ?? '').toContain(one.expected ?? '');
    await backend.untilIdle();
    expect((await proxy.drain.begin()).state).toBe('drained');
    expect(proxy.sessions.size).toBe(0);
    expect(proxy.events.all('connection.closed')).toHaveLength(1);
    proxy.dispose();
  });
});

describe('a plugin', () => {
  it.each(['accepted', 'sniffed', 'routed', 'connected'])(
    'that closes a connection when it is told of connection.%s has nothing told of it afterwards',
    async (what) => {
      await using backend = await tcpBackend('b');
      let cut: () => void = () => undefined;
      const proxy = await proxyWith(
        {
          name: 'cuts',
          ends: 'OK',
          break: (working) => observing(working, (type) => (type === `connection.${what}` ? cut() : undefined)),
        },
        backend.address,
      );
      cut = () => {
        for (const session of proxy.sessions) session.cut(new ProxyError('CLOSED_BY_ADMIN', 'by an observer'));
      };
      await using client = await rawClient(proxy.at);
      await client.send('x');
      await client.closed;
      await backend.untilIdle();
      expect((await proxy.drain.begin()).state).toBe('drained');
      const order = proxy.events.events.map(({ type }) => type).filter((type) => type.startsWith('connection.'));
      const expected = ['accepted', 'sniffed', 'routed', 'connected'];
      expect(order).toEqual(
        [...expected.slice(0, expected.indexOf(what) + 1), 'closed'].map((type) => `connection.${type}`),
      );
      proxy.dispose();
    },
  );

  it('whose resolver closes the connection that it is asked about has nothing told of it afterwards', async () => {
    await using backend = await tcpBackend('b');
    let cut: () => void = () => undefined;
    const proxy = await proxyWith(
      {
        name: 'cuts',
        ends: 'OK',
        break: ({ resolver }) => ({
          resolver: { resolve: (hello, from) => (cut(), resolver.resolve(hello, from)) },
        }),
      },
      backend.address,
    );
    cut = () => {
      for (const session of proxy.sessions) session.cut(new ProxyError('CLOSED_BY_ADMIN', 'by a resolver'));
    };
    await using client = await rawClient(proxy.at);
    await client.send('x');
    await client.closed;
    await proxy.drain.begin();
    expect(proxy.events.events.map(({ type }) => type).filter((type) => type.startsWith('connection.'))).toEqual([
      'connection.accepted',
      'connection.sniffed',
      'connection.closed',
    ]);
    expect(backend.accepted).toBe(0);
    proxy.dispose();
  });

  it.each<[what: string, progress: object]>([
    ['says nothing of what it has carried', {}],
    ['says what is no number', { bytesUp: 'many', bytesDown: NaN, lastByteAt: NaN }],
    [
      'throws when it is asked',
      Object.defineProperties(
        {},
        Object.fromEntries(['bytesUp', 'bytesDown', 'lastByteAt', 'stalled'].map((key) => [key, { get: broken }])),
      ),
    ],
  ])('whose splice %s is shown as one that has carried nothing, and is closed by a drain', async (_what, progress) => {
    await using backend = await tcpBackend('b');
    const proxy = await proxyWith(
      {
        name: 'splices',
        ends: 'OK',
        break: (working) =>
          splicing(working, (down: Connection, up: Connection) => {
            let cut: Splice['cut'] = () => undefined;
            const done = new Promise<Transfer>((resolve) => {
              cut = (error) => {
                for (const end of [down, up]) end.destroy(error);
                resolve({ bytesUp: 0, bytesDown: 0, error });
              };
            });
            return Object.defineProperties({ done, cut }, Object.getOwnPropertyDescriptors(progress));
          }),
      },
      backend.address,
    );
    await using client = await rawClient(proxy.at);
    await client.send('x');
    await proxy.events.until('connection.connected');
    const [session] = proxy.sessions;
    expect(proxy.sessions.live()).toMatchObject([{ state: 'splicing', bytesUp: 0, bytesDown: 0 }]);
    expect(session?.lastByteAt).toBe(session?.connection.at);
    expect([session?.carried, session?.stalled()]).toEqual([{ bytesUp: 0, bytesDown: 0 }, undefined]);
    expect(await proxy.drain.begin()).toMatchObject({ state: 'drained', cut: 1 });
    await client.closed;
    proxy.dispose();
  });

  it('whose connection cannot be destroyed gives back what it has taken all the same', async () => {
    await using backend = await tcpBackend('b');
    let released = 0;
    const proxy = await proxyWith(
      {
        name: 'destroys',
        ends: 'OK',
        break: ({ connector }) =>
          connecting(async (route, context) => {
            const upstream = await connector.connect(route, context);
            const connection = { destroy: () => (upstream.connection.destroy(), broken()) };
            return { ...upstream, connection: lie(connection), release: () => void (released += 1) };
          }),
      },
      backend.address,
    );
    await using client = await rawClient(proxy.at);
    await client.send('x');
    await client.closed;
    await backend.untilIdle();
    expect((await proxy.drain.begin()).state).toBe('drained');
    expect([released, proxy.events.all('connection.closed').length]).toEqual([1, 1]);
    proxy.dispose();
  });

  it('that changes the address of a client in its events takes no place of the limits with it', async () => {
    await using backend = await tcpBackend('b');
    const proxy = await proxyWith(
      {
        name: 'renames',
        ends: 'OK',
        break: (working) =>
          observing(working, (_type, event) => {
            if (event.type === 'connection.accepted') Object.assign(event.connection.remote, { host: '192.0.2.1' });
          }),
      },
      backend.address,
    );
    for (let times = 0; times < 3; times += 1) {
      await using client = await rawClient(proxy.at);
      await client.send('x');
      await client.receive(1);
      expect(proxy.admission.connectionsOf('127.0.0.1')).toBe(1);
      client.end();
      await client.closed;
      await proxy.events.untilCount('connection.closed', times + 1);
      expect(['127.0.0.1', '192.0.2.1'].map((host) => proxy.admission.connectionsOf(host))).toEqual([0, 0]);
    }
    await proxy.drain.begin();
    proxy.dispose();
  });
});
