// The single list of parts of every gateway, whether this process (compose.ts) or its workers (workers/primary.ts)
// carry the connections. In the order of dependency, from top to bottom; `bind` defines how a part is created, `one`
// and `all` request its dependencies.
import type {
  Endpoint,
  Limits,
  ListenerSource,
  Observer,
  Route,
  RouteSource,
  Service,
  Transport,
} from '@meshgate/core';
import { nodeTransport } from '@meshgate/core';
import {
  AddressBook,
  HealthChecks,
  lastKnownGood,
  lastKnownListeners,
  observers,
  RecentTroubles,
  RouteStore,
} from '@meshgate/core/parts';
import type { Drain, HealthMark, Listeners, PreparedChange } from '@meshgate/core/parts';
import { gatewayVitals, processMetrics, prometheusObserver } from '@meshgate/metrics';
import type { PrometheusObserverOptions } from '@meshgate/metrics';
import { Registry } from 'prom-client';
import type { AdminEndpoint } from '../admin/endpoint.ts';
import { adminEndpoints, RouteChangeFeed } from '../admin/endpoints.ts';
import type { AdminTargets } from '../admin/endpoints.ts';
import { readinessOf } from '../admin/readiness.ts';
import type { Readiness, Vitals } from '../admin/readiness.ts';
import { AdminServer } from '../admin/server.ts';
import { AdminServers } from '../admin/servers.ts';
import { VERSION } from '../cli/version.ts';
import type { GatewayConfig } from '../config/config-schema.ts';
import type { InstalledParts } from '../config/parts.ts';
import { withRouteWarnings } from '../config/route-warnings.ts';
import { countDroppedLines } from '../log/log-metrics.ts';
import { logObserver } from '../log/log-observer.ts';
import type { Log } from '../log/logger.ts';
import { atOnce, together } from './change.ts';
import type { Preparing } from './change.ts';
import { Gateway } from './gateway.ts';
import type { HeldByProcess, Next } from './gateway.ts';
import { LiveServices } from './live-services.ts';
import { lostSockets } from './lost-sockets.ts';
import type { ProcessOrigin } from './predecessor.ts';
import type { ProcessControl } from './process-control.ts';
import { fileListenerStore, fileSnapshotStore } from './snapshot-files.ts';
import type { LiveSetting } from './setting-effects.ts';
import { startOrder } from './start-order.ts';
import { all, bind, bindEach, later, newContainer, one, token } from './token.ts';
import type { Container, Token } from './token.ts';
import { vitalsOf } from './vitals.ts';

/** The environment of a gateway, besides configuration and plugins. */
export interface GatewayContext {
  readonly log: Log;
  /** Limits of all of its processes together. */
  readonly limits: Limits;
  /** Inherited sockets of the process, and its predecessor. */
  readonly origin: ProcessOrigin;
  /** Process-level actions for operators, through the admin server. */
  readonly control: ProcessControl;
  /** Starts the drain after which the process exits: `POST /drain`. */
  shutDown(): void;
  /** Prefix of connection ids; absent where one process carries all connections. */
  readonly idPrefix?: string;
  /** Wraps every observer except for the metrics. */
  wrapObserver?(observer: Observer): Observer;
}

/** The inputs of a composition. */
export interface GatewayPlan extends GatewayContext {
  readonly c: Container;
  readonly config: GatewayConfig;
  readonly parts: InstalledParts;
  /** Returns the services that run in this process. */
  servicesOf(parts: InstalledParts): readonly Service[];
  /** Live connections of this process, for its metrics. */
  readonly liveConnections?: PrometheusObserverOptions['live'];
}

/** The part that carries the connections, as the rest of the gateway uses it. */
export interface DataPlane {
  readonly listeners: Service & Pick<Listeners, 'status'>;
  readonly drain: Pick<Drain, 'begin' | 'force' | 'progress' | 'use'>;
  /** State and actions of the data plane in the admin API. */
  readonly targets: Pick<
    AdminTargets,
    | 'outliers'
    | 'connections'
    | 'close'
    | 'heldGroups'
    | 'preference'
    | 'metrics'
    | 'traffic'
    | 'drainProgress'
    | 'identity'
    | 'logLevel'
  >;
  /** Returns all listening sockets. */
  sockets(): Promise<HeldByProcess>;
  /** Returns the current problems. */
  troubles(): Pick<Vitals, 'certificate' | 'logTrouble' | 'troubles' | 'pluginWarnings'>;
  /** Settings that {@link DataPlane.prepare} can change. */
  readonly live: readonly LiveSetting[];
  /** Prepares the changes of a reload. */
  prepare(next: Next): Promise<PreparedChange>;
}

// Several parts per token.
export const OBSERVER: Token<Observer> = token('observer');
/** Receives route changes, in addition to the observers of all events. */
export const ROUTE_OBSERVER: Token<Observer> = token('observer of routes');
const SOURCE = token<RouteSource>('route source');
export const SERVICE: Token<Service> = token('service');

