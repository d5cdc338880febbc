import type { MetricLabels, Plugin, PluginHost, PluginMetric, ProcessRole, Route } from '@meshgate/core';
import { indexRoutes, PartsCollector, RouteTable } from '@meshgate/core/parts';
import type { HostServices, PluginParts } from '@meshgate/core/parts';

/** How a test configures the gateway of a plugin. */
export interface FakeHostOptions {
  /** The plugin's name, for admin paths and messages; `plugin` when absent. */
  readonly plugin?: string;
  /** `/` when absent. */
  readonly baseDir?: string;
  /** `single` when absent. */
  readonly process?: ProcessRole;
  /** Value of `host.routes`; empty when absent. */
  readonly routes?: readonly Route[];
}

/** A log line of a plugin. */
export interface PluginLogLine {
  /** Its level. */
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  /** Its message. */
  readonly message: string;
  /** Its fields; empty when there are none. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** A gateway's host without a gateway: accepts and refuses what a real one does, and exposes it to a test. */
export interface FakeHost {
  /** For the plugin. */
  readonly host: PluginHost;
  /** What was added. */
  readonly parts: PluginParts;
  /** Log lines, in order. */
  readonly lines: readonly PluginLogLine[];
  /** The last warning; `undefined` when it was cleared. */
  readonly warning: string | undefined;
  /** Installs a plugin as a gateway does: awaits it, and refuses later additions. Rejects with what the plugin throws. */
  install(plugin: Plugin, config?: unknown): Promise<PluginParts>;
  /** The value of a metric, by the plugin's name for it; 0 when there is none. */
  metric(name: string, labels?: MetricLabels): number;
}

/** A new host. */
export function fakeHost(options: FakeHostOptions = {}): FakeHost {
  const collector = new PartsCollector();
  const lent = new LentToTests(options);
  const { host, close } = collector.hostFor(options.plugin ?? 'plugin', lent.services);
  return {
    host,
    parts: collector.parts,
    lines: lent.lines,
    get warning() {
      return lent.warning;
    },
    async install(plugin, config = {}) {
      await plugin.install(host, config);
      close();
      return collector.parts;
    },
    metric: (name, labels = {}) => lent.values.get(keyOf(name, labels)) ?? 0,
  };
}

class LentToTests {
  readonly lines: PluginLogLine[] = [];
  readonly values = new Map<string, number>();
  readonly services: HostServices;
  warning: string | undefined;

  constructor({ baseDir = '/', process = 'single', routes = [] }: FakeHostOptions) {
    const table = new RouteTable([indexRoutes('fake', { version: '1', routes })]);
    const write =
      (level: PluginLogLine['level']) =>
      (message: string, facts: PluginLogLine['facts'] = {}): void =>
        void this.lines.push({ level, message, facts });
    this.services = {
      baseDir,
      process,
      log: { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') },
      routes: { size: routes.length, lookup: (serverName) => table.lookup(serverName) },
      metrics: {
        counter: ({ name }: PluginMetric) => ({ add: (by = 1, labels = {}) => this.#add(keyOf(name, labels), by) }),
        gauge: ({ name }: PluginMetric) => ({
          set: (value, labels = {}) => void this.values.set(keyOf(name, labels), value),
          remove: (labels) => void this.values.delete(keyOf(name, labels)),
        }),
      },
      reportWarning: (warning) => {
        this.warning = warning;
      },
    };
  }

  #add(key: string, by: number): void {
    this.values.set(key, (this.values.get(key) ?? 0) + by);
  }
}

function keyOf(name: string, labels: MetricLabels): string {
  const sorted = Object.entries(labels).toSorted(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify([name, sorted]);
}
