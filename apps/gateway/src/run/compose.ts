// The composition root: the one place that knows every part by name. It reads from top to bottom, in the order in which the
// parts stand on each other; `bind` says how a part is made, `one` and `all` ask for what it is made of.
import type { CertificateStatus } from '@meshgate/connect';
import {
  accessByListener,
  AddressBook,
  Admission,
  BackendHealth,
  balancedConnector,
  Departures,
  Drain,
  egressConnector,
  FailoverGroups,
  HealthChecks,
  Sessions,
  firstOf,
  firstToKnow,
  inOrder,
  leadsTo,
  lastKnownGood,
  lastKnownListeners,
  layered,
  offeredBalances,
  Listeners,
  RecentTroubles,
  observers,
  Outliers,
  RouteStore,
  routeRules,
  withUsedLayers,
  withUsedResolvers,
} from '@meshgate/core/parts';
import type { AdmissionOptions, PreparedChange, Stages } from '@meshgate/core/parts';
import type {
  Connector,
  Endpoint,
  Layer,
  Limits,
  ListenerSource,
  Observer,
  Resolver,
  Route,
  RouteSource,
  Service,
  Sniffer,
  Transport,
} from '@meshgate/core';
import { nodeTransport } from '@meshgate/core';
import { AddressListFiles } from '@meshgate/documents';
import { postgresBackends, proxyProtocolBackends } from '@meshgate/filters';
import { carrierVitals, gatewayVitals, processMetrics, prometheusObserver } from '@meshgate/metrics';
import { sniSniffer } from '@meshgate/sni';
import { Registry } from 'prom-client';
import { listFilesOf } from '../config/access-lists.ts';
import { withRouteWarnings } from '../config/route-warnings.ts';
import { offeredParts, POSTGRES_FILTER } from '../config/part-uses.ts';
import { filtersByListener, withListenerLayers, withListenerResolvers } from './listener-parts.ts';
import { accessLog } from '../log/access-log.ts';
import { countDroppedLines } from '../log/log-metrics.ts';
import { adminEndpoints, RouteChangeFeed } from '../admin/endpoints.ts';
import type { AdminTargets } from '../admin/endpoints.ts';
import { trafficOf } from '../admin/traffic.ts';
import type { AdminEndpoint } from '../admin/endpoint.ts';
import { AdminServer } from '../admin/server.ts';
import { readinessOf } from '../admin/readiness.ts';
import type { Readiness } from '../admin/readiness.ts';
import { closeConnections } from '../admin/connection-query.ts';
import { connectionsView } from '../admin/views.ts';
import { fileSnapshotStore, fileListenerStore } from './snapshot-files.ts';
import type { GatewayConfig } from '../config/config-schema.ts';
import { atOnce, changed, together } from './change.ts';
import type { Preparing } from './change.ts';
import { LIVE_SETTINGS, SIDECAR_SETTINGS } from './setting-effects.ts';
import type { SidecarSetting } from './setting-effects.ts';
import { Gateway } from './gateway.ts';
import { inheriting } from './inherited-sockets.ts';
import { replaceSettings } from './machine.ts';
import type { Origin } from './predecessor.ts';
import { startOrder } from './start-order.ts';
import type { HeldByProcess, Next } from './gateway.ts';
import { LiveServices } from './live-services.ts';
import type { ProcessControl } from './process-control.ts';
import { logObserver } from '../log/log-observer.ts';
import { logLevelOf } from '../log/logger.ts';
import type { Log } from '../log/logger.ts';
import type { InstalledParts } from '../config/parts.ts';
import { all, bind, bindEach, later, newContainer, one, token } from './token.ts';
import type { Container, Token } from './token.ts';
import { VERSION } from '../cli/version.ts';
import { vitalsOf } from './vitals.ts';

/** What a gateway stands on that is neither configuration nor plugin. */
export interface ComposeContext {
  readonly log: Log;
  readonly transport: Transport;
  readonly limits: Limits;
  /** The part of each route's limits that this process may use; all of it when absent. */
  readonly share?: number;
  /** Before the ids of connections; absent where one process carries all of them. */
  readonly idPrefix?: string;
  /** Where another process answers the admin API for this one; nowhere when absent. */
  readonly adminAt?: readonly Endpoint[];
  /** What another process finds out by checking backends; absent where this one checks by itself. */
  readonly health?: BackendHealth;
  /** Starts the drain at whose end the process exits: `POST /drain`. */
  shutDown(): void;
  /** Where the process has its sockets from, and whom it replaces. */
  readonly origin: Origin;
  /** Applied to every observer but the metrics. */
  wrapObserver?(observer: Observer): Observer;
  /** What an operator may have the process do beside, through the admin server. */
  readonly control: ProcessControl;
}

