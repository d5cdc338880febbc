// Composes a gateway, or sidecar, that carries its connections in this process: the parts in addition to those of
// composition.ts.
import type { CertificateStatus } from '@meshgate/connect';
import {
  accessByListener,
  Admission,
  BackendHealth,
  balancedConnector,
  Departures,
  Drain,
  egressConnector,
  FailoverGroups,
  firstOf,
  firstToKnow,
  layered,
  leadsTo,
  Listeners,
  observers,
  offeredBalances,
  Outliers,
  routeRules,
  Sessions,
  withUsedLayers,
  withUsedResolvers,
} from '@meshgate/core/parts';
import type { AdmissionOptions, PreparedChange, RecentTroubles, RouteStore, Stages } from '@meshgate/core/parts';
import type { Connector, Endpoint, Layer, Observer, Resolver, Service, Sniffer, Transport } from '@meshgate/core';
import { AddressListFiles } from '@meshgate/documents';
import { postgresBackends, proxyProtocolBackends } from '@meshgate/filters';
import { carrierVitals } from '@meshgate/metrics';
import { sniSniffer } from '@meshgate/sni';
import type { Registry } from 'prom-client';
import { closeConnections } from '../admin/connection-query.ts';
import { trafficOf } from '../admin/traffic.ts';
import { connectionsView } from '../admin/views.ts';
import { listFilesOf } from '../config/access-lists.ts';
import type { GatewayConfig } from '../config/config-schema.ts';
import { offeredParts, POSTGRES_FILTER } from '../config/part-uses.ts';
import type { InstalledParts } from '../config/parts.ts';
import { accessLog } from '../log/access-log.ts';
import { logLevelOf } from '../log/logger.ts';
import { atOnce, changed, together } from './change.ts';
import type { Preparing } from './change.ts';
import {
  ADDRESSES,
  ADMIN,
  bindChecks,
  commonChanges,
  composed,
  DATA_PLANE,
  EVENTS,
  GATEWAY,
  OBSERVER,
  planOf,
  REGISTRY,
  ROUTE_OBSERVER,
  ROUTES,
  SERVICE,
  SERVICES,
  storedListeners,
  TROUBLES,
} from './composition.ts';
import type { DataPlane, GatewayContext, GatewayPlan } from './composition.ts';
import type { Gateway, HeldByProcess, Next } from './gateway.ts';
import { inheriting } from './inherited-sockets.ts';
import { filtersByListener, withListenerLayers, withListenerResolvers } from './listener-parts.ts';
import { replaceSettings } from './machine.ts';
import { LIVE_SETTINGS, SIDECAR_SETTINGS } from './setting-effects.ts';
import type { SidecarSetting } from './setting-effects.ts';
import { all, bind, bindEach, later, one, token } from './token.ts';
import type { Container, Token } from './token.ts';

/** The environment of a gateway that carries connections in this process. */
export interface ComposeContext extends GatewayContext {
  readonly transport: Transport;
  /** Addresses at which another process serves the admin API for this one; absent when this process serves it. */
  readonly adminAt?: readonly Endpoint[];
  /** Share of each route's limits that applies to this process; all of them when absent. */
  readonly share?: number;
  /** Health check results of another process; absent when this process runs the checks. */
  readonly health?: BackendHealth;
}

/** The parts of a gateway that carries connections, in a process without an admin server. */
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

// Several parts per token.
const SNIFFER = token<Sniffer>('sniffer');
const RESOLVER = token<Resolver>('resolver');
const LAYER = token<Layer<Connector>>('connector layer');

// One part per token.
export const OUTLIERS: Token<Outliers> = token('outliers');
const FAILOVER = token<FailoverGroups>('failover groups');
const DEPARTURES = token<Departures>('backend departures');
const HEALTH = token<BackendHealth>('backend health');
const LISTS = token<AddressListFiles>('address lists');
const DIALER = token<Connector>('dialer');
const RULES = token<Layer<Connector>>('route rules');
export const CONNECTOR: Token<Connector> = token('connector');
export const SESSIONS: Token<Sessions> = token('sessions');
const LISTENERS = token<Listeners>('listeners');
const DRAIN = token<Drain>('drain');
export const ADMISSION: Token<Admission> = token('admission');
/** The leaf certificate of this proxy; not bound when it only forwards TLS. */
export const CERTIFICATE: Token<{ readonly status: CertificateStatus }> = token('own certificate');

