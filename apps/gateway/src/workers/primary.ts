import { dirname, resolve } from 'node:path';
import {
  AddressBook,
  HealthChecks,
  inOrder,
  observers,
  Outliers,
  RecentTroubles,
  RouteStore,
} from '@meshgate/core/parts';
import type { Limits, Observer } from '@meshgate/core';
import type { HeldGroup, PreparedChange } from '@meshgate/core/parts';
import { familyParts, gatewayVitals, prometheusObserver } from '@meshgate/metrics';
import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { adminEndpoints, RouteChangeFeed } from '../admin/endpoints.ts';
import type { AdminEndpoint } from '../admin/endpoint.ts';
import { AdminServer } from '../admin/server.ts';
import { readinessOf } from '../admin/readiness.ts';
import { addedUp } from '../admin/traffic.ts';
import type { Traffic } from '../admin/traffic.ts';
import type { Readiness, Vitals } from '../admin/readiness.ts';
import type { InstalledParts } from '../config/parts.ts';
import { BUILT_IN } from '../config/built-in.ts';
import { checkTransport, registryOfThisProcess, storedListeners, storedSources } from '../run/compose.ts';
import type { PlacedUse } from '../config/config.ts';
import type { GatewayConfig } from '../config/config-schema.ts';
import { atOnce, changed, together } from '../run/change.ts';
import { Gateway } from '../run/gateway.ts';
import type { Next } from '../run/gateway.ts';
import { LiveServices } from '../run/live-services.ts';
import type { Origin } from '../run/predecessor.ts';
import { LIVE_SETTINGS } from '../run/setting-effects.ts';
import { replaceSettings, thisMachine } from '../run/machine.ts';
import { startOrder } from '../run/start-order.ts';
import { vitalsOf } from '../run/vitals.ts';
import type { ProcessControl } from '../run/process-control.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import { withRouteWarnings } from '../config/route-warnings.ts';
import { logObserver } from '../log/log-observer.ts';
import type { Log, LogTarget } from '../log/logger.ts';
import type { ConnectionView } from '../admin/views.ts';
import type { MetricFamily, WorkerPlan } from './messages.ts';
import { SnapshotBroadcaster } from './snapshot-broadcaster.ts';
import { PoolDrain } from './pool-drain.ts';
import { WorkerPool } from './pool.ts';
import { sharesOf } from './shares.ts';
import type { Shares } from './shares.ts';
import { MetricsAggregator } from './metrics-aggregator.ts';
import { WORKER_LOG_FD } from './worker-process.ts';
import type { WorkerProcess } from './worker-process.ts';

/** What a primary needs beside its configuration. */
export interface PrimarySurroundings {
  readonly log: Log;
  /** Where the workers write theirs. */
  readonly target: LogTarget;
  readonly shares: Shares;
  /** What an operator may have the process do beside. */
  readonly control: ProcessControl;
  /** Where the process has its sockets from, and whom it replaces. */
  readonly origin: Origin;
  /** Starts the drain at whose end the process exits. */
  shutDown(): void;
}

/**
 * Composes a gateway that carries no connection itself: it follows the sources, registers in Consul, serves the admin API, and runs
 * workers. It is started, drained and stopped like any other gateway.
 */
export function composePrimary(loaded: LoadedConfig, surroundings: PrimarySurroundings): Gateway {
  const { config, parts } = loaded;
  const { log } = surroundings;
  const registry = registryOfThisProcess(log);
  const aggregator = new MetricsAggregator<WorkerProcess>();
  const troubles = new RecentTroubles();
  const broadcaster: SnapshotBroadcaster = new SnapshotBroadcaster(parts, () => pool.workers);
  const observer: Observer = observers([
    logObserver(log.logger),
    prometheusObserver({ registry }),
    broadcaster.observer,
    { name: 'health checks', observe: (event) => checks.observe(event) },
    dropRemovedRoutes(aggregator),
    troubles,
    ...parts.observers,
  ]);
  const checks: HealthChecks = new HealthChecks({
    transport: checkTransport(loaded.transport.transport),
    addresses: new AddressBook(observer),
    observer,
    onMark: (mark) => broadcaster.mark(mark),
  });
  const pool = poolOf(loaded, surroundings, { registry, aggregator, broadcaster, observer });
  const routeChanges = new RouteChangeFeed();
  const routes = new RouteStore({
    sources: storedSources(parts.sources, config.stateDir),
    observer: observers([observer, routeChanges]),
  });
  const outliers = new Outliers(observer);
  const services = new LiveServices(parts.services);
  const drain = new PoolDrain(config.drain, { ...parts, services: services.current, pool, observer });
  parts.lent.connect({ logger: log.logger, registry, routes });
  const readiness = (): Readiness => readinessOf(readinessVitals({ routes, pool, drain, troubles, log, parts }));
  const limits = { ...surroundings.shares.total };
  gatewayVitals(registry, vitalsOf({ routes, checks, limits, readiness }));
  const seen = { routes, checks, limits, readiness, routeChanges };
  const admin = adminServers({ ...seen, pool, drain, aggregator, registry, loaded, observer, ...surroundings });
  const started = { admin: inOrder('admin', admin), services: [checks, services], routes, listeners: pool };
  const lifecycle = startOrder(started, surroundings.origin.predecessor);
  const shown = { routes, listeners: pool, outliers, drain, readiness };
  const live = { loaded, surroundings, limits, pool, broadcaster, drain, routes, services };
  const prepare = (next: Next): Promise<PreparedChange> => prepareNext(live, next);
  const operated = { lifecycle, admin, observer, sources: parts.sources, live: LIVE_SETTINGS, prepare };
  return new Gateway({ ...shown, ...operated, sockets: () => pool.sockets() });
}