/** The parts of a gateway that carries connections, for whoever speaks for it in place of an admin server. */
export interface Carrier {
  readonly gateway: Gateway;
  readonly sessions: Sessions;
  readonly listeners: Listeners;
  readonly drain: Drain;
  readonly routes: RouteStore;
  readonly registry: Registry;
  readonly failover: FailoverGroups;
  readonly troubles: Pick<RecentTroubles, 'warnings'>;
}

// Several of a kind, in order.
const OBSERVER = token<Observer>('observer');
const SOURCE = token<RouteSource>('route source');
const SNIFFER = token<Sniffer>('sniffer');
const RESOLVER = token<Resolver>('resolver');
const LAYER = token<Layer<Connector>>('connector layer');
const SERVICE = token<Service>('service');

// One each.
export const EVENTS: Token<Observer> = token('events');
const TROUBLES: Token<RecentTroubles> = token('troubles');
const REGISTRY = token<Registry>('metrics registry');
export const ROUTES: Token<RouteStore> = token('route store');
export const OUTLIERS: Token<Outliers> = token('outliers');
const FAILOVER = token<FailoverGroups>('failover groups');
const DEPARTURES = token<Departures>('backend departures');
const ROUTE_CHANGES = token<RouteChangeFeed>('route changes');
const HEALTH = token<BackendHealth>('backend health');
const CHECKS = token<HealthChecks>('health checks');
const ADDRESSES = token<AddressBook>('address book');
const LISTS = token<AddressListFiles>('address lists');
const DIALER = token<Connector>('dialer');
const RULES = token<Layer<Connector>>('route rules');
export const CONNECTOR: Token<Connector> = token('connector');
export const SESSIONS: Token<Sessions> = token('sessions');
const LISTENERS = token<Listeners>('listeners');
const DRAIN = token<Drain>('drain');
const ENDPOINTS = token<readonly AdminEndpoint[]>('admin endpoints');
const SERVICES = token<LiveServices>('services of plugins');
export const ADMISSION: Token<Admission> = token('admission');
/** What this proxy shows of itself; none when it only passes TLS on. */
export const CERTIFICATE: Token<{ readonly status: CertificateStatus }> = token('own certificate');
const READINESS = token<() => Readiness>('readiness');
const ADMIN = token<AdminServer>('admin server');
const GATEWAY = token<Gateway>('gateway');

/** Puts a gateway together. Nothing of it runs before it is started. */
export function compose(config: GatewayConfig, parts: InstalledParts, surroundings: ComposeContext): Gateway {
  return one(composed(config, parts, surroundings), GATEWAY);
}

/** {@link compose} for a worker. */
export function composeCarrier(config: GatewayConfig, parts: InstalledParts, surroundings: ComposeContext): Carrier {
  const c = composed(config, parts, surroundings);
  return {
    gateway: one(c, GATEWAY),
    sessions: one(c, SESSIONS),
    listeners: one(c, LISTENERS),
    drain: one(c, DRAIN),
    routes: one(c, ROUTES),
    registry: one(c, REGISTRY),
    failover: one(c, FAILOVER),
    troubles: one(c, TROUBLES),
  };
}

/**
 * {@link compose} for a proxy that meets its clients, and reaches the other side, in a way of its own.
 *
 * @param bindOwn binds `SESSIONS` and `OUTLIERS`, and may add parts: the plan that it returns is carried out
 */
export function composeWith(
  config: GatewayConfig,
  parts: InstalledParts,
  surroundings: ComposeContext,
  bindOwn: (plan: Plan) => Plan,
): Gateway {
  return one(composed(config, parts, surroundings, bindOwn), GATEWAY);
}

function composed(
  config: GatewayConfig,
  parts: InstalledParts,
  surroundings: ComposeContext,
  bindOwn = bindStages,
): Container {
  const live = { keepAlive: { ...config.keepAlive }, prefer: config.prefer ?? {} };
  const start = { ...surroundings, limits: { ...surroundings.limits }, live, config, parts, c: newContainer() };
  bindObservers(start);
  const plan = bindOwn(start);
  bindRoutes(plan);
  bindListeners(plan);
  bindServices(plan);
  bindGateway(plan);
  parts.lent.connect({ logger: surroundings.log.logger, registry: one(plan.c, REGISTRY), routes: one(plan.c, ROUTES) });
  showVitals(plan);
  return plan.c;
}

