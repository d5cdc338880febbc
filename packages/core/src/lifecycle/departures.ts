import { ProxyError } from '../errors.ts';
import { healthKey } from '../health/backend-health.ts';
import type { BackendHealth } from '../health/backend-health.ts';
import type { Observer, ProxyEvent } from '../observe.ts';
import type { Upstream } from '../pipeline/connection.ts';
import type { Session } from '../pipeline/session.ts';
import type { Backend, BackendDrain, Route, RouteSnapshot } from '../routes/route.ts';
import type { RouteTable } from '../routes/route-table.ts';
import { formatEndpoint, isSameEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Service } from './service.ts';
import { closeSpread } from './spread-close.ts';

/** A session, as far as its backend goes. */
type Carrying = Pick<Session, 'cut' | 'lastByteAt' | 'reached'>;

/** What {@link Departures} need. */
export interface DeparturesOptions {
  /** Every live session. */
  readonly sessions: Iterable<Carrying>;
  /** The routes in use. */
  table(): RouteTable;
  /** What health checks have found out; nothing when absent. */
  readonly health?: BackendHealth | undefined;
  /** Told of backends that have connections which are to be closed. */
  readonly observer: Observer;
}

/** A backend that a route has lost. */
interface Departure {
  readonly route: Route;
  readonly backend: Endpoint;
  readonly why: 'removed' | 'down';
  readonly drain: BackendDrain;
  readonly since: number;
  readonly reason: ProxyError;
  /** Whether the route has not got it back. */
  isStill(): boolean;
}

/** A connection that was under way to its backend when that departed gets there within this time, in milliseconds, or not at all. */
const UNDER_WAY_MS = 10_000;

/**
 * Closes connections to backends that their route has lost, on routes that say so: removed from the route, with it, or down. Nothing is kept
 * for a connection: live sessions are looked through when a backend departs, and once more when its grace is over.
 */
export class Departures implements Service, Observer {
  readonly name = 'backend departures';
  readonly #options: DeparturesOptions;
  readonly #stopping = new AbortController();
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(options: DeparturesOptions) {
    this.#options = options;
    if (options.health !== undefined) options.health.onDown = (key) => this.#onDown(key);
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    if (this.#options.health !== undefined) this.#options.health.onDown = undefined;
    return Promise.resolve();
  }

  /** Events of routes; of others nothing is made. */
  observe(event: ProxyEvent): void {
    if (event.type !== 'routes.replaced' && event.type !== 'source.removed') return;
    const { previous } = event;
    if (previous === undefined) return;
    const now = performance.now();
    this.#begin(Array.from(this.#lostSince(previous, now)));
  }

  *#lostSince({ routes }: RouteSnapshot, since: number): Generator<Departure> {
    for (const before of routes) {
      const route = this.#current(before.name) ?? before;
      const { onBackendRemoved, onBackendDown } = route;
      // The usual case, also in a table of very many routes.
      if (onBackendRemoved === undefined && onBackendDown === undefined) continue;
      for (const { address, healthy } of before.backends) {
        const isGone = this.#backends(route.name, address).length === 0;
        if (isGone && onBackendRemoved !== undefined)
          yield this.#departure({ route, backend: address, why: 'removed', drain: onBackendRemoved, since });
        else if (!isGone && healthy && onBackendDown !== undefined && this.#isUnhealthy(route.name, address))
          yield this.#departure({ route, backend: address, why: 'down', drain: onBackendDown, since });
      }
    }
  }

  /** Which routes it concerns, and which of their backends, the sessions tell: a name is down by its addresses. */
  #onDown(key: string): void {
    const since = performance.now();
    const found = new Map<string, Departure>();
    for (const { reached } of this.#options.sessions) {
      const { upstream } = reached ?? {};
      if (upstream === undefined) continue;
      const route = this.#current(upstream.route.name);
      const { onBackendDown: drain, healthCheck: check } = route ?? {};
      if (route === undefined || drain === undefined || check === undefined) continue;
      const addresses = [upstream.address, upstream.backend.address];
      const backend = addresses.find((address) => healthKey(check, address) === key);
      if (backend === undefined || found.has(route.name)) continue;
      found.set(route.name, this.#departure({ route, backend, why: 'down', drain, since }));
    }
    this.#begin(Array.from(found.values()));
  }

  #departure(facts: Omit<Departure, 'reason' | 'isStill'>): Departure {
    const { route, backend, why } = facts;
    const what = why === 'removed' ? 'was removed' : 'is down';
    const reason = new ProxyError('BACKEND_REMOVED', `${formatEndpoint(backend)} ${what}, of route ${route.name}`);
    const isStill =
      why === 'removed'
        ? () => this.#backends(route.name, backend).length === 0
        : () => this.#isDown(route.name, backend);
    return { ...facts, reason, isStill };
  }