/** Composes a gateway. Nothing runs until it is started. */
export function compose(config: GatewayConfig, parts: InstalledParts, environment: ComposeContext): Gateway {
  return one(carrying(config, parts, environment), GATEWAY);
}

/** Like {@link compose}, for a worker. */
export function composeCarrier(config: GatewayConfig, parts: InstalledParts, environment: ComposeContext): Carrier {
  const c = carrying(config, parts, environment);
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
 * Like {@link compose}, for a proxy with its own handshake with clients and its own connectors.
 *
 * @param bindOwn binds `SESSIONS`, and may add parts; returns the plan to use
 */
export function composeWith(
  config: GatewayConfig,
  parts: InstalledParts,
  environment: ComposeContext,
  bindOwn: (plan: Plan) => Plan,
): Gateway {
  return one(carrying(config, parts, environment, bindOwn), GATEWAY);
}

function carrying(
  config: GatewayConfig,
  parts: InstalledParts,
  environment: ComposeContext,
  bindOwn = bindStages,
): Container {
  const plan = planOf(environment, config, parts);
  const { adminAt = [] } = environment;
  const live = { keepAlive: { ...config.keepAlive }, prefer: config.prefer ?? {}, adminAt };
  const start: Plan = { ...plan, live, servicesOf, liveConnections: later(plan.c, SESSIONS) };
  bind(start.c, EVENTS, () => eventsOf(start));
  const c = composed(start, (container) => bindCarrier(bindOwn(container)));
  carrierVitals(one(c, REGISTRY), {
    pendingHellos: () => all(c, ADMISSION)[0]?.pendingHellos,
    pipes: () => environment.transport.pipes?.(),
  });
  return c;
}

/** The inputs of a composition. */
export interface Plan extends ComposeContext, GatewayPlan {
  /** Read by dials and listeners, as `limits` is. */
  readonly live: LiveDialling;
  /** Returns the stages of a proxy with its own; absent for the stages of a gateway. */
  stagesOf?(plan: Plan, observer: Observer): Stages;
}

/** Settings of dials and listeners that a reload replaces. */
interface LiveDialling {
  /** A single object, from which all dials and listeners read. */
  readonly keepAlive: GatewayConfig['keepAlive'];
  prefer: NonNullable<GatewayConfig['prefer']>;
  /** See `ComposeContext.adminAt`. */
  adminAt: readonly Endpoint[];
}

/**
 * Combines all observers. Adds the access log when it is on, since only this observer can be added and removed at run
 * time.
 */
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

/** Binds the stages of a connection. */
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
  bind(c, FAILOVER, () => new FailoverGroups(one(c, EVENTS)));
  bindHealth(plan);
  bind(c, DIALER, () => {
    const dialling = {
      outliers: one(c, OUTLIERS),
      observer: one(c, EVENTS),
      limits,
      share,
      keepAlive: live.keepAlive,
      isOwn: ownedBy(plan),
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

/**
 * Whether a dial would loop back to this gateway, or lead a client to its admin API. Both are composed after the parts
 * that need the result.
 */
function ownedBy({ c, live }: Plan): (address: Endpoint) => boolean {
  const [listeners, admin] = [later(c, LISTENERS), later(c, ADMIN)];
  return (address) =>
    listeners().owns(address) || admin().isAt(address) || live.adminAt.some((endpoint) => leadsTo(address, endpoint));
}

/** Binds the health of backends, which every process needs. One process runs the checks. */
function bindHealth(plan: Plan): void {
  const { c, health = new BackendHealth(), transport, idPrefix } = plan;
  bind(c, HEALTH, () => health);
  if (idPrefix === undefined) bindChecks(plan, transport, (mark) => health.mark(mark));
}

/** Builds the stages from the current configuration. A reload builds them again around the same parts. */
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
 * Prepares all changes of a reload in a gateway, those that may fail first. All parts read limits from the single
 * object `plan.limits`.
 */
function prepareNext(plan: Plan, next: Next): Promise<PreparedChange> {
  const { c, config: before } = plan;
  const { config, parts } = next;
  return changed({
    ...preparingAnywhere(plan, next),
    prefer: atOnce(() => void (plan.live.prefer = config.prefer ?? {})),
    sources: commonChanges(plan, next).sources,
    // Last, so that connections of a new listener use the new stages.
    listeners: () =>
      together([
        () => one(c, LISTS).prepare(listFilesOf(config.listeners)),
        () => prepareStages(plan, next, { accessOf: accessByListener(config.listeners, one(c, LISTS)) }),
        () => one(c, LISTENERS).prepare(config.listeners, storedListeners(parts.listenerSources, before.stateDir)),
      ]),
  });
}

/** Like {@link prepareNext}, for a sidecar, whose routes and listeners come from its definition. */
function prepareNextSidecar(plan: Plan, next: Next): Promise<PreparedChange> {
  const preparing = preparingAnywhere(plan, next) satisfies Readonly<Record<SidecarSetting, Preparing>>;
  return together([...Object.values(preparing), () => prepareStages(plan, next)]);
}

/** Prepares the changes that are the same in gateways and sidecars. */
function preparingAnywhere(plan: Plan, next: Next) {
  const { c, limits, live } = plan;
  const { drain, log, admin } = commonChanges(plan, next);
  return {
    admin: () => together([admin, atOnce(() => void (live.adminAt = next.adminAt ?? []))]),
    limits: atOnce(() => replaceSettings(limits, next.limits)),
    keepAlive: atOnce(() => {
      replaceSettings(live.keepAlive, next.config.keepAlive);
      one(c, LISTENERS).keepAlive(live.keepAlive);
    }),
    drain,
    log,
  };
}

/** Creates the parts of plugins before the commit, so that one that throws rejects the change. */
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

/** Binds listeners, drain and the data plane. */
function bindCarrier(plan: Plan): Plan {
  const { c, config, parts, transport, origin, live } = plan;
  bind(c, OUTLIERS, () => new Outliers(one(c, EVENTS)));
  bind(c, SERVICE, () => one(c, OUTLIERS));
  bindDepartures(plan);
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
  bind(c, DATA_PLANE, () => dataPlaneOf(plan));
  return plan;
}

/** Binds the handling of connections whose backend was removed or has failed. */
function bindDepartures({ c }: Plan): void {
  bind(c, DEPARTURES, () => {
    return new Departures({
      sessions: one(c, SESSIONS),
      table: () => one(c, ROUTES).table,
      health: all(c, HEALTH)[0],
      observer: one(c, EVENTS),
    });
  });
  bind(c, SERVICE, () => one(c, DEPARTURES));
  const departures = later(c, DEPARTURES);
  bind(c, ROUTE_OBSERVER, () => ({ name: 'departures', observe: (event) => departures().observe(event) }));
}

function dataPlaneOf(plan: Plan): DataPlane {
  const { c, log, transport } = plan;
  const [listeners, drain, sessions, registry] = [one(c, LISTENERS), one(c, DRAIN), one(c, SESSIONS), one(c, REGISTRY)];
  const [own] = all(c, CERTIFICATE);
  return {
    listeners,
    drain,
    sockets: () => Promise.resolve(ownSockets(listeners)),
    targets: {
      outliers: one(c, OUTLIERS),
      // A sidecar has no priority groups.
      heldGroups: () => all(c, FAILOVER)[0]?.held ?? [],
      preference: () => plan.live.prefer,
      connections: () => connectionsView(sessions.live()),
      close: (query) => closeConnections(sessions, query),
      metrics: () => registry,
      traffic: () => trafficOf(registry),
      drainProgress: () => drain.progress,
      identity: { role: own === undefined ? 'gateway' : 'sidecar', transport: transport.name, workers: 1 },
      logLevel: logLevelOf(log.logger),
    },
    troubles: () => ({
      pluginWarnings: all(c, LISTS).flatMap(({ warnings }) => warnings),
      ...(own && { certificate: own.status }),
    }),
    ...(own === undefined
      ? { live: LIVE_SETTINGS, prepare: (next: Next) => prepareNext(plan, next) }
      : { live: SIDECAR_SETTINGS, prepare: (next: Next) => prepareNextSidecar(plan, next) }),
  };
}

/** Reads the address files of routes as soon as the routes are known, so that no connection waits for them. */
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

/** Returns the services of a single process, which runs all of them. A worker's parts have no `services`. */
function servicesOf({ services, carrierServices }: InstalledParts): readonly Service[] {
  return [...services, ...carrierServices];
}

/** Absorbs bursts. The kernel caps it (`net.core.somaxconn`, 4096 on Linux). */
const BACKLOG = 4096;