/** What of them concerns the gateway as a whole, the primary of several workers shows. */
function showVitals({ c, transport, limits, idPrefix }: Plan): void {
  const registry = one(c, REGISTRY);
  carrierVitals(registry, {
    pendingHellos: () => all(c, ADMISSION)[0]?.pendingHellos,
    pipes: () => transport.pipes?.(),
  });
  if (idPrefix !== undefined) return;
  const checks = { reportOf: (route: Route, address: Endpoint) => all(c, CHECKS)[0]?.reportOf(route, address) };
  gatewayVitals(registry, vitalsOf({ routes: one(c, ROUTES), checks, limits, readiness: () => one(c, READINESS)() }));
}

/** What is to be put together, and what with. */
export interface Plan extends ComposeContext {
  readonly c: Container;
  readonly config: GatewayConfig;
  readonly parts: InstalledParts;
  /** What dials and listeners read, as `limits` is. */
  readonly live: LiveDialling;
  /** The stages of a proxy that has its own; those of a gateway when absent. */
  stagesOf?(plan: Plan, observer: Observer): Stages;
}

/** Settings of dials and listeners that a reload replaces. */
interface LiveDialling {
  /** The one object from which all of them read it. */
  readonly keepAlive: GatewayConfig['keepAlive'];
  prefer: NonNullable<GatewayConfig['prefer']>;
}

/** Who is told what happens: our own first, so that what a plugin's observer does wrong is written down. */
function bindObservers({ c, config, parts, log, wrapObserver = (observer) => observer }: Plan): void {
  bind(c, REGISTRY, () => registryOfThisProcess(log));
  bind(c, OBSERVER, () => wrapObserver(logObserver(log.logger)));
  bind(c, TROUBLES, () => new RecentTroubles());
  bind(c, OBSERVER, () => one(c, TROUBLES));
  bind(c, OBSERVER, () => prometheusObserver({ registry: one(c, REGISTRY), live: later(c, SESSIONS) }));
  bindEach(c, OBSERVER, parts.observers.map(wrapObserver));
  bind(c, EVENTS, () => eventsOf({ c, config, log, wrapObserver }));
}

/** Everybody who is told, with the access log if there is one: the one observer that may come and go. */
function eventsOf({
  c,
  config,
  log,
  wrapObserver = same,
}: Pick<Plan, 'c' | 'config' | 'log' | 'wrapObserver'>): Observer {
  const [first, ...rest] = all(c, OBSERVER);
  const { access, quiet } = config.log;
  const own = access === false ? [] : [wrapObserver(accessLog(log, { ...access, quiet }))];
  return observers([...(first === undefined ? [] : [first]), ...own, ...rest]);
}

function same(observer: Observer): Observer {
  return observer;
}

/** Where routes come from; with a folder to keep them in, from there while a source is silent at the start. */
function bindRoutes({ c, config: { stateDir }, parts }: Plan): void {
  bindEach(c, SOURCE, storedSources(parts.sources, stateDir));
  bind(c, SERVICES, () => new LiveServices(servicesOf(parts)));
  bind(c, ROUTE_CHANGES, () => new RouteChangeFeed());
  bind(c, DEPARTURES, () => {
    return new Departures({
      sessions: one(c, SESSIONS),
      table: () => one(c, ROUTES).table,
      health: all(c, HEALTH)[0],
      observer: one(c, EVENTS),
    });
  });
  bind(c, SERVICE, () => one(c, DEPARTURES));
  bind(c, ROUTES, () => {
    const departures = later(c, DEPARTURES);
    const told: Observer = { name: 'departures', observe: (event) => departures().observe(event) };
    const observer = observers([one(c, EVENTS), one(c, ROUTE_CHANGES), told]);
    return new RouteStore({ sources: all(c, SOURCE), observer });
  });
}

