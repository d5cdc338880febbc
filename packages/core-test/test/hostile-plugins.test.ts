import { DEFAULT_LIMITS, nodeTransport } from '@meshgate/core';
import type { Connector, ConnectionFilter, Observer, ProxyEvent, Transport, Upstream } from '@meshgate/core';
import { AddressBook, Admission, balancedConnector, Drain, Outliers, Sessions } from '@meshgate/core/parts';
import type { Stages } from '@meshgate/core/parts';
import { rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

// Parts of plugins that throw, reject, hang or lie: each harms its own connection, which ends; its sockets are closed, its places are
// given back, it is reported closed once, and the proxy can still drain.

const KEEP_ALIVE = { idleMs: 60_000 };
const BROKEN = 'plugin broke';
const never = (): Promise<never> => new Promise(() => undefined);

function broken(): never {
  throw new Error(BROKEN);
}

/** What a part that lies gives, whatever the types say. */
function lie(value: unknown): never {
  return value as never;
}

/** The stages of a proxy that works, for a case to break one of. */
type Working = Stages & { readonly transport: Transport };

/** What one case breaks, and how the connection ends: `OK` when it does not mind. */
interface Case {
  readonly name: string;
  readonly break: (working: Working) => Partial<Stages>;
  readonly ends: string;
  readonly expected?: string;
}

const filtering = (filter: (client: never) => unknown): Partial<Stages> => {
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
/** Calls whatever ends something, in everything that can be reached from `value`. */
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
  {
    name: 'a transport whose transfer is none',
    break: (working) => splicing(working, () => ({ done: Promise.resolve({}), cut: () => undefined })),
    ends: 'INTERNAL',
    expected: 'transport: expected a transfer',
  },
  ...['accepted', 'sniffed', 'routed', 'connected', 'closed'].map((what) => ({
    name: `an observer that throws at connection.${what}`,
    break: (working: Working) => observing(working, (type) => (type === `connection.${what}` ? broken() : undefined)),
    ends: 'OK',
  })),
  { name: 'an observer that rejects', break: (working) => observing(working, async () => broken()), ends: 'OK' },
  { name: 'an observer that closes all it is given', break: (working) => observing(working, closeAll), ends: 'OK' },
];

/** A proxy that works, but for what `one` breaks of it. */
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
  return { at: listening.address, events, sessions, drain, dispose: () => outliers.clear() };
}

describe('a plugin with', () => {
  it.each(CASES)('$name harms its own connection at most', async (one) => {
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
