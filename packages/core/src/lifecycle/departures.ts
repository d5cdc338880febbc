import { isAllowedName } from '../egress/egress-connector.ts';
import { errorOf, ProxyError } from '../errors.ts';
import { healthKey } from '../health/backend-health.ts';
import type { BackendHealth } from '../health/backend-health.ts';
import { memoized } from '../memo.ts';
import type { Observer, ProxyEvent } from '../observe.ts';
import type { Upstream } from '../pipeline/connection.ts';
import type { Session } from '../pipeline/session.ts';
import type { Backend, BackendDrain, Route, RouteSnapshot } from '../routes/route.ts';
import type { RouteTable } from '../routes/route-table.ts';
import { formatEndpoint, isSameEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Service } from './service.ts';
import { openScope, pause } from '../watch/scope.ts';
import { inTurns } from '../watch/turns.ts';
import { closeSpread } from './spread-close.ts';

/** The part of a session that {@link Departures} uses. */
type Carrying = Pick<Session, 'cut' | 'lastByteAt' | 'reached' | 'watchReached'>;

/** Dependencies of {@link Departures}. */
export interface DeparturesOptions {
  /** All live sessions. */
  readonly sessions: Iterable<Carrying>;
  /** The routes in use. */
  table(): RouteTable;
  /** Results of health checks; none when absent. */
  readonly health?: BackendHealth | undefined;
  /** Receives `backend.departed`. */
  readonly observer: Observer;
}

/** A backend that was removed from its route or went down. */
interface Departure {
  readonly route: Route;
  readonly backend: Endpoint;
  readonly why: 'removed' | 'down';
  readonly drain: BackendDrain;
  /** In milliseconds of the monotonic clock. */
  readonly since: number;
  readonly reason: ProxyError;
  /** Whether the backend is still removed or down. */
  isStill(): boolean;
}

/**
 * Closes connections to backends that left their route, where the route requests it: the backend or the route was
 * removed, or the backend is down. It keeps no state per connection: it scans the live sessions when a backend departs,
 * and again when the grace period is over. A session that is still dialling a removed backend is checked again once it
 * is connected. Scans yield to the event loop every 5 ms.
 */
export class Departures implements Service, Observer {
  readonly name = 'backend departures';
  readonly #options: DeparturesOptions;
  /** The backends of routes by name, kept per table, since they are read for each session. */
  readonly #backends = memoized((_table: RouteTable) => new Map<string, ReadonlyMap<string, boolean>>());
  readonly #stopping = openScope();

  constructor(options: DeparturesOptions) {
    this.#options = options;
    if (options.health !== undefined) options.health.onDown = (key) => this.#run(this.#down(key));
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.#stopping.end();
    if (this.#options.health !== undefined) this.#options.health.onDown = undefined;
    return Promise.resolve();
  }

  /** Handles changes of routes; ignores other events. */
  observe(event: ProxyEvent): void {
    if (event.type !== 'routes.replaced' && event.type !== 'source.removed') return;
    const { previous } = event;
    if (previous !== undefined) this.#run(this.#replaced(previous, performance.now()));
  }

  /** Runs a scan. It may throw: sources and layers may be plain JavaScript, and modify their objects later. */
  #run(steps: Generator<void>): void {
    inTurns(steps).catch((reason: unknown) =>
      this.#options.observer.observe({ type: 'service.failed', service: this.name, error: errorOf(reason) }),
    );
  }

