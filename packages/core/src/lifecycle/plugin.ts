import type { Observer } from '../observe.ts';
import type { ListenerSource, Route, RouteSource } from '../routes/route.ts';
import type { Service } from './service.ts';
import type { BalanceFactory } from '../pipeline/picker.ts';
import type { ConnectionFilter } from '../pipeline/filter.ts';
import type { Connector, Layer, Resolver, Sniffer } from '../pipeline/stages.ts';
import type { Transport } from '../transport/transport.ts';

/**
 * Major version of the contracts between plugins and the gateway: grows when a plugin that was written for the one before would break.
 * `definePlugin` writes it into the plugin, so that a gateway can say what it cannot run.
 */
export const PLUGIN_API_VERSION = 1;

/** Where a plugin puts its parts, and what the gateway lends it. It can add and never look up: plugins do not know each other. */
export interface PluginHost {
  /** Folder against which the plugin resolves relative paths: that of the configuration file. */
  readonly baseDir: string;
  /** What the process does in which the plugin is installed: with several workers it is installed in each of them, and in the primary. */
  readonly process: ProcessRole;
  /** Writes into the gateway's log, under the plugin's name. Lines written before the start appear with the start. */
  readonly log: PluginLog;
  /** The gateway's metrics; those of the plugin begin with `meshgate_plugin_` and its name. */
  readonly metrics: PluginMetrics;
  /** The routes in use; none before the start. */
  readonly routes: RoutesView;
  /** Order of addition is precedence. */
  addSource(source: RouteSource): void;
  /** Its listeners are opened beside those of the configuration. */
  addListenerSource(source: ListenerSource): void;
  /** Called in order of addition, after the built-in TLS sniffer. */
  addSniffer(sniffer: Sniffer): void;
  /** Called before the route table, in order of addition; `undefined` means "not mine". */
  addResolver(resolver: Resolver): void;
  /** Gets every event, in order of addition, after the daemon's own observers. */
  addObserver(observer: Observer): void;
  /**
   * Started before the listeners, in order of addition; stopped after them.
   *
   * @param options where it runs; in the primary, or the only process, when absent
   */
  addService(service: Service, options?: ServiceOptions): void;
  /** Offered under its name to the setting `transport`; the name of a built-in one is taken. */
  addTransport(transport: Transport): void;
  /** For listeners that name it in `filters`: one for all of them, without settings there. The name of a built-in one is taken. */
  addFilter(filter: ConnectionFilter): void;
  /**
   * For listeners that name it in `filters`, with settings of their own.
   *
   * @param make called once for each listener; throws, as `parse` does, when the settings are wrong
   */
  offerFilter(name: string, make: FilterFactory): void;
  /** Wraps the connector of all routes; the layer added first is outermost. */
  wrapConnector(layer: Layer<Connector>): void;
  /**
   * Wraps the connector of routes, or of the connections of listeners, that name it in `use`, with settings of their own.
   *
   * @param make called once for each route or listener; throws, as `parse` does, when the settings are wrong
   */
  offerLayer(name: string, make: LayerFactory): void;
  /**
   * How a route that names it in `balance` chooses among its backends. Where it throws, a backend is drawn at random.
   *
   * @param make called once for each route; throws, as `parse` does, when the settings are wrong
   */
  offerBalance(name: string, make: BalanceFactory): void;
  /**
   * For listeners that name it in `use`, where it is called before all others; and for routes, where it is called once the route is found
   * and may replace it. With settings of their own.
   *
   * @param make called once for each listener or route; throws, as `parse` does, when the settings are wrong
   */
  offerResolver(name: string, make: ResolverFactory): void;
  /**
   * Answers `GET` on the admin server, below `/plugins/` and the plugin's name. With several workers the primary answers.
   *
   * @param path begins with `/`
   */
  addAdminPath(path: string, response: PluginHandler): void;
  /**
   * What an operator should know although everything works; `undefined`: the condition has cleared. Shown by `/ready` and the log. May be
   * called at any time, as often as it changes.
   */
  reportWarning(warning: string | undefined): void;
}

/** Makes a layer for one route or listener. A check calls it, too: it starts nothing. */
export type LayerFactory = (settings: unknown) => Layer<Connector>;

/** Makes a filter for one listener. A check calls it, too: it starts nothing. */
export type FilterFactory = (settings: unknown) => ConnectionFilter;

/** Makes a resolver for one listener or route. A check calls it, too: it starts nothing. */
export type ResolverFactory = (settings: unknown) => Resolver;

/** `single`: does everything. `primary`: follows sources and answers operators. `worker`: carries connections. */
export type ProcessRole = 'single' | 'primary' | 'worker';

/** Where a service runs when there are several workers. */
export interface ServiceOptions {
  /**
   * `primary`: once, beside the sources. `carrier`: in every process that carries connections, beside the observers, resolvers and
   * layers of the plugin.
   */
  readonly in: 'primary' | 'carrier';
}

/** A log for people. Facts are fields of the line; no secrets. */
export interface PluginLog {
  /** For debugging. */
  debug(message: string, facts?: Readonly<Record<string, unknown>>): void;
  /** Worth a line in a healthy system. */
  info(message: string, facts?: Readonly<Record<string, unknown>>): void;
  /** Needs attention; the plugin still works. */
  warn(message: string, facts?: Readonly<Record<string, unknown>>): void;
  /** Something did not work. */
  error(message: string, facts?: Readonly<Record<string, unknown>>): void;
}