  #begin(departures: readonly Departure[]): void {
    if (departures.length === 0 || this.#stopping.signal.aborted) return;
    const departed = new Departed(departures);
    const counts = new Map<Departure, number>();
    for (const { reached } of this.#options.sessions) {
      const departure = departed.of(reached);
      if (departure !== undefined) counts.set(departure, (counts.get(departure) ?? 0) + 1);
    }
    for (const [{ route, backend, why, drain }, connections] of counts)
      this.#options.observer.observe({ type: 'backend.departed', route, backend, why, drain, connections });
    for (const some of grouped(departures, ({ drain }) => `${drain.graceMs} ${drain.spreadMs}`).values())
      this.#closeAfterGrace(some);
  }

  #closeAfterGrace(departures: readonly Departure[]): void {
    const [{ drain: { graceMs, spreadMs } } = { drain: { graceMs: 0, spreadMs: 0 } }] = departures;
    const close = (): void => void this.#close(departures, spreadMs);
    this.#after(graceMs, close);
    // Of those that were under way to it.
    if (graceMs < UNDER_WAY_MS) this.#after(UNDER_WAY_MS, close);
  }

  #after(ms: number, work: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      work();
    }, ms);
    timer.unref();
    this.#timers.add(timer);
  }

  async #close(departures: readonly Departure[], spreadMs: number): Promise<void> {
    const departed = new Departed(departures.filter((departure) => departure.isStill()));
    const sessions = Array.from(this.#options.sessions).filter(({ reached }) => departed.of(reached) !== undefined);
    await closeSpread(sessions, {
      spreadMs,
      signal: this.#stopping.signal,
      reasonOf: ({ reached }) => {
        const departure = departed.of(reached);
        return departure?.isStill() === true && !this.#stopping.signal.aborted ? departure.reason : undefined;
      },
    });
  }

  #current(name: string): Route | undefined {
    return this.#options
      .table()
      .indexes.find(({ routes }) => routes.has(name))
      ?.routes.get(name);
  }

  /** The backends of that address, of whatever route has the name. */
  #backends(name: string, address: Endpoint): readonly Backend[] {
    return this.#options.table().indexes.flatMap(({ routes }) => {
      return (routes.get(name)?.backends ?? []).filter((backend) => isSameEndpoint(backend.address, address));
    });
  }

  #isUnhealthy(name: string, address: Endpoint): boolean {
    return this.#backends(name, address).every(({ healthy }) => !healthy);
  }

  #isDown(name: string, address: Endpoint): boolean {
    const { healthCheck } = this.#current(name) ?? {};
    if (healthCheck !== undefined && this.#options.health?.isDown(healthCheck, address) === true) return true;
    const backends = this.#backends(name, address);
    return backends.length > 0 && backends.every(({ healthy }) => !healthy);
  }
}

/** Departures, for whoever asks of many sessions. */
class Departed {
  /** By route and host. */
  readonly #all: ReadonlyMap<string, ReadonlyMap<string, readonly Departure[]>>;

  constructor(departures: readonly Departure[]) {
    const byRoute = Array.from(grouped(departures, ({ route }) => route.name));
    this.#all = new Map(byRoute.map(([route, some]) => [route, grouped(some, ({ backend }) => backend.host)]));
  }

  /** That of the backend of a session; of one that is down, only what it had before. */
  of(reached: Carrying['reached']): Departure | undefined {
    const { upstream, connectedAt = 0 } = reached ?? {};
    if (upstream === undefined) return undefined;
    const ofRoute = this.#all.get(upstream.route.name);
    if (ofRoute === undefined) return undefined;
    const isMeant = ({ backend, why, since }: Departure): boolean =>
      leadsTo(upstream, backend) && (why === 'removed' || connectedAt < since);
    const { backend, address } = upstream;
    return ofRoute.get(backend.address.host)?.find(isMeant) ?? ofRoute.get(address.host)?.find(isMeant);
  }
}

function grouped(
  departures: readonly Departure[],
  keyOf: (departure: Departure) => string,
): ReadonlyMap<string, readonly Departure[]> {
  const groups = new Map<string, Departure[]>();
  for (const departure of departures) {
    const key = keyOf(departure);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [departure]);
    else group.push(departure);
  }
  return groups;
}

function leadsTo({ backend, address }: Upstream, departed: Endpoint): boolean {
  return isSameEndpoint(backend.address, departed) || isSameEndpoint(address, departed);
}
