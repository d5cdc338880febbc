import { DEFAULT_LIMITS, ProxyError, staticSource } from '@meshgate/core';
import {
  AddressBook,
  Admission,
  balancedConnector,
  firstOf,
  Sessions,
  Listeners,
  observers,
  Outliers,
  RouteStore,
} from '@meshgate/core/parts';
import type { Endpoint, Limits, Observer, Route, Sniffer, Transport } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';
import { recorder } from '@meshgate/testkit';
import type { Recorder } from '@meshgate/testkit';
import { transportUnderTest } from './transport-under-test.ts';

/** What a test can override. */
export interface ProxyOptions {
  readonly routes: readonly Route[];
  readonly limits?: Partial<Limits>;
  readonly sniffers?: readonly Sniffer[];
  readonly observers?: readonly Observer[];
  readonly transport?: Transport;
}

/** A proxy in the test's process, with all events that it emitted. Disposing of it closes its live connections. */
export interface TestProxy extends AsyncDisposable {
  readonly address: Endpoint;
  readonly sessions: Sessions;
  readonly events: Recorder;
  /** How the first connection ended: its code, or `OK`. */
  ending(): Promise<string>;
  /** As a reload does: applies to new connections. */
  use(limits: Partial<Limits>): void;
}

/** One route for `backend.example` with these addresses. */
export function routeTo(...backends: readonly (Endpoint & { readonly healthy?: boolean })[]): Route {
  return {
    name: 'backend',
    serverNames: ['backend.example'],
    backends: backends.map(({ host, port, healthy = true }) => ({ address: { host, port }, weight: 1, healthy })),
  };
}

const KEEP_ALIVE = { idleMs: 60_000 };

/** Composed of core's parts, on loopback. */
export async function startProxy(options: ProxyOptions): Promise<TestProxy> {
  const { routes, transport = transportUnderTest() } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const events = recorder();
  const observer = observers([...(options.observers ?? []), events]);
  const store = new RouteStore({ observer, sources: [staticSource('test', routes)] });
  const addresses = new AddressBook(observer);
  const outliers = new Outliers(observer);
  const connector = balancedConnector({
    addresses,
    outliers,
    observer,
    limits,
    keepAlive: KEEP_ALIVE,
    isOwn: (address) => listeners.owns(address),
  });
  const sniffer = firstOf(options.sniffers ?? [sniSniffer()]);
  const admission = new Admission(limits);
  const stages = { sniffer, resolver: store, connector, transport, limits, admission, observer };
  const sessions = new Sessions(stages);
  const listeners: Listeners = new Listeners({
    addresses: [{ name: 'test', endpoint: { host: '127.0.0.1', port: 0 } }],
    sources: [],
    transport,
    listen: { backlog: 511, keepAlive: KEEP_ALIVE },
    observer,
    accept: (connection, listener) => sessions.accept(connection, listener),
  });
  await store.start(new AbortController().signal);
  await listeners.start();
  const { address } = await events.until('listener.opened');
  return { address, sessions, events, ending, use, [Symbol.asyncDispose]: stop };

  function use(changed: Partial<Limits>): void {
    sessions.use({ ...stages, limits: { ...limits, ...changed } });
  }

  async function ending(): Promise<string> {
    return (await events.until('connection.closed')).closed.error?.code ?? 'OK';
  }

  async function stop(): Promise<void> {
    await listeners.stop();
    for (const { connection } of sessions.live())
      sessions.cut(connection.id, new ProxyError('CLOSED_BY_DRAIN', 'the test is over'));
    await sessions.empty();
    await store.stop();
    outliers.clear();
  }
}