/** What a metric is called. */
export interface PluginMetric {
  /** Lower case letters, digits and `_`, without the prefix; that of a counter ends with `_total`. */
  readonly name: string;
  /** One sentence without a full stop. */
  readonly help: string;
  /** Names of labels; none when absent. Their values are bounded by configuration, never by what a client sent. */
  readonly labels?: readonly string[];
}

/** Values of labels by their names. */
export type MetricLabels = Readonly<Record<string, string>>;

/** Metrics of a plugin. One that is asked for twice is the same both times. */
export interface PluginMetrics {
  /** A number that only grows. Over several workers it is their sum. */
  counter(metric: PluginMetric): {
    /** @param by above 0; 1 when absent */
    add(by?: number, labels?: MetricLabels): void;
  };
  /** A number that goes up and down. Over several workers it is their sum. */
  gauge(metric: PluginMetric): {
    /** From now on this is its value. */
    set(value: number, labels?: MetricLabels): void;
    /** The series of these labels ends: what it was about is gone. Nothing where there is none. */
    remove(labels: MetricLabels): void;
  };
}

/** The routes in use, to be read. */
export interface RoutesView {
  /** How many there are. */
  readonly size: number;
  /** The route that takes `serverName`: lower case, without a trailing dot. */
  lookup(serverName: string): Route | undefined;
}

/** What of a request a response may depend on. */
export interface PluginRequest {
  /** The part after `?`. */
  readonly query: URLSearchParams;
}

/** A response of the admin server: JSON, or a body of any other content type. `status` is 200 when absent. */
export type PluginResponse =
  | { readonly status?: number; readonly json: object }
  | { readonly status?: number; readonly contentType: string; readonly text: string };

/** Answers one admin path. When it throws, or takes more than ten seconds, the client gets a 500. */
export type PluginHandler = (request: PluginRequest) => PluginResponse | Promise<PluginResponse>;

/** What a plugin module exports as its default. */
export interface Plugin {
  /** Named in problems, log lines, metrics and admin paths. */
  readonly name: string;
  /** {@link PLUGIN_API_VERSION} that it was written for; 1 when absent. */
  readonly apiVersion?: number;
  /**
   * Parses `config` and adds parts; starts nothing. What it adds after it has returned, or its promise has settled, is refused; that has
   * to happen within ten seconds.
   * @throws ConfigProblems or any error when the configuration is wrong: the daemon then does not start.
   */
  install(host: PluginHost, config: unknown): void | Promise<void>;
}

/** How a plugin is made from a parser of its settings and a set-up that gets them typed. */
export interface PluginDefinition<Config, Prepared = Config> {
  readonly name: string;
  /** Throws {@link ConfigProblems} when `config` is wrong. A schema library's own `parse` will do, one that answers later too. */
  parse(config: unknown): Config | Promise<Config>;
  /** What takes time before parts can be made: a file is read, a schema compiled. It opens no connection: `--check` calls it too. */
  prepare?(config: Config, host: Pick<PluginHost, 'baseDir' | 'process'>): Promise<Prepared>;
  /** Adds parts to `host`; starts nothing. Gets what `prepare` has made, or the settings without one. */
  setup(host: PluginHost, prepared: Prepared): void | Promise<void>;
}

/** Closes over `Config`, so that a list of plugins needs no type parameter. */
export function definePlugin<Config, Prepared = Config>(definition: PluginDefinition<Config, Prepared>): Plugin {
  const { name, parse, prepare, setup } = definition;
  return { name, apiVersion: PLUGIN_API_VERSION, install };

  function install(host: PluginHost, config: unknown): void | Promise<void> {
    const parsed = parse(config);
    // What needs no waiting is done at once: a caller may rely on it.
    if (prepare === undefined && !(parsed instanceof Promise)) return setup(host, parsed as Prepared & Config);
    return later(host, parsed);
  }

  async function later(host: PluginHost, parsed: Config | Promise<Config>): Promise<void> {
    const config = await parsed;
    await setup(host, prepare === undefined ? (config as Prepared & Config) : await prepare(config, host));
  }
}

/** One thing that is wrong with a configuration. */
export interface Problem {
  /** For people: what was expected, what was found. Lower case, no full stop. */
  readonly message: string;
  /** Keys and indexes from the top of the value that was parsed; empty for the value itself. */
  readonly path: readonly (string | number)[];
  /** Its place, when the problem is in a file. Lines and columns count from 1. */
  readonly at?: { readonly file: string; readonly line: number; readonly column: number };
}

/** Every problem of a configuration at once, never only the first. */
export class ConfigProblems extends Error {
  override readonly name = 'ConfigProblems';
  /** In the order in which they were found. */
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.map(formatProblem).join('\n'));
    this.problems = problems;
  }

  /** Also one of another copy of this package: a plugin that lives in a folder of its own brings its own. Not to be extended. */
  static override [Symbol.hasInstance](value: unknown): value is ConfigProblems {
    return value instanceof Error && value.name === 'ConfigProblems' && Array.isArray(Reflect.get(value, 'problems'));
  }
}

/** `FILE:LINE:COLUMN: message`, or `key.path: message` when the problem has no file. */
export function formatProblem({ message, path, at }: Problem): string {
  if (at !== undefined) return `${at.file}:${at.line}:${at.column}: ${message}`;
  return path.length === 0 ? message : `${path.join('.')}: ${message}`;
}
