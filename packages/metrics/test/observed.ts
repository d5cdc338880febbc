import { ProxyError } from '@meshgate/core';
import type { Accepted, ClosedConnection, Observer, ProxyErrorCode, ProxyEvent, Route, Upstream } from '@meshgate/core';
import { Registry } from 'prom-client';
import { exposition, prometheusObserver } from '../src/index.ts';
import type { CarriedConnection } from '../src/index.ts';

/** The time at which the sources of these tests were last confirmed. */
export const NOW_MS = 1_700_000_000_500;

/** An observer with a registry of its own, and the output of a scrape. */
export interface Observed {
  readonly registry: Registry;
  readonly observer: Observer;
  /** Passes all events to the observer, in order. */
  notify(...events: readonly ProxyEvent[]): void;
  /** The lines of the series whose name or labels contain `text`. */
  scrape(text: string): Promise<readonly string[]>;
}

/** A new observer that has received `events`. */
export function observed(...events: readonly ProxyEvent[]): Observed {
  return observedOf(() => [], ...events);
}

/** The same, with `live` as the live connections. */
export function observedOf(live: () => Iterable<CarriedConnection>, ...events: readonly ProxyEvent[]): Observed {
  const registry = new Registry();
  const observer = prometheusObserver({ registry, live });
  const notify = (...more: readonly ProxyEvent[]): void => more.forEach((event) => observer.observe(event));
  notify(...events);
  return { registry, observer, notify, scrape };

  async function scrape(text: string): Promise<readonly string[]> {
    const { body } = await exposition(registry, undefined);
    return body.split('\n').filter((line) => !line.startsWith('#') && line.includes(text));
  }
}

/** A route with one name and one backend. */
export function route(name: string, settings: Partial<Route> = {}): Route {
  const backends = [{ address: { host: '127.0.0.1', port: 443 }, weight: 1, healthy: true }];
  return { name, serverNames: [`${name}.example.com`], backends, ...settings };
}

/** A connection accepted by the listener `edge` at 1000 ms: one object per id, as in the events of a proxy. */
export function connection(id: string): Accepted {
  const known = connections.get(id);
  if (known !== undefined) return known;
  const here = { host: '127.0.0.1', port: 8443 };
  const made = { id, listener: 'edge', remote: { host: '127.0.0.1', port: 50_000 }, local: here, at: 1000 };
  connections.set(id, made);
  return made;
}

const connections = new Map<string, Accepted>();

/** Accepted, ClientHello after 2 ms, and routed if there is a route. */
export function begun(id: string, to?: Route): readonly ProxyEvent[] {
  const opened = { type: 'connection.accepted', connection: connection(id) } as const;
  if (to === undefined) return [opened];
  const hello = { protocol: 'tls', alpn: [], supportedVersions: [], ech: false, earlyData: false };
  return [
    opened,
    { type: 'connection.sniffed', connection: connection(id), hello, at: 1002 },
    { type: 'connection.routed', connection: connection(id), route: to },
  ];
}

/** Connected to its backend 6 ms after its ClientHello. */
export function connected(id: string, to: Route): ProxyEvent {
  return { type: 'connection.connected', connection: connection(id), upstream: upstream(to), at: 1008 };
}

/** Closed after 2 s, with 100 bytes up and 4000 down; without any if it failed with `code`. */
export function closed(id: string, code?: ProxyErrorCode): ProxyEvent {
  const facts: ClosedConnection =
    code === undefined
      ? { ...ended(id), connectedAt: 1008, transfer: { bytesUp: 100, bytesDown: 4000, firstByteAt: 1020 } }
      : { ...ended(id), transfer: { bytesUp: 0, bytesDown: 0 }, error: new ProxyError(code, 'as the test says') };
  return { type: 'connection.closed', closed: facts };
}

/** The source yielded a snapshot, changed or unchanged. */
export function updated(changed: boolean): ProxyEvent {
  return { type: 'source.updated', source: 'files', changed, asOf: new Date(NOW_MS) };
}

/** A snapshot of `routes` is in use; `removed` no longer exist. */
export function replaced(
  routes: readonly Route[],
  removed: readonly string[],
  warnings?: readonly string[],
): ProxyEvent {
  const snapshot = { version: '1', routes, ...(warnings === undefined ? {} : { warnings }) };
  return { type: 'routes.replaced', source: 'files', snapshot, removed, tookMs: 4 };
}

function ended(id: string): Omit<ClosedConnection, 'transfer'> {
  return { connection: connection(id), attempts: 1, closedAt: 3000 };
}

function upstream(to: Route): Upstream {
  const [backend] = to.backends;
  if (backend === undefined) throw new Error(`expected a backend in the route ${to.name}, found none`);
  const unused = (): never => {
    throw new Error('expected an observer not to use the connection, found that it reaches for it');
  };
  const connectionToBackend = { remote: backend.address, local: backend.address, onReset: undefined };
  return {
    route: to,
    backend,
    address: backend.address,
    connection: { ...connectionToBackend, read: unused, write: unused, destroy: unused },
    release: unused,
  };
}
