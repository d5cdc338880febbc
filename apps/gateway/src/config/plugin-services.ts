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
import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Logger } from '../log/logger.ts';

/** What there is once a gateway has been put together. */
export interface LentBy {
  readonly logger: Logger;
  readonly registry: Registry;
  readonly routes: Pick<RouteStore, 'table'>;
}

/** Where the plugins are installed. */
export interface PluginPlace {
  /** Absolute folder of the configuration file. */
  readonly baseDir: string;
  readonly process: ProcessRole;
}

/**
 * What the gateway lends to plugins. They are installed before there is a log, a registry or a table: what they write until then is
 * kept, and what they read is empty.
 */
export class PluginServices {
  readonly #place: PluginPlace;
  readonly #warnings = new Map<string, string>();
  readonly #metrics = new Map<string, Counter | Gauge>();
  readonly #waiting: Line[] = [];
  #lentBy: LentBy | undefined;

  constructor(place: PluginPlace) {
    this.#place = place;
  }

  /** What plugins warn of at the moment, for people. */
  get warnings(): readonly string[] {
    return Array.from(this.#warnings, ([plugin, warning]) => `plugin ${plugin}: ${warning}`);
  }

  /** What `plugin` is lent. */
  for(plugin: string): HostServices {
    return {
      ...this.#place,
      log: this.#log(plugin),
      metrics: this.#metricsOf(plugin),
      routes: this.#routes(),
      reportWarning: (warning) => this.#report(plugin, warning),
    };
  }

  /** The gateway has been put together: from now on what is lent is the real thing. */
  connect(lentBy: LentBy): void {
    this.#lentBy = lentBy;
    for (const metric of this.#metrics.values()) lentBy.registry.registerMetric(metric);
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
    logger[level]({ ...facts, plugin }, message);
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

  #report(plugin: string, warning: string | undefined): void {
    const before = this.#warnings.get(plugin);
    if (before === warning) return;
    if (warning === undefined) {
      this.#warnings.delete(plugin);
      this.#write({ plugin, level: 'info', message: 'plugin warning cleared', facts: {} });
      return;
    }
    this.#warnings.set(plugin, warning);
    this.#write({ plugin, level: 'warn', message: `plugin warning: ${warning}`, facts: {} });
  }

  #metricsOf(plugin: string): PluginMetrics {
    return {
      counter: (metric) => {
        const counter = this.#metric(plugin, metric, Counter);
        return { add: (by = 1, labels: MetricLabels = {}) => counter.inc(labels, by) };
      },
      gauge: (metric) => {
        const gauge = this.#metric(plugin, metric, Gauge);
        return {
          set: (value, labels: MetricLabels = {}) => gauge.set(labels, value),
          remove: (labels) => gauge.remove(labels),
        };
      },
    };
  }

  #metric<Kind extends Counter | Gauge>(plugin: string, metric: PluginMetric, Kind: MetricKind<Kind>): Kind {
    const { help, labels = [] } = metric;
    const name = metricName(plugin, metric.name, Kind === (Counter as unknown));
    const known = this.#metrics.get(name);
    if (known instanceof Kind) return known;
    if (known !== undefined) throw new TypeError(`metrics: expected one kind of metric named ${name}, found another`);
    const made = new Kind({ name, help, labelNames: [...labels], registers: [] });
    this.#metrics.set(name, made);
    this.#lentBy?.registry.registerMetric(made);
    return made;
  }
}

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

/** More than any plugin has to say before the start; a check never reads them. */
const MAX_WAITING_LINES = 100;

/** The prefix keeps plugins apart from each other and from the gateway. */
function metricName(plugin: string, name: unknown, isCounter: boolean): string {
  if (typeof name !== 'string' || !/^[a-z][a-z\d_]*$/.test(name) || name.endsWith('_total') !== isCounter) {
    const form = `a name in lower case with ${isCounter ? '_total' : 'no _total'} at its end`;
    throw new TypeError(`metrics: expected ${form}, found ${JSON.stringify(name)}`);
  }
  return `meshgate_plugin_${plugin.toLowerCase().replaceAll(/[^a-z\d]+/g, '_')}_${name}`;
}