  *#replaced({ routes }: RouteSnapshot, since: number): Generator<void> {
    const departures: Departure[] = [];
    for (const before of routes) {
      const route = this.#current(before.name) ?? before;
      yield;
      const { onBackendRemoved, onBackendDown } = route;
      // The usual case, even in very large tables.
      if (onBackendRemoved === undefined && onBackendDown === undefined) continue;
      if (before.egress !== undefined) yield* this.#lostNames(route, since, departures);
      for (const backend of before.backends) {
        const departure = this.#lost(route, backend, since);
        if (departure !== undefined) departures.push(departure);
        yield;
      }
    }
    yield* this.#begin(departures);
  }

  #lost(route: Route, { address: backend, healthy }: Backend, since: number): Departure | undefined {
    const { onBackendRemoved, onBackendDown } = route;
    const isHealthy = this.#known(route.name).get(formatEndpoint(backend));
    if (isHealthy === undefined)
      return onBackendRemoved && this.#removed({ route, backend, drain: onBackendRemoved, since });
    if (isHealthy || !healthy || onBackendDown === undefined) return undefined;
    return this.#wentDown({ route, backend, drain: onBackendDown, since });
  }

  /** A route with `egress` lists no backends; only sessions know the names that clients requested. */
  *#lostNames(route: Route, since: number, departures: Departure[]): Generator<void> {
    const { onBackendRemoved: drain } = route;
    if (drain === undefined) return;
    const seen = new Set<string>();
    for (const { reached } of Array.from(this.#options.sessions)) {
      yield;
      const { upstream } = reached ?? {};
      if (upstream?.route.name !== route.name) continue;
      const { address: backend } = upstream.backend;
      const key = formatEndpoint(backend);
      const isStill = (): boolean => !allowsName(this.#current(route.name), backend);
      if (!seen.has(key) && isStill()) departures.push({ ...this.#removed({ route, backend, drain, since }), isStill });
      seen.add(key);
    }
  }

  /** Finds the routes and backends through the sessions: a DNS name is down when its addresses are. */
  *#down(key: string): Generator<void> {
    const since = performance.now();
    const found = new Map<string, Departure>();
    for (const { reached } of Array.from(this.#options.sessions)) {
      yield;
      const { upstream } = reached ?? {};
      if (upstream === undefined) continue;
      const route = this.#current(upstream.route.name);
      const { onBackendDown: drain, healthCheck: check } = route ?? {};
      if (route === undefined || drain === undefined || check === undefined || found.has(route.name)) continue;
      const addresses = [upstream.address, upstream.backend.address];
      const backend = addresses.find((address) => healthKey(check, address) === key);
      if (backend !== undefined) found.set(route.name, this.#wentDown({ route, backend, drain, since }));
    }
    yield* this.#begin(Array.from(found.values()));
  }

  #removed(facts: Pick<Departure, 'route' | 'backend' | 'drain' | 'since'>): Departure {
    const { route, backend } = facts;
    const key = formatEndpoint(backend);
    const isStill = (): boolean => !this.#known(route.name).has(key);
    return { ...facts, why: 'removed', reason: reasonOf(route, `${key} was removed`), isStill };
  }

  #wentDown(facts: Pick<Departure, 'route' | 'backend' | 'drain' | 'since'>): Departure {
    const { route, backend } = facts;
    const isStill = (): boolean => this.#isDown(route.name, backend);
    return { ...facts, why: 'down', reason: reasonOf(route, `${formatEndpoint(backend)} is down`), isStill };
  }

  *#begin(departures: readonly Departure[]): Generator<void> {
    if (departures.length === 0 || this.#stopping.signal.aborted) return;
    const departed = new Departed(departures);
    const counts = new Map<Departure, number>();
    const onReached = (reached: Carrying['reached'], session: Carrying): void =>
      closeIfOver(session, departed.of(reached));
    for (const session of Array.from(this.#options.sessions)) {
      const departure = departed.of(session.reached);
      if (departure !== undefined) counts.set(departure, (counts.get(departure) ?? 0) + 1);
      // A session with the former route may be about to reach one of these backends.
      session.watchReached(onReached);
      yield;
    }
    for (const [{ route, backend, why, drain }, connections] of counts)
      this.#options.observer.observe({ type: 'backend.departed', route, backend, why, drain, connections });
    for (const some of grouped(departures, ({ drain }) => `${drain.graceMs} ${drain.spreadMs}`).values())
      void this.#closeAfterGrace(some);
  }

  async #closeAfterGrace(departures: readonly Departure[]): Promise<void> {
    const [{ drain: { graceMs, spreadMs }, since } = NO_DEPARTURE] = departures;
    const { signal } = this.#stopping;
    await pause(Math.max(0, since + graceMs - performance.now()), signal);
    if (signal.aborted) return;
    const departed = new Departed(departures.filter((departure) => departure.isStill()));
    const sessions = await inTurns(chosen(Array.from(this.#options.sessions), departed));
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
    for (const { routes } of this.#options.table().indexes) {
      const route = routes.get(name);
      if (route !== undefined) return route;
    }
    return undefined;
  }

  /** Returns the health of the backends of all routes named `name`, by address. */
  #known(name: string): ReadonlyMap<string, boolean> {
    const table = this.#options.table();
    const byRoute = this.#backends(table);
    const known = byRoute.get(name);
    if (known !== undefined) return known;
    const backends = backendsOf(table, name);
    byRoute.set(name, backends);
    return backends;
  }

  #isDown(name: string, address: Endpoint): boolean {
    const { healthCheck } = this.#current(name) ?? {};
    if (healthCheck !== undefined && this.#options.health?.isDown(healthCheck, address) === true) return true;
    return this.#known(name).get(formatEndpoint(address)) === false;
  }
}

const NO_DEPARTURE: Pick<Departure, 'drain' | 'since'> = { drain: { graceMs: 0, spreadMs: 0 }, since: 0 };

function reasonOf({ name }: Route, what: string): ProxyError {
  return new ProxyError('BACKEND_REMOVED', `${what}, of route ${name}`);
}

/** A session that connects within the grace period is found by the scan at its end; a later one is closed here. */
function closeIfOver(session: Carrying, departure: Departure | undefined): void {
  if (departure === undefined || performance.now() < departure.since + departure.drain.graceMs) return;
  if (departure.isStill()) session.cut(departure.reason);
}

function* chosen(sessions: readonly Carrying[], departed: Departed): Generator<void, readonly Carrying[]> {
  const found: Carrying[] = [];
  for (const session of sessions) {
    if (departed.of(session.reached) !== undefined) found.push(session);
    yield;
  }
  return found;
}

/** Whether a route with `egress` still allows a name. */
function allowsName(route: Route | undefined, { host }: Endpoint): boolean {
  return route?.egress !== undefined && isAllowedName(host.replace(/\.$/, ''), route.serverNames);
}

/** Returns the backends of all routes named `name`, with their health, by address. */
function backendsOf({ indexes }: RouteTable, name: string): ReadonlyMap<string, boolean> {
  const known = new Map<string, boolean>();
  for (const { routes } of indexes)
    for (const { address, healthy } of routes.get(name)?.backends ?? []) {
      const key = formatEndpoint(address);
      known.set(key, healthy || known.get(key) === true);
    }
  return known;
}

/** Departures, indexed for lookup by session. */
class Departed {
  /** By route name, then host. */
  readonly #all: ReadonlyMap<string, ReadonlyMap<string, readonly Departure[]>>;

  constructor(departures: readonly Departure[]) {
    const byRoute = Array.from(grouped(departures, ({ route }) => route.name));
    this.#all = new Map(byRoute.map(([route, some]) => [route, grouped(some, ({ backend }) => backend.host)]));
  }

  /**
   * Returns the departure that applies to a session's backend. A backend that is down only affects connections made
   * before that.
   */
  of(reached: Carrying['reached']): Departure | undefined {
    const { upstream, connectedAt = 0 } = reached ?? {};
    if (upstream === undefined) return undefined;
    const ofRoute = this.#all.get(upstream.route.name);
    if (ofRoute === undefined) return undefined;
    const isSelected = ({ backend, why, since }: Departure): boolean =>
      leadsTo(upstream, backend) && (why === 'removed' || connectedAt < since);
    const { backend, address } = upstream;
    return ofRoute.get(backend.address.host)?.find(isSelected) ?? ofRoute.get(address.host)?.find(isSelected);
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