function poolOf(
  loaded: LoadedConfig,
  surroundings: PrimarySurroundings,
  { registry, aggregator, broadcaster, observer }: PoolParts,
): WorkerPool {
  const { config, parts } = loaded;
  const { shares, target, origin } = surroundings;
  const losses = lossesIn(registry);
  const pool = new WorkerPool({
    count: shares.count,
    plan: planOf(loaded, { ...surroundings, limits: shares.each }),
    logFd: target.fd,
    sockets: origin.sockets.claimListeners(),
    broadcaster,
    listeners: config.listeners,
    listenerSources: storedListeners(parts.listenerSources, config.stateDir),
    observer,
    onLost: () => losses.inc(),
    onEnded: (worker) => void aggregator.retire(worker),
  });
  countWorkers(pool, registry);
  return pool;
}

interface PoolParts {
  readonly registry: Registry;
  readonly aggregator: MetricsAggregator<WorkerProcess>;
  readonly broadcaster: SnapshotBroadcaster;
  readonly observer: Observer;
}

/** What readiness depends on, here and in the workers. */
function readinessVitals({
  routes,
  pool,
  drain,
  troubles,
  log,
  parts,
}: {
  readonly routes: RouteStore;
  readonly pool: WorkerPool;
  readonly drain: PoolDrain;
  readonly troubles: RecentTroubles;
  readonly log: Log;
  readonly parts: InstalledParts;
}): Vitals {
  return {
    sources: withRouteWarnings(routes.sources, routes.table, pool.status),
    listeners: pool.status,
    drain: drain.progress.state,
    logTrouble: log.health.trouble ?? pool.logTrouble,
    troubles: [...new Set([...troubles.warnings, ...pool.troubles])],
    pluginWarnings: parts.lent.warnings,
  };
}

/** What a reload changes. */
interface LiveParts {
  readonly loaded: LoadedConfig;
  readonly surroundings: PrimarySurroundings;
  /** Of all workers together. */
  readonly limits: Limits;
  readonly pool: WorkerPool;
  readonly broadcaster: SnapshotBroadcaster;
  readonly drain: PoolDrain;
  readonly routes: RouteStore;
  readonly services: LiveServices;
}

/** Workers are told of their sources before these have routes for them. */
function prepareNext(live: LiveParts, { config, parts, limits }: Next): Promise<PreparedChange> {
  const { loaded, surroundings, pool, broadcaster } = live;
  const { stateDir } = loaded.config;
  const listenerSources = storedListeners(parts.listenerSources, stateDir);
  const sources = storedSources(parts.sources, stateDir);
  const plan = planOf({ ...loaded, config }, { ...surroundings, limits });
  return changed({
    // With the limits, stages and filters of the workers.
    listeners: () => pool.prepare(plan, { listeners: config.listeners, listenerSources, sources }),
    // Those of each are part of the plan.
    limits: atOnce(() => replaceSettings(live.limits, sharesOf(config, thisMachine()).total)),
    keepAlive: IN_THE_PLAN,
    prefer: IN_THE_PLAN,
    sources: () =>
      together([
        atOnce(() => broadcaster.use({ sources, listenerSources })),
        () => live.routes.prepare(sources),
        () => live.services.prepare(parts.services),
      ]),
    drain: atOnce(() => live.drain.use(config.drain)),
    log: atOnce(() => void (surroundings.log.logger.level = config.log.level)),
  });
}

/** Only workers have a use for it. */
const IN_THE_PLAN = atOnce(() => undefined);

const LOSSES = 'meshgate_worker_losses_total';

