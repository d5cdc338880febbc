import { DEFAULT_DRAIN, DEFAULT_LIMITS as limits, nodeTransport } from '@meshgate/core';
import {
  AddressBook,
  Admission,
  balancedConnector,
  Drain,
  Sessions,
  Listeners,
  observers,
  Outliers,
  RouteStore,
} from '@meshgate/core/parts';
import type { Endpoint, Observer, RouteSource } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';

/** A proxy inside another program: what it knows it has from `source`, what it does it tells each of `listening`. */
export async function startProxy(at: Endpoint, source: RouteSource, listening: readonly Observer[]): Promise<Proxy> {
  // One that throws keeps neither the others nor the proxy from their work.
  const observer = observers(listening);
  const [transport, keepAlive] = [nodeTransport(), { idleMs: 60_000 }];
  const [addresses, outliers, admission] = [new AddressBook(observer), new Outliers(observer), new Admission(limits)];
  const routes = new RouteStore({ sources: [source], observer });
  const connector = balancedConnector({ addresses, outliers, observer, limits, keepAlive });
  const sniffer = sniSniffer();
  const sessions = new Sessions({ sniffer, resolver: routes, connector, transport, limits, admission, observer });
  const listeners = new Listeners({
    addresses: [{ name: 'main', endpoint: at }],
    sources: [],
    listen: { backlog: 511, keepAlive },
    accept: (connection, listener) => sessions.accept(connection, listener),
    transport,
    observer,
  });
  const drain = new Drain(DEFAULT_DRAIN, { sessions, listeners, services: [], observer });
  await routes.start(new AbortController().signal);
  await listeners.start();
  return {
    address: listeners.status[0]?.address ?? at,
    stop: () => drain.begin().then(() => routes.stop()),
  };
}

/** A proxy that runs. */
export interface Proxy {
  readonly address: Endpoint;
  /** Lets connections finish, within the grace of the drain, and leaves nothing behind. */
  stop(): Promise<void>;
}