// One part per token.
/** Receives all events. */
export const EVENTS: Token<Observer> = token('events');
export const TROUBLES: Token<RecentTroubles> = token('troubles');
export const REGISTRY: Token<Registry> = token('metrics registry');
export const ROUTES: Token<RouteStore> = token('route store');
export const ADDRESSES: Token<AddressBook> = token('address book');
const ROUTE_CHANGES = token<RouteChangeFeed>('route changes');
const CHECKS = token<HealthChecks>('health checks');
export const SERVICES: Token<LiveServices> = token('services of plugins');
export const DATA_PLANE: Token<DataPlane> = token('data plane');
const ENDPOINTS = token<readonly AdminEndpoint[]>('admin endpoints');
const READINESS = token<() => Readiness>('readiness');
export const ADMIN: Token<AdminServers> = token('admin servers');
export const GATEWAY: Token<Gateway> = token('gateway');

/**
 * Composes a gateway. Nothing runs until it is started.
 *
 * @param bindOwn binds `EVENTS` and `DATA_PLANE`, and may add parts; returns the plan to use
 */
export function composed<Plan extends GatewayPlan>(start: Plan, bindOwn: (plan: Plan) => Plan): Container {
  bindObservers(start);
  const plan = bindOwn(start);
  bindRoutes(plan);
  bindAdmin(plan);
  bindGateway(plan);
  const { c, log, parts, limits, idPrefix } = plan;
  const [registry, routes] = [one(c, REGISTRY), one(c, ROUTES)];
  parts.lent.connect({ logger: log.logger, registry, routes });
  const checks = { reportOf: (route: Route, address: Endpoint) => all(c, CHECKS)[0]?.reportOf(route, address) };
  // With several workers, the primary reports metrics of the gateway as a whole.
  if (idPrefix === undefined)
    gatewayVitals(registry, vitalsOf({ routes, checks, limits, readiness: () => one(c, READINESS)() }));
  return c;
}

/** Returns a plan with its own container. All parts read limits from its single limits object. */
export function planOf<Context extends GatewayContext>(
  context: Context,
  config: GatewayConfig,
  parts: InstalledParts,
): Context & Pick<GatewayPlan, 'c' | 'config' | 'parts'> {
  return { ...context, limits: { ...context.limits }, config, parts, c: newContainer() };
}

/** Binds the observers: our own first, so that failures of plugins' observers are logged. */
function bindObservers({
  c,
  parts,
  log,
  liveConnections: live,
  wrapObserver = (observer) => observer,
}: GatewayPlan): void {
  bind(c, REGISTRY, () => registryOf(log));
  bind(c, TROUBLES, () => new RecentTroubles());
  bind(c, OBSERVER, () => wrapObserver(logObserver(log.logger)));
  bind(c, OBSERVER, () => one(c, TROUBLES));
  bind(c, OBSERVER, () => prometheusObserver({ registry: one(c, REGISTRY), ...(live && { live }) }));
  bindEach(c, OBSERVER, parts.observers.map(wrapObserver));
  bind(c, ADDRESSES, () => new AddressBook(one(c, EVENTS)));
}

/** Creates the registry, with the metrics of the process and of its log. */
function registryOf(log: Pick<Log, 'health'>): Registry {
  const registry = new Registry();
  processMetrics(registry, { version: VERSION });
  countDroppedLines(log, registry);
  return registry;
}

/**
 * Binds the health checks, which one of several processes runs.
 *
 * @param transport transport of the connections
 */
export function bindChecks({ c }: GatewayPlan, transport: Transport, onMark: (mark: HealthMark) => void): void {
  bind(c, CHECKS, () => {
    return new HealthChecks({
      transport: checkTransport(transport),
      addresses: one(c, ADDRESSES),
      observer: one(c, EVENTS),
      onMark,
    });
  });
  const checks = later(c, CHECKS);
  bind(c, OBSERVER, () => ({ name: 'health checks', observe: (event) => checks().observe(event) }));
  bind(c, SERVICE, () => one(c, CHECKS));
}

/**
 * Replaces built-in transports by Node's, since checks transfer few bytes. A plugin's transport may be the only one
 * that reaches its backends.
 */
function checkTransport(transport: Transport): Transport {
  return BUILT_IN_TRANSPORTS.has(transport.name) ? nodeTransport() : transport;
}

const BUILT_IN_TRANSPORTS: ReadonlySet<string> = new Set(['node', 'epoll', 'uring']);

