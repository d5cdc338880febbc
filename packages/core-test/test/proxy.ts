import {
  AddressBook,
  Admission,
  balancedConnector,
  DEFAULT_LIMITS,
  firstOf,
  Flights,
  Listeners,
  nodeTransport,
  observers,
  Outliers,
  ProxyError,
  RouteStore,
} from '@meshgate/core';
import type { Backend, Endpoint, Limits, Observer, ProxyEvent, Route, Sniffer, Transport } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';

/** What a test may change of a proxy. */
export interface ProxyOptions {
  readonly routes: readonly Route[];
  readonly limits?: Partial<Limits>;
  readonly sniffers?: readonly Sniffer[];
  readonly observers?: readonly Observer[];
  readonly transport?: Transport;
}

/** A proxy in the test's own process, with everything that it told. */
export interface TestProxy {
  readonly address: Endpoint;
  readonly flights: Flights;
  readonly events: Events;
  stop(): Promise<void>;
}

/** What an observer was told, and what it will be told. */
export class Events implements Observer {
  readonly seen: ProxyEvent[] = [];
  readonly #waiting = new Set<(event: ProxyEvent) => void>();

  observe(event: ProxyEvent): void {
    this.seen.push(event);
    for (const waiter of this.#waiting) waiter(event);
  }

  all<Type extends ProxyEvent['type']>(type: Type): Extract<ProxyEvent, { type: Type }>[] {
    return this.seen.filter((event): event is Extract<ProxyEvent, { type: Type }> => event.type === type);
  }

  /** The first event of `type`, past or to come. */
  until<Type extends ProxyEvent['type']>(type: Type): Promise<Extract<ProxyEvent, { type: Type }>> {
    const [past] = this.all(type);
    if (past !== undefined) return Promise.resolve(past);
    return new Promise((resolve) => {
      const waiter = (event: ProxyEvent): void => {
        if (event.type !== type) return;
        this.#waiting.delete(waiter);
        resolve(event as Extract<ProxyEvent, { type: Type }>);
      };
      this.#waiting.add(waiter);
    });
  }

  /** How the first connection ended: its code, or `OK`. */
  async ending(): Promise<string> {
    const { closed } = await this.until('connection.closed');
    return closed.error?.code ?? 'OK';
  }
}

/** One route for `backend.example` to these addresses. */
export function routeTo(...backends: readonly (Endpoint & Partial<Backend>)[]): Route {
  return {
    name: 'backend',
    serverNames: ['backend.example'],
    backends: backends.map(({ host, port, healthy = true }) => ({ address: { host, port }, weight: 1, healthy })),
  };
}

const KEEP_ALIVE = { idleMs: 60_000 };

/** Composed of core's parts on loopback. The caller stops it. */
export async function startProxy(options: ProxyOptions): Promise<TestProxy> {
  const { routes, transport = nodeTransport() } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const events = new Events();
  const observer = observers([...(options.observers ?? []), events]);
  const store = new RouteStore({ observer, sources: [{ name: 'test', watch: (signal) => once(routes, signal) }] });
  const addresses = new AddressBook(observer);
  const outliers = new Outliers(observer);
  const connector = balancedConnector({ transport, addresses, outliers, observer, limits, keepAlive: KEEP_ALIVE });
  const sniffer = firstOf(options.sniffers ?? [sniSniffer()]);
  const admission = new Admission(limits);
  const flights = new Flights({ sniffer, resolver: store, connector, transport, limits, admission, observer });
  const listeners = new Listeners({
    addresses: [{ name: 'test', endpoint: { host: '127.0.0.1', port: 0 } }],
    sources: [],
    transport,
    listen: { backlog: 511, keepAlive: KEEP_ALIVE },
    observer,
    launch: (connection, listener) => flights.launch(connection, listener),
  });
  await store.start(new AbortController().signal);
  await listeners.start();
  return { address: (await events.until('listener.opened')).address, flights, events, stop };

  async function stop(): Promise<void> {
    await listeners.stop();
    for (const { connection } of flights.live())
      flights.cut(connection.id, new ProxyError('CLOSED_BY_DRAIN', 'the test is over'));
    await flights.empty();
    await store.stop();
    outliers.clear();
  }
}

async function* once(routes: readonly Route[], signal: AbortSignal) {
  yield { version: '1', routes };
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
}