/** What a connection passes through. */
function bindStages(plan: Plan): Plan {
  const { c, config, parts, limits, share = 1, live } = plan;
  bindEach(c, SNIFFER, [sniSniffer(), ...parts.sniffers]);
  bindEach(c, RESOLVER, parts.resolvers);
  bind(c, RESOLVER, () => one(c, ROUTES));
  bindEach(c, LAYER, parts.layers);
  const offered = offeredParts(parts);
  bind(c, LISTS, () => new AddressListFiles(one(c, EVENTS), listFilesOf(config.listeners)));
  bind(c, SERVICE, () => one(c, LISTS));
  bind(c, OBSERVER, () => readListsOf(later(c, LISTS)));
  bind(c, RULES, () => routeRules({ lists: one(c, LISTS), share }));
  bind(c, OUTLIERS, () => new Outliers(one(c, EVENTS)));
  bind(c, FAILOVER, () => new FailoverGroups(one(c, EVENTS)));
  bind(c, ADDRESSES, () => new AddressBook(one(c, EVENTS)));
  bindHealth(plan);
  bind(c, DIALER, () => {
    const owns = ownedBy(plan);
    const dialling = {
      outliers: one(c, OUTLIERS),
      observer: one(c, EVENTS),
      limits,
      share,
      keepAlive: live.keepAlive,
      isOwn: owns,
    };
    const inner = balancedConnector({
      ...dialling,
      addresses: one(c, ADDRESSES),
      health: one(c, HEALTH),
      failover: one(c, FAILOVER),
      balances: offeredBalances(offered),
      get prefer() {
        return live.prefer;
      },
    });
    return egressConnector(inner, dialling);
  });
  bind(c, CONNECTOR, () => withUsedLayers(one(c, DIALER), offered));
  bind(c, ADMISSION, () => new Admission(limits, { accessOf: accessByListener(config.listeners, one(c, LISTS)) }));
  bind(c, SESSIONS, () => new Sessions(stagesOf(plan, one(c, EVENTS))));
  return plan;
}

/** Whether a dial would come back to this gateway, or lead a client to its admin API. Both come after what they are asked for. */
function ownedBy({ c, adminAt = [] }: Plan): (address: Endpoint) => boolean {
  const listeners = later(c, LISTENERS);
  let admins: readonly AdminServer[] | undefined;
  return (address) => {
    admins ??= all(c, ADMIN);
    return (
      listeners().owns(address) ||
      admins.some((admin) => admin.isAt(address)) ||
      adminAt.some((endpoint) => leadsTo(address, endpoint))
    );
  };
}

/** Whoever carries connections knows which backends are down; one process finds out. */
function bindHealth({ c, health = new BackendHealth(), transport, idPrefix }: Plan): void {
  bind(c, HEALTH, () => health);
  if (idPrefix !== undefined) return;
  bind(c, CHECKS, () => {
    return new HealthChecks({
      transport: checkTransport(transport),
      addresses: one(c, ADDRESSES),
      observer: one(c, EVENTS),
      onMark: (mark) => health.mark(mark),
    });
  });
  const checks = later(c, CHECKS);
  bind(c, OBSERVER, () => ({ name: 'health checks', observe: (event) => checks().observe(event) }));
  bind(c, SERVICE, () => one(c, CHECKS));
}

/** Checks move few bytes: Node's own transport does for every built-in one. That of a plugin may lead where no other does. */
export function checkTransport(transport: Transport): Transport {
  return BUILT_IN_TRANSPORTS.has(transport.name) ? nodeTransport() : transport;
}

const BUILT_IN_TRANSPORTS: ReadonlySet<string> = new Set(['node', 'epoll', 'uring']);

/** As the configuration is now: a reload has others, around the same parts. */
function stagesOf({ c, config, parts, transport, limits, idPrefix }: Plan, observer: Observer): Stages {
  const { listeners } = config;
  const offered = offeredParts(parts);
  const filtersOf = filtersByListener(listeners, offered);
  const usesPostgres = listeners.some(({ filters = [] }) => filters.some(({ name }) => name === POSTGRES_FILTER));
  const resolver = withListenerResolvers(firstToKnow(all(c, RESOLVER)), listeners, offered);
  const connector = withListenerLayers(one(c, CONNECTOR), listeners, offered);
  return {
    ...(filtersOf !== undefined && { filtersOf }),
    sniffer: firstOf(all(c, SNIFFER)),
    resolver: withUsedResolvers(resolver, offered),
    connector: layered(connector, [
      one(c, RULES),
      proxyProtocolBackends(),
      ...all(c, LAYER),
      ...(usesPostgres ? [postgresBackends()] : []),
    ]),
    admission: one(c, ADMISSION),
    observer,
    transport,
    limits: { ...limits },
    ...(idPrefix !== undefined && { idPrefix }),
  };
}

/**
 * Everything that a reload changes in a gateway, prepared: first what may fail. `plan.limits` is the one object that all parts read them
 * from.
 */
