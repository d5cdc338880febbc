import type { Limits, Observer } from '@meshgate/core';
import { observers } from '@meshgate/core/parts';
import type { PreparedChange } from '@meshgate/core/parts';
import { familyParts } from '@meshgate/metrics';
import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { baseDirOf } from '../config/base-dir.ts';
import { addedUp } from '../admin/traffic.ts';
import { BUILT_IN } from '../config/built-in.ts';
import type { PlacedUse } from '../config/config.ts';
import type { GatewayConfig } from '../config/config-schema.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import type { LogTarget } from '../log/logger.ts';
import { atOnce, changed, together } from '../run/change.ts';
import {
  bindChecks,
  commonChanges,
  composed,
  DATA_PLANE,
  EVENTS,
  GATEWAY,
  OBSERVER,
  planOf,
  REGISTRY,
  SERVICES,
  storedListeners,
  storedSources,
} from '../run/composition.ts';
import type { DataPlane, GatewayContext, GatewayPlan } from '../run/composition.ts';
import type { Gateway, Next } from '../run/gateway.ts';
import { replaceSettings, thisMachine } from '../run/machine.ts';
import { LIVE_SETTINGS } from '../run/setting-effects.ts';
import { all, bind, later, one, token } from '../run/token.ts';
import type { MetricFamily, QueryName, QueryResults, WorkerPlan } from './messages.ts';
import { MetricsAggregator } from './metrics-aggregator.ts';
import { PoolDrain } from './pool-drain.ts';
import { WorkerPool } from './pool.ts';
import { sharesOf } from './shares.ts';
import type { Shares } from './shares.ts';
import { SnapshotBroadcaster } from './snapshot-broadcaster.ts';
import { WORKER_LOG_FD } from './worker-process.ts';
import type { WorkerProcess } from './worker-process.ts';

/** Dependencies of a primary, besides its configuration. */
export interface PrimaryContext extends Omit<GatewayContext, 'limits'> {
  /** Target of the workers' logs. */
  readonly target: LogTarget;
  readonly shares: Shares;
}

const POOL = token<WorkerPool>('workers');

/**
 * Composes a gateway that carries no connections itself: it follows the sources, registers in Consul, serves the admin
 * API, and runs workers. It is started, drained and stopped like any other gateway.
 */
export function composePrimary(loaded: LoadedConfig, context: PrimaryContext): Gateway {
  const { config, parts } = loaded;
  const plan = planOf({ ...context, limits: context.shares.total }, config, parts);
  const start: PrimaryPlan = { ...plan, loaded, servicesOf: ({ services }) => services };
  return one(composed(start, bindPool), GATEWAY);
}

interface PrimaryPlan extends GatewayPlan, Omit<PrimaryContext, 'limits'> {
  readonly loaded: LoadedConfig;
}

function bindPool(plan: PrimaryPlan): PrimaryPlan {
  const { c, parts, loaded } = plan;
  const pool = later(c, POOL);
  const aggregator = new MetricsAggregator<WorkerProcess>();
  const broadcaster = new SnapshotBroadcaster(parts, () => pool().workers);
  bind(c, OBSERVER, () => broadcaster.observer);
  bind(c, OBSERVER, () => dropRemovedRoutes(aggregator));
  bindChecks(plan, loaded.transport.transport, (mark) => broadcaster.mark(mark));
  bind(c, EVENTS, () => observers(all(c, OBSERVER)));
  bind(c, POOL, () => poolOf(plan, { aggregator, broadcaster }));
  bind(c, DATA_PLANE, () => dataPlaneOf(plan, { aggregator, broadcaster }));
  return plan;
}

/** The links between the primary and its workers. */
interface WorkerLinks {
  readonly aggregator: MetricsAggregator<WorkerProcess>;
  readonly broadcaster: SnapshotBroadcaster;
}

function poolOf(plan: PrimaryPlan, { aggregator, broadcaster }: WorkerLinks): WorkerPool {
  const { c, loaded, config, parts, shares, target, origin } = plan;
  const registry = one(c, REGISTRY);
  const losses = lossesIn(registry);
  const pool = new WorkerPool({
    count: shares.count,
    plan: workerPlanOf(loaded, { shares, target, limits: shares.each }),
    logFd: target.fd,
    sockets: origin.sockets.claimListeners(),
    broadcaster,
    listeners: config.listeners,
    listenerSources: storedListeners(parts.listenerSources, config.stateDir),
    observer: one(c, EVENTS),
    onLost: () => losses.inc(),
    onEnded: (worker) => void aggregator.retire(worker),
  });
  countWorkers(pool, registry);
  return pool;
}

