import type {
  MetricLabels,
  PluginLog,
  PluginMetric,
  PluginMetrics,
  ProcessRole,
  Route,
  RoutesView,
} from '@meshgate/core';
import type { HostServices, RouteStore } from '@meshgate/core/parts';
import { format } from 'node:util';
import { stdSerializers } from 'pino';
import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import { FailureLog } from '../log/failure-log.ts';
import type { Logger } from '../log/logger.ts';
import { SharedGauge } from './shared-gauge.ts';

/** The parts that exist once a gateway is composed. */
export interface LentBy {
  readonly logger: Logger;
  readonly registry: Registry;
  readonly routes: Pick<RouteStore, 'table'>;
}

/** The environment in which plugins are installed. */
export interface PluginContext {
  /** Absolute path of the folder with the configuration file. */
  readonly baseDir: string;
  readonly process: ProcessRole;
}

/** The services of one use of a plugin, for as long as it is in the configuration. */
export interface PluginLease {
  readonly plugin: string;
  readonly services: HostServices;
}

/**
 * Services that the gateway provides to plugins. Plugins are installed before there is a log, a registry or a table:
 * until then, writes are buffered, and reads are empty. Each use of a plugin has its own services, which are revoked
 * when the use is gone.
 */
export class PluginServices {
  readonly #context: PluginContext;
  /** Current services, with the current warning of each. */
  readonly #leases = new Map<PluginLease, string | undefined>();
  readonly #permanent = new Set<PluginLease>();
  readonly #metrics = new Map<string, LentMetric>();
  readonly #waiting: Line[] = [];
  readonly #warned = new FailureLog(undefined, MAX_WARNINGS_A_MINUTE);
  #lentBy: LentBy | undefined;

  constructor(context: PluginContext) {
    this.#context = context;
  }

  /** Current warnings of plugins, as messages. */
  get warnings(): readonly string[] {
    return Array.from(this.#leases).flatMap(([{ plugin }, warning]) =>
      warning === undefined ? [] : [`plugin ${plugin}: ${warning}`],
    );
  }

  /** Creates the services for another use of `plugin`. */
  lend(plugin: string): PluginLease {
    const lease: PluginLease = {
      plugin,
      services: {
        ...this.#context,
        log: this.#log(plugin),
        metrics: this.#metricsOf(() => lease),
        routes: this.#routes(),
        reportWarning: (warning) => this.#report(lease, warningOf(warning)),
      },
    };
    this.#leases.set(lease, undefined);
    return lease;
  }

  /** Creates services for a part of the gateway itself under the name of `plugin`; they are never revoked. */
  own(plugin: string): HostServices {
    const lease = this.lend(plugin);
    this.#permanent.add(lease);
    return lease.services;
  }