function prepareNext(plan: Plan, next: Next): Promise<PreparedChange> {
  const { c, config: before } = plan;
  const { config, parts } = next;
  const { stateDir } = before;
  return changed({
    sources: () =>
      together([
        () => one(c, ROUTES).prepare(storedSources(parts.sources, stateDir)),
        () => one(c, SERVICES).prepare(servicesOf(parts)),
      ]),
    ...preparingAnywhere(plan, next),
    prefer: atOnce(() => void (plan.live.prefer = config.prefer ?? {})),
    // Last: what a new listener has accepted already passes through the new stages.
    listeners: () =>
      together([
        () => one(c, LISTS).prepare(listFilesOf(config.listeners)),
        () => prepareStages(plan, next, { accessOf: accessByListener(config.listeners, one(c, LISTS)) }),
        () => one(c, LISTENERS).prepare(config.listeners, storedListeners(parts.listenerSources, stateDir)),
      ]),
  });
}

/** {@link prepareNext} for a sidecar: its routes and listeners are those of its definition. */
function prepareNextSidecar(plan: Plan, next: Next): Promise<PreparedChange> {
  const preparing = preparingAnywhere(plan, next) satisfies Readonly<Record<SidecarSetting, Preparing>>;
  return together([...Object.values(preparing), () => prepareStages(plan, next)]);
}

/** What both of them change in the same way. */
function preparingAnywhere({ c, log, limits, live }: Plan, next: Next) {
  const { config } = next;
  return {
    limits: atOnce(() => replaceSettings(limits, next.limits)),
    keepAlive: atOnce(() => {
      replaceSettings(live.keepAlive, config.keepAlive);
      one(c, LISTENERS).keepAlive(live.keepAlive);
    }),
    drain: atOnce(() => one(c, DRAIN).use(config.drain)),
    log: atOnce(() => void (log.logger.level = config.log.level)),
  };
}

/** Parts of plugins are made here, where one that throws refuses the change. */
async function prepareStages(
  plan: Plan,
  { config, parts, limits }: Next,
  access: AdmissionOptions = {},
): Promise<PreparedChange> {
  const { c } = plan;
  const next: Plan = { ...plan, config, parts, limits };
  const stages = (plan.stagesOf ?? stagesOf)(next, eventsOf(next));
  const use = atOnce(() => {
    one(c, ADMISSION).use(plan.limits, access);
    one(c, SESSIONS).use(stages);
  });
  return use();
}

/** Where connections come in, and how they are let go. */
function bindListeners({ c, config, parts, transport, origin, live }: Plan): void {
  bind(c, LISTENERS, () => {
    const sessions = one(c, SESSIONS);
    return new Listeners({
      addresses: config.listeners,
      sources: storedListeners(parts.listenerSources, config.stateDir),
      listen: { backlog: BACKLOG, keepAlive: live.keepAlive },
      accept: (connection, listener) => sessions.accept(connection, listener),
      observer: one(c, EVENTS),
      transport: inheriting(transport, origin.sockets),
    });
  });
  bind(c, DRAIN, () => {
    return new Drain(config.drain, {
      sessions: one(c, SESSIONS),
      listeners: one(c, LISTENERS),
      services: one(c, SERVICES).current,
      observer: one(c, EVENTS),
    });
  });
}

/** What is started, in this order, and stopped in reverse: probes are answered all the while, routes are known before a port opens. */
function bindServices(plan: Plan): void {
  const { c, parts, limits, log, transport, control, origin, shutDown } = plan;
  const { sockets } = origin;
  for (const settings of plan.config.admin)
    bind(
      c,
      ADMIN,
      () => new AdminServer({ settings, endpoints: one(c, ENDPOINTS), observer: one(c, EVENTS), sockets }),
    );
  bind(c, SERVICE, () => one(c, SERVICES));
  bind(c, ENDPOINTS, () => {
    return adminEndpoints({
      routes: one(c, ROUTES),
      listeners: one(c, LISTENERS),
      outliers: one(c, OUTLIERS),
      checks: all(c, CHECKS)[0],
      // A sidecar has no such groups.
      heldGroups: () => all(c, FAILOVER)[0]?.held ?? [],
      plugins: parts,
      limits,
      readiness: () => one(c, READINESS)(),
      ...ofSessions(() => one(c, SESSIONS)),
      metrics: () => one(c, REGISTRY),
      traffic: () => trafficOf(one(c, REGISTRY)),
      identity: {
        role: all(c, CERTIFICATE).length > 0 ? 'sidecar' : 'gateway',
        transport: transport.name,
        workers: 1,
      },
      observer: one(c, EVENTS),
      routeChanges: one(c, ROUTE_CHANGES),
      logLevel: logLevelOf(log.logger),
      drainProgress: () => one(c, DRAIN).progress,
      shutDown,
      control,
    });
  });
  bind(c, READINESS, () => () => {
    const own = all(c, CERTIFICATE)[0]?.status;
    return readinessOf({
      sources: withRouteWarnings(one(c, ROUTES).sources, one(c, ROUTES).table, one(c, LISTENERS).status),
      listeners: one(c, LISTENERS).status,
      drain: one(c, DRAIN).progress.state,
      logTrouble: log.health.trouble,
      troubles: one(c, TROUBLES).warnings,
      pluginWarnings: [...parts.lent.warnings, ...all(c, LISTS).flatMap(({ warnings }) => warnings)],
      ...(own !== undefined && { certificate: own }),
    });
  });
}