/** Queries the workers for what only they know. */
function dataPlaneOf(plan: PrimaryPlan, links: WorkerLinks): DataPlane {
  const { c, config, parts, loaded, log, shares } = plan;
  const pool = one(c, POOL);
  const { logger } = log;
  const drain = new PoolDrain(config.drain, {
    pool,
    services: one(c, SERVICES).current,
    carrierServices: parts.carrierServices,
    observer: one(c, EVENTS),
  });
  return {
    listeners: pool,
    drain,
    sockets: () => pool.sockets(),
    targets: {
      outliers: pool,
      connections: () => collected(pool, 'connections').then((views) => views.flat()),
      close: (query) => pool.close(query),
      heldGroups: () => collected(pool, 'held').then((groups) => groups.flat()),
      preference: () => pool.preference,
      metrics: () => totalMetrics(pool, one(c, REGISTRY), links.aggregator),
      traffic: () => collected(pool, 'traffic').then(addedUp),
      drainProgress: () => drain.count(),
      identity: { role: 'gateway', transport: loaded.transport.transport.name, workers: shares.count },
      logLevel: {
        get current() {
          return logger.level;
        },
        set: (level) => {
          logger.level = level;
          pool.setLogLevel(level);
        },
      },
    },
    troubles: () => ({ logTrouble: pool.logTrouble, troubles: pool.troubles }),
    live: LIVE_SETTINGS,
    prepare: (next) => prepareNext(plan, links, next),
  };
}

/** Returns the results of all workers that respond in time. */
async function collected<Name extends QueryName>(pool: WorkerPool, name: Name): Promise<readonly QueryResults[Name][]> {
  const results: QueryResults[Name][] = [];
  await pool.query(name, (result) => void results.push(result));
  return results;
}

async function totalMetrics(
  pool: WorkerPool,
  registry: Registry,
  aggregator: MetricsAggregator<WorkerProcess>,
): Promise<Registry> {
  await pool.query('metrics', (families, worker) => aggregator.update(worker, families));
  const own: MetricFamily[] = [];
  for await (const family of familyParts(registry)) own.push(family);
  return aggregator.total(own);
}

/** Prepares a reload. Workers get their sources before they receive routes of these. */
function prepareNext(plan: PrimaryPlan, { broadcaster }: WorkerLinks, next: Next): Promise<PreparedChange> {
  const { c, loaded, shares, target } = plan;
  const { config, parts, limits } = next;
  const { stateDir } = plan.config;
  const listenerSources = storedListeners(parts.listenerSources, stateDir);
  const sources = storedSources(parts.sources, stateDir);
  const workerPlan = workerPlanOf({ ...loaded, config }, { shares, target, limits });
  const common = commonChanges(plan, next);
  return changed({
    // Includes the limits, stages and filters of the workers.
    listeners: () => one(c, POOL).prepare(workerPlan, { listeners: config.listeners, listenerSources, sources }),
    // The plan contains each worker's share.
    limits: atOnce(() => replaceSettings(plan.limits, sharesOf(config, thisMachine()).total)),
    keepAlive: IN_THE_PLAN,
    prefer: IN_THE_PLAN,
    ...common,
    sources: () => together([atOnce(() => broadcaster.use({ sources, listenerSources })), common.sources]),
  });
}

/** Settings in the plan that only workers use. */
const IN_THE_PLAN = atOnce(() => undefined);

const LOSSES = 'meshgate_worker_losses_total';

function lossesIn(registry: Registry): Counter {
  return new Counter({
    name: LOSSES,
    help: 'Workers that exited unexpectedly or were replaced',
    registers: [registry],
  });
}

function workerPlanOf(
  { file, config, transport: { transport } }: LoadedConfig,
  { limits, shares, target }: Pick<PrimaryContext, 'target' | 'shares'> & { readonly limits: Limits },
): Omit<WorkerPlan, 'idPrefix' | 'listeners' | 'sources' | 'listenerSources' | 'sockets'> {
  const { admin: _ofThePrimary, stateDir: _too, ...carrying } = config;
  return {
    config: { ...carrying, admin: [], sources: [], plugins: [] },
    limits,
    share: 1 / shares.count,
    adminAt: config.admin.map(({ endpoint }) => endpoint),
    uses: usesOf(config),
    baseDir: baseDirOf(file),
    transport: transport.name,
    // With Node's transport, workers share the primary's sockets; with any other, each worker binds its own.
    reusePort: transport.name !== 'node',
    log: { ...target, fd: WORKER_LOG_FD },
  };
}

/**
 * Returns the third-party plugins. Built-in plugins only add sources, registration and listeners, which run in the
 * primary.
 */
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

/** Removes the series of a removed route, including those of exited workers. */
function dropRemovedRoutes(aggregator: MetricsAggregator<WorkerProcess>): Observer {
  return {
    name: 'metrics aggregator',
    observe: (event) => {
      if (event.type === 'routes.replaced' || event.type === 'source.removed') void aggregator.removed(event.removed);
    },
  };
}