  /**
   * Revokes the services of all other uses, which were removed or never installed, and removes their warnings and
   * metrics. Counters that they shared with others remain.
   */
  keepOnly(leases: ReadonlySet<PluginLease>): void {
    for (const lease of this.#leases.keys()) {
      if (leases.has(lease) || this.#permanent.has(lease)) continue;
      this.#report(lease, undefined);
      this.#leases.delete(lease);
      for (const [name, { users, series }] of this.#metrics) {
        if (!users.delete(lease)) continue;
        series?.release(lease);
        if (users.size > 0) continue;
        this.#metrics.delete(name);
        this.#lentBy?.registry.removeSingleMetric(name);
      }
    }
  }

  /** Connects plugins to the log, registry and table of the composed gateway. */
  connect(lentBy: LentBy): void {
    this.#lentBy = lentBy;
    for (const { metric } of this.#metrics.values()) lentBy.registry.registerMetric(metric);
    for (const line of this.#waiting.splice(0)) this.#write(line);
  }

  #log(plugin: string): PluginLog {
    const write =
      (level: Level) =>
      (message: string, facts: LogFields = {}): void =>
        this.#write({ plugin, level, message, facts });
    return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  }

  #write(line: Line): void {
    const logger = this.#lentBy?.logger;
    if (logger === undefined) {
      if (this.#waiting.length < MAX_WAITING_LINES) this.#waiting.push(line);
      return;
    }
    const { plugin, level, message, facts } = line;
    logger[level]({ ...logFields(facts), plugin }, typeof message === 'string' ? message : format(message));
  }

  #routes(): RoutesView {
    const table = (): RouteStore['table'] | undefined => this.#lentBy?.routes.table;
    return {
      get size(): number {
        return table()?.size ?? 0;
      },
      lookup: (serverName: string): Route | undefined => table()?.lookup(serverName),
    };
  }

  #report(lease: PluginLease, warning: string | undefined): void {
    if (!this.#leases.has(lease) || this.#leases.get(lease) === warning) return;
    this.#leases.set(lease, warning);
    const { plugin } = lease;
    // `/ready` has each warning; a plugin that has another one every second must not fill the log.
    if (warning === undefined) {
      if (this.#warned.recovered(plugin) === undefined) return;
      this.#write({ plugin, level: 'info', message: 'plugin warning cleared', facts: {} });
      return;
    }
    const report = this.#warned.failed(plugin, warning);
    if (report.kind === 'silent') return;
    const facts = report.repeats === 0 ? {} : { repeats: report.repeats };
    this.#write({ plugin, level: 'warn', message: `plugin warning: ${warning}`, facts });
  }

  #metricsOf(lease: () => PluginLease): PluginMetrics {
    return {
      counter: (metric) => {
        const { metric: counter } = this.#metric(lease(), metric, Counter);
        return { add: (by = 1, labels: MetricLabels = {}) => counter.inc(labels, by) };
      },
      gauge: (metric) => {
        const user = lease();
        const { users, series } = this.#metric(user, metric, Gauge);
        return {
          // A source that a reload has removed may not have stopped yet.
          set: (value, labels: MetricLabels = {}) => void (users.has(user) && series?.set(user, value, labels)),
          remove: (labels) => series?.remove(user, labels),
        };
      },
    };
  }

  #metric<Kind extends Counter | Gauge>(
    lease: PluginLease,
    metric: PluginMetric,
    Kind: MetricKind<Kind>,
  ): LentMetric<Kind> {
    const { help, labels = [] } = metric;
    const name = metricName(lease.plugin, metric.name, Kind === (Counter as unknown));
    const known = this.#metrics.get(name);
    if (known !== undefined) {
      if (!isOf(known, Kind) || known.labels.join() !== labels.join())
        throw new TypeError(`metrics: expected one kind of metric named ${name}, found another`);
      if (this.#leases.has(lease)) known.users.add(lease);
      return known;
    }
    const made = new Kind({ name, help, labelNames: [...labels], registers: [] });
    const series = made instanceof Gauge ? new SharedGauge<PluginLease>(made, labels) : undefined;
    const lent: LentMetric<Kind> = { metric: made, labels, series, users: new Set() };
    if (!this.#leases.has(lease)) return lent;
    lent.users.add(lease);
    this.#metrics.set(name, lent);
    this.#lentBy?.registry.registerMetric(made);
    return lent;
  }
}

/** A metric of a plugin, which several uses may share. */
interface LentMetric<Kind extends Counter | Gauge = Counter | Gauge> {
  readonly metric: Kind;
  readonly labels: readonly string[];
  /** Present for a gauge. */
  readonly series: SharedGauge<PluginLease> | undefined;
  readonly users: Set<PluginLease>;
}

/** Accepts `null`, which JavaScript authors write for no value. */
function warningOf(warning: unknown): string | undefined {
  if (warning === undefined || warning === null) return undefined;
  if (typeof warning === 'string' && warning.trim() !== '') return warning;
  throw new TypeError(`reportWarning: expected a sentence or undefined, found ${format('%j', warning)}`);
}

/** Converts facts to log fields: an error with its stack, and no field that hides the log's own. Never throws. */
function logFields(facts: unknown): LogFields {
  if (typeof facts !== 'object' || facts === null) return facts === undefined ? {} : { facts };
  const fields: Record<string, unknown> = {};
  for (const key of Object.keys(facts)) {
    const name = OWN_FIELDS.has(key) ? `plugin.${key}` : key;
    try {
      const value: unknown = Reflect.get(facts, key);
      fields[name] = value instanceof Error ? stdSerializers.err(value) : value;
    } catch (reason) {
      fields[name] = `cannot be read: ${String(reason)}`;
    }
  }
  return fields;
}

const OWN_FIELDS: ReadonlySet<string> = new Set(['level', 'time', 'msg', 'plugin']);

/** As many different ones as say something new. */
const MAX_WARNINGS_A_MINUTE = 10;

type Level = keyof PluginLog;
type LogFields = Readonly<Record<string, unknown>>;

interface Line {
  readonly plugin: string;
  readonly level: Level;
  readonly message: string;
  readonly facts: LogFields;
}

type MetricKind<Kind> = new (settings: {
  readonly name: string;
  readonly help: string;
  readonly labelNames: string[];
  readonly registers: [];
}) => Kind;

function isOf<Kind extends Counter | Gauge>(lent: LentMetric, Kind: MetricKind<Kind>): lent is LentMetric<Kind> {
  return lent.metric instanceof Kind;
}

/** More than a plugin logs before the start; a check discards them. */
const MAX_WAITING_LINES = 100;

/** Adds a prefix that separates plugins from each other and from the gateway. */
function metricName(plugin: string, name: unknown, isCounter: boolean): string {
  if (typeof name !== 'string' || !/^[a-z][a-z\d_]*$/.test(name) || name.endsWith('_total') !== isCounter) {
    const form = `a name in lower case with ${isCounter ? '_total' : 'no _total'} at its end`;
    throw new TypeError(`metrics: expected ${form}, found ${JSON.stringify(name)}`);
  }
  return `meshgate_plugin_${plugin.toLowerCase().replaceAll(/[^a-z\d]+/g, '_')}_${name}`;
}
