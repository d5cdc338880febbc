import { dirname, resolve } from 'node:path';
import { inOrder, observers, Outliers, RouteStore } from '@meshgate/core/parts';
import type { Observer, Service } from '@meshgate/core';
import { exposition, prometheusObserver } from '@meshgate/metrics';
import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { adminPaths } from '../admin/admin-answers.ts';
import type { AdminPaths } from '../admin/admin-answers.ts';
import { AdminServer } from '../admin/admin.ts';
import { BUILT_IN } from '../config/built-in.ts';
import { registryOfThisProcess, rememberedListeners, rememberedSources } from '../run/compose.ts';
import type { PlacedUse } from '../config/config.ts';
import type { GatewayConfig } from '../config/config-schema.ts';
import { Gateway } from '../run/gateway.ts';
import type { LoadedConfig } from '../config/load-config.ts';
import type { Parts } from '../config/parts.ts';
import { logObserver } from '../log/log-observer.ts';
import type { Log, LogTarget } from '../log/logger.ts';
import type { ConnectionView } from '../admin/views.ts';
import type { WorkerPlan } from './messages.ts';
import { News } from './snapshot-broadcaster.ts';
import { PoolDrain } from './pool-drain.ts';
import { WorkerPool } from './pool.ts';
import type { Shares } from './shares.ts';
import { MetricsAggregator } from './metrics-aggregator.ts';
import { WORKER_LOG_FD } from './worker-process.ts';
import type { WorkerProcess } from './worker-process.ts';

/** What a primary stands on beside its configuration. */
export interface PrimarySurroundings {
  readonly log: Log;
  /** Where the workers write theirs. */
  readonly target: LogTarget;
  readonly shares: Shares;
  /** Begins the drain at whose end the process leaves. */
  leave(): void;
}

/**
 * Puts together a gateway that carries no connection itself: it follows the sources, registers, answers operators, and has
 * workers. To whoever starts, drains and stops it, it is a gateway like any other.
 */
export function composePrimary(loaded: LoadedConfig, surroundings: PrimarySurroundings): Gateway {
  const { config, parts } = loaded;
  const { log, shares } = surroundings;
  const registry = registryOfThisProcess(log);
  const tally = new MetricsAggregator<WorkerProcess>();
  const news: News = new News(parts, () => pool.workers);
  const observer = observers([
    logObserver(log.logger),
    prometheusObserver({ registry }),
    news.observer,
    forgetting(tally),
    ...parts.observers,
  ]);
  const losses = new Counter({ name: LOSSES, help: 'Workers that died or had to be replaced', registers: [registry] });
  const pool = new WorkerPool({
    count: shares.count,
    plan: planOf(loaded, surroundings),
    logFd: surroundings.target.fd,
    news,
    listeners: config.listeners,
    listenerSources: rememberedListeners(parts.listenerSources, config.stateDir),
    observer,
    onLost: () => losses.inc(),
    onEnded: (worker) => void tally.departed(worker),
  });
  countWorkers(pool, registry);
  const routes = new RouteStore({ sources: rememberedSources(parts.sources, config.stateDir), observer });
  const outliers = new Outliers(observer);
  const drain = new PoolDrain(config.drain, { pool, services: parts.services, observer });
  parts.lent.connect({ logger: log.logger, registry, routes });
  const paths = pathsOf({ pool, drain, routes, tally, registry, parts, ...surroundings });
  const admin = adminOf(config, paths, observer);
  const services: readonly Service[] = [...(admin ? [admin] : []), ...parts.services, routes, pool];
  const lifecycle = inOrder('gateway', services);
  return new Gateway({ lifecycle, admin, routes, listeners: pool, outliers, drain, observer, sources: parts.sources });
}

const LOSSES = 'meshgate_worker_losses_total';

function planOf(
  { file, config, transport: { transport } }: LoadedConfig,
  { shares, target }: PrimarySurroundings,
): Omit<WorkerPlan, 'idPrefix' | 'listeners' | 'sources' | 'listenerSources'> {
  const { admin: _ofThePrimary, stateDir: _too, ...carrying } = config;
  return {
    config: { ...carrying, sources: [], plugins: [] },
    limits: shares.each,
    uses: usesOf(config),
    baseDir: file === undefined ? resolve() : dirname(resolve(file)),
    transport: transport.name,
    // Node's own transport shares what the primary listens on; any other knows nothing of that.
    reusePort: transport.name !== 'node',
    log: { ...target, fd: WORKER_LOG_FD },
  };
}

/** The plugins of others, which may add anything. Those of our own add sources, registrations and listeners: the primary's. */
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
    help: 'Workers that take connections',
    registers: [registry],
    collect: () => gauge.set(pool.workers.filter(({ phase }) => phase === 'listening').length),
  });
}

/** A route that is gone takes its series with it, those of workers that are gone as well. */
function forgetting(tally: MetricsAggregator<WorkerProcess>): Observer {
  return {
    name: 'tally',
    observe: (event) => {
      if (event.type === 'routes.replaced') void tally.removed(event.removed);
    },
  };
}

interface Answering extends PrimarySurroundings {
  readonly parts: Parts;
  readonly pool: WorkerPool;
  readonly drain: PoolDrain;
  readonly routes: RouteStore;
  readonly tally: MetricsAggregator<WorkerProcess>;
  readonly registry: Registry;
}

/** The same paths as of a gateway in one process; those about connections ask the workers. */
function pathsOf({ pool, drain, routes, tally, registry, parts, log, shares, leave }: Answering): AdminPaths {
  const sessions = { live: () => [] };
  const logTrouble = (): string | undefined => log.health.trouble ?? pool.logTrouble;
  const own = { routes, sessions, drain, registry, logTrouble, plugins: parts, leave };
  const targets = { ...own, listeners: pool, outliers: pool, limits: shares.total };
  return {
    ...adminPaths(targets),
    '/connections': {
      GET: async () => {
        const connections: ConnectionView[] = [];
        await pool.ask('connections', (some) => void connections.push(...some));
        return { status: 200, json: { connections } };
      },
    },
    '/metrics': {
      GET: async ({ accept }) => {
        await pool.ask('metrics', (families, worker) => tally.heard(worker, families));
        const total = await tally.total(await registry.getMetricsAsJSON());
        const { contentType, body } = await exposition(total, accept);
        return { status: 200, contentType, text: body };
      },
    },
    '/drain': {
      GET: async () => ({ status: 200, json: await drain.count() }),
      POST: async () => {
        leave();
        return { status: 202, json: await drain.count() };
      },
    },
  };
}

function adminOf({ admin: endpoint }: GatewayConfig, paths: AdminPaths, observer: Observer): AdminServer | undefined {
  return endpoint && new AdminServer({ endpoint, paths, observer });
}
