import type { MetricLabels, Plugin, PluginHost, PluginMetric, ProcessRole, Route } from '@meshgate/core';
import { indexRoutes, PartsCollector, RouteTable } from '@meshgate/core/parts';
import type { HostServices, PluginParts } from '@meshgate/core/parts';

/** Settings of a {@link FakeHost}. */
export interface FakeHostOptions {
  /** Name of the plugin in admin paths and messages; `plugin` when absent. */
  readonly plugin?: string;
  /** Value of `host.baseDir`; `/` when absent. */
  readonly baseDir?: string;
  /** Value of `host.process`; `single` when absent. */
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
  /** Its fields; empty if there are none. */
  readonly facts: Readonly<Record<string, unknown>>;
}

/** A plugin host without a gateway: accepts and refuses the same parts as a real one, and exposes them to a test. */
export interface FakeHost {
  /** The host to install a plugin with. */
  readonly host: PluginHost;
  /** The parts that were added. */
  readonly parts: PluginParts;
  /** Log lines, in order. */
  readonly lines: readonly PluginLogLine[];
  /** The last warning; `undefined` if it was cleared. */
  readonly warning: string | undefined;
  /**
   * Installs a plugin as a gateway does: awaits it, and then refuses further parts. Rejects with the plugin's error.
   */
  install(plugin: Plugin, config?: unknown): Promise<PluginParts>;
  /** Returns the value of a metric, by the plugin's name for it; 0 if there is none. */
  metric(name: string, labels?: MetricLabels): number;
}

/** Creates a host. */
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