/** All of it, as one. */
function bindGateway(plan: Plan): void {
  const { c, parts, origin } = plan;
  bind(c, GATEWAY, () => {
    const started = { services: all(c, SERVICE), routes: one(c, ROUTES), listeners: one(c, LISTENERS) };
    const lifecycle = startOrder({ ...started, admin: inOrder('admin', all(c, ADMIN)) }, origin.predecessor);
    return new Gateway({
      lifecycle,
      admin: all(c, ADMIN),
      sockets: () => Promise.resolve(ownSockets(one(c, LISTENERS))),
      routes: one(c, ROUTES),
      listeners: one(c, LISTENERS),
      outliers: one(c, OUTLIERS),
      drain: one(c, DRAIN),
      observer: one(c, EVENTS),
      readiness: () => one(c, READINESS)(),
      sources: parts.sources,
      ...(all(c, CERTIFICATE).length === 0
        ? { live: LIVE_SETTINGS, prepare: (next: Next) => prepareNext(plan, next) }
        : { live: SIDECAR_SETTINGS, prepare: (next: Next) => prepareNextSidecar(plan, next) }),
    });
  });
}

/** Reads the files that routes name as soon as these are known, so that no connection waits for them. */
function readListsOf(lists: () => AddressListFiles): Observer {
  return {
    name: 'address lists',
    observe: (event) => {
      if (event.type !== 'routes.replaced') return;
      for (const path of listFilesOf(event.snapshot.routes)) void lists().read(path);
    },
  };
}

function ownSockets({ sockets }: Listeners): HeldByProcess {
  const own = sockets.map(({ name, endpoint, fd }) => ({ kind: 'listener', name, endpoint, fd }) as const);
  return { sockets: own, close: () => undefined };
}

/** What the admin API shows of live connections, and does with them. */
function ofSessions(sessions: () => Sessions): Pick<AdminTargets, 'connections' | 'close'> {
  return {
    connections: () => connectionsView(sessions().live()),
    close: (query) => closeConnections(sessions(), query),
  };
}

/** One process does everything, and a worker has none of the first. */
function servicesOf({ services, carrierServices }: InstalledParts): readonly Service[] {
  return [...services, ...carrierServices];
}

/** @param stateDir folder in which they are kept; absent when they are not */
export function storedSources(sources: readonly RouteSource[], stateDir?: string): readonly RouteSource[] {
  if (stateDir === undefined) return sources;
  const store = fileSnapshotStore(stateDir);
  return sources.map((source) => onceFor(source, () => lastKnownGood(source, store)));
}

/** A source that goes on after a reload is the same one. */
function onceFor<Source extends RouteSource | ListenerSource>(source: Source, make: () => Source): Source {
  const known = STORED.get(source) ?? make();
  STORED.set(source, known);
  // What is kept for a source is of its kind.
  return known as Source;
}

const STORED = new WeakMap<object, object>();

/** The same for where to listen: kept routes are of no use to a gateway that does not know its own address. */
export function storedListeners(sources: readonly ListenerSource[], stateDir?: string): readonly ListenerSource[] {
  if (stateDir === undefined) return sources;
  const store = fileListenerStore(stateDir);
  return sources.map((source) => onceFor(source, () => lastKnownListeners(source, store)));
}

/** With the metrics of the process itself, and of its log. */
export function registryOfThisProcess(log: Pick<Log, 'health'>): Registry {
  const registry = new Registry();
  processMetrics(registry, { version: VERSION });
  countDroppedLines(log, registry);
  return registry;
}

/** The kernel cuts it to its own limit (`net.core.somaxconn`, 4096 on Linux): a burst of connections is for it to hold. */
const BACKLOG = 4096;