/** Binds the route sources, with stored snapshots if a folder is configured. */
function bindRoutes({ c, config: { stateDir }, parts, servicesOf }: GatewayPlan): void {
  bindEach(c, SOURCE, storedSources(parts.sources, stateDir));
  bind(c, SERVICES, () => new LiveServices(servicesOf(parts)));
  bind(c, SERVICE, () => one(c, SERVICES));
  bind(c, ROUTE_CHANGES, () => new RouteChangeFeed());
  bind(c, ROUTE_OBSERVER, () => one(c, ROUTE_CHANGES));
  bind(c, ROUTES, () => {
    const observer = observers([one(c, EVENTS), ...all(c, ROUTE_OBSERVER)]);
    return new RouteStore({ sources: all(c, SOURCE), observer });
  });
}

/** Binds the admin servers. */
function bindAdmin({ c, config, parts, limits, log, control, origin: { sockets }, shutDown }: GatewayPlan): void {
  bind(c, READINESS, () => () => {
    const { listeners, drain, troubles } = one(c, DATA_PLANE);
    const { sources, table } = one(c, ROUTES);
    const own = troubles();
    return readinessOf({
      ...own,
      sources: withRouteWarnings(sources, table, listeners.status),
      listeners: listeners.status,
      drain: drain.progress.state,
      logTrouble: log.health.trouble ?? own.logTrouble,
      troubles: [...new Set([...one(c, TROUBLES).warnings, ...(own.troubles ?? []), ...lostSockets(listeners.status)])],
      pluginWarnings: [...parts.lent.warnings, ...(own.pluginWarnings ?? [])],
    });
  });
  bind(c, ENDPOINTS, () => {
    const { listeners, targets } = one(c, DATA_PLANE);
    return adminEndpoints({
      ...targets,
      listeners,
      routes: one(c, ROUTES),
      checks: all(c, CHECKS)[0],
      plugins: parts,
      limits,
      readiness: () => one(c, READINESS)(),
      observer: one(c, EVENTS),
      routeChanges: one(c, ROUTE_CHANGES),
      shutDown,
      control,
    });
  });
  bind(c, ADMIN, () => {
    const shared = { endpoints: one(c, ENDPOINTS), observer: one(c, EVENTS), sockets };
    return new AdminServers(config.admin, (settings) => new AdminServer({ settings, ...shared }));
  });
}

/** Binds the gateway, with all services as one. */
function bindGateway({ c, parts, origin }: GatewayPlan): void {
  bind(c, GATEWAY, () => {
    const { listeners, drain, sockets, live, prepare } = one(c, DATA_PLANE);
    const [routes, admin] = [one(c, ROUTES), one(c, ADMIN)];
    const [checks] = all(c, CHECKS);
    const started = { admin, services: all(c, SERVICE), routes, listeners, checks };
    return new Gateway({
      lifecycle: startOrder(started, origin.predecessor),
      admin,
      sockets,
      routes,
      listeners,
      drain,
      observer: one(c, EVENTS),
      readiness: () => one(c, READINESS)(),
      sources: parts.sources,
      live,
      prepare,
    });
  });
}

/** Prepares the changes of a reload that all gateways share; a sidecar does not change its sources. */
export function commonChanges(
  { c, config: { stateDir }, log, servicesOf }: GatewayPlan,
  { config, parts }: Next,
): { readonly [Name in 'sources' | 'drain' | 'log' | 'admin']: Preparing } {
  return {
    sources: () =>
      together([
        () => one(c, ROUTES).prepare(storedSources(parts.sources, stateDir)),
        () => one(c, SERVICES).prepare(servicesOf(parts)),
      ]),
    drain: atOnce(() => one(c, DATA_PLANE).drain.use(config.drain)),
    admin: () => one(c, ADMIN).prepare(config.admin),
    log: async () => {
      const useFormat = await log.prepareFormat(config.log.format);
      return atOnce(() => {
        log.logger.level = config.log.level;
        useFormat();
      })();
    },
  };
}

/** Wraps sources to store their snapshots. @param stateDir folder of stored snapshots; when absent nothing is stored */
export function storedSources(sources: readonly RouteSource[], stateDir?: string): readonly RouteSource[] {
  if (stateDir === undefined) return sources;
  const store = fileSnapshotStore(stateDir);
  return sources.map((source) => onceFor(source, () => lastKnownGood(source, store)));
}

/**
 * Wraps listener sources to store their lists: stored routes are useless to a gateway that does not know its listen
 * addresses.
 */
export function storedListeners(sources: readonly ListenerSource[], stateDir?: string): readonly ListenerSource[] {
  if (stateDir === undefined) return sources;
  const store = fileListenerStore(stateDir);
  return sources.map((source) => onceFor(source, () => lastKnownListeners(source, store)));
}

/** Returns the same wrapper for a source that continues after a reload. */
function onceFor<Source extends RouteSource | ListenerSource>(source: Source, make: () => Source): Source {
  const known = STORED.get(source) ?? make();
  STORED.set(source, known);
  // The wrapper of a source is of the source's kind.
  return known as Source;
}

const STORED = new WeakMap<object, object>();