function lossesIn(registry: Registry): Counter {
  return new Counter({
    name: LOSSES,
    help: 'Workers that exited unexpectedly or were replaced',
    registers: [registry],
  });
}

function planOf(
  { file, config, transport: { transport } }: LoadedConfig,
  { limits, shares, target }: Pick<PrimarySurroundings, 'target' | 'shares'> & { readonly limits: Limits },
): Omit<WorkerPlan, 'idPrefix' | 'listeners' | 'sources' | 'listenerSources' | 'sockets'> {
  const { admin: _ofThePrimary, stateDir: _too, ...carrying } = config;
  return {
    config: { ...carrying, admin: [], sources: [], plugins: [] },
    limits,
    share: 1 / shares.count,
    adminAt: config.admin.map(({ endpoint }) => endpoint),
    uses: usesOf(config),
    baseDir: file === undefined ? resolve() : dirname(resolve(file)),
    transport: transport.name,
    // With Node's own transport, workers share the sockets of the primary; with any other, each binds its own.
    reusePort: transport.name !== 'node',
    log: { ...target, fd: WORKER_LOG_FD },
  };
}

/** Third-party plugins. The built-in ones add only sources, registration and listeners, which run in the primary. */
function usesOf({ sources, plugins }: GatewayConfig): readonly PlacedUse[] {
  const ours = new Set(BUILT_IN.map(({ plugin }) => plugin.name));
  const lists = { sources, plugins };
  return (['sources', 'plugins'] as const).flatMap((list) =>
    lists[list].flatMap((use, index) => (ours.has(use.use) ? [] : [{ ...use, list, path: [list, index] }])),
  );
}

function countWorkers(pool: WorkerPool, registry: Registry): void {
  const gauge: Gauge = new Gauge({
    name: 'meshgate_workers',
    help: 'Workers that accept connections',
    registers: [registry],
    collect: () => gauge.set(pool.workers.filter(({ phase }) => phase === 'listening').length),
  });
}

/** A route that is gone takes its series with it, those of workers that are gone as well. */
function dropRemovedRoutes(aggregator: MetricsAggregator<WorkerProcess>): Observer {
  return {
    name: 'metrics aggregator',
    observe: (event) => {
      if (event.type === 'routes.replaced' || event.type === 'source.removed') void aggregator.removed(event.removed);
    },
  };
}

interface AdminParts extends PrimarySurroundings {
  readonly loaded: LoadedConfig;
  readonly observer: Observer;
  readonly routeChanges: RouteChangeFeed;
  readonly pool: WorkerPool;
  readonly drain: PoolDrain;
  readonly routes: RouteStore;
  readonly checks: HealthChecks;
  /** Of all workers together; a reload changes them. */
  readonly limits: Limits;
  readonly aggregator: MetricsAggregator<WorkerProcess>;
  readonly registry: Registry;
  readiness(): Readiness;
}

function adminServers(all: AdminParts): readonly AdminServer[] {
  const endpoints = endpointsOf(all);
  return all.loaded.config.admin.map(
    (settings) => new AdminServer({ settings, endpoints, observer: all.observer, sockets: all.origin.sockets }),
  );
}

/** Those of a single-process gateway; what only the workers know is asked of them. */
function endpointsOf(all: AdminParts): readonly AdminEndpoint[] {
  const { pool, drain, routes, checks, aggregator, registry, readiness, shares, log, routeChanges, shutDown } = all;
  const { observer, loaded, control, limits } = all;
  const { parts, transport } = loaded;
  return adminEndpoints({
    routes,
    checks,
    readiness,
    shutDown,
    control,
    plugins: parts,
    listeners: pool,
    outliers: pool,
    limits,
    connections: async () => {
      const connections: ConnectionView[] = [];
      await pool.query('connections', (some) => void connections.push(...some));
      return connections;
    },
    close: (query) => pool.close(query),
    heldGroups: async () => {
      const held: HeldGroup[] = [];
      await pool.query('held', (some) => void held.push(...some));
      return held;
    },
    identity: { role: 'gateway', transport: transport.transport.name, workers: shares.count },
    observer,
    routeChanges,
    logLevel: {
      get current() {
        return log.logger.level;
      },
      set: (level) => {
        log.logger.level = level;
        pool.setLogLevel(level);
      },
    },
    traffic: async () => {
      const counts: Traffic[] = [];
      await pool.query('traffic', (some) => void counts.push(some));
      return addedUp(counts);
    },
    metrics: async () => {
      await pool.query('metrics', (families, worker) => aggregator.update(worker, families));
      const own: MetricFamily[] = [];
      for await (const family of familyParts(registry)) own.push(family);
      return aggregator.total(own);
    },
    drainProgress: () => drain.count(),
  });
}
