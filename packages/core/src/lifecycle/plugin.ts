import { foundPart, isThenable } from './part-shape.ts';
import type { Observer } from '../observe.ts';
import type { ListenerSource, Route, RouteSource } from '../routes/route.ts';
import type { Service } from './service.ts';
import type { BalanceFactory } from '../pipeline/picker.ts';
import type { ConnectionFilter } from '../pipeline/filter.ts';
import type { Connector, Layer, Resolver, Sniffer } from '../pipeline/stages.ts';
import type { Transport } from '../transport/transport.ts';

/**
 * Major version of the contracts between plugins and the gateway: incremented by every change that breaks existing
 * plugins. `definePlugin` records it in the plugin, so that a gateway can report a version that it cannot run.
 */
export const PLUGIN_API_VERSION = 1;

/** Registers a plugin's parts and provides the gateway's services. There is no lookup: plugins are independent. */
export interface PluginHost {
  /** Folder of the configuration file; relative paths resolve against it. */
  readonly baseDir: string;
  /** Role of this process. With several workers, the plugin is installed in each of them and in the primary. */
  readonly process: ProcessRole;
  /** The gateway's log, under the plugin's name. Lines written before the start are printed at the start. */
  readonly log: PluginLog;
  /** The gateway's metrics. Names of the plugin's metrics begin with `meshgate_plugin_` and the plugin's name. */
  readonly metrics: PluginMetrics;
  /** The routes in use; empty before the start. */
  readonly routes: RoutesView;
  /** Adds a route source; the order of addition is the order of precedence. */
  addSource(source: RouteSource): void;
  /** Adds a source of listeners, which are opened in addition to those of the configuration. */
  addListenerSource(source: ListenerSource): void;
  /** Adds a sniffer; sniffers are called in order of addition, after the built-in TLS sniffer. */
  addSniffer(sniffer: Sniffer): void;
  /** Adds a resolver, called before the route table, in order of addition; `undefined` means "not mine". */
  addResolver(resolver: Resolver): void;
  /** Adds an observer of every event, called in order of addition, after the daemon's own observers. */
  addObserver(observer: Observer): void;
  /**
   * Adds a service, started before the listeners, in order of addition, and stopped after them.
   *
   * @param options the process to run in; the primary, or the only process, when absent
   */
  addService(service: Service, options?: ServiceOptions): void;
  /** Offers a transport under its name for the setting `transport`. Names of built-in transports are refused. */
  addTransport(transport: Transport): void;
  /** Offers one filter, without settings, to listeners that name it in `filters`. Built-in names are refused. */
  addFilter(filter: ConnectionFilter): void;
  /**
   * Offers a filter with settings to listeners that name it in `filters`.
   *
   * @param make called once for each listener; throws, as `parse` does, if the settings are invalid
   */
  offerFilter(name: string, make: FilterFactory): void;
  /** Wraps the connector of all routes; the layer added first is outermost. */
  wrapConnector(layer: Layer<Connector>): void;
  /**
   * Offers a layer with settings to routes and listeners that name it in `use`; it wraps the connector of their
   * connections.
   *
   * @param make called once for each route or listener; throws, as `parse` does, if the settings are invalid
   */
  offerLayer(name: string, make: LayerFactory): void;
  /**
   * Offers a balance to routes that name it in `balance`: it selects among their backends. If it throws, a backend is
   * drawn at random.
   *
   * @param make called once for each route; throws, as `parse` does, if the settings are invalid
   */
  offerBalance(name: string, make: BalanceFactory): void;
  /**
   * Offers a resolver with settings. For listeners that name it in `use`, it is called before all other resolvers; for
   * routes, it is called once the route is found and may replace that route.
   *
   * @param make called once for each listener or route; throws, as `parse` does, if the settings are invalid
   */
  offerResolver(name: string, make: ResolverFactory): void;
  /**
   * Handles `GET` requests on the admin server, below `/plugins/` and the plugin's name. With several workers, the
   * primary handles them.
   *
   * @param path begins with `/`
   */
  addAdminPath(path: string, response: PluginHandler): void;
  /**
   * Reports a condition that an operator should know although everything works; `undefined` clears it. Shown by
   * `/ready` and in the log. May be called at any time and at every change.
   */
  reportWarning(warning: string | undefined): void;
}

/** Creates a layer for one route or listener. Must not start anything: `--check` calls it too. */
export type LayerFactory = (settings: unknown) => Layer<Connector>;

/** Creates a filter for one listener. Must not start anything: `--check` calls it too. */
export type FilterFactory = (settings: unknown) => ConnectionFilter;

/** Creates a resolver for one listener or route. Must not start anything: `--check` calls it too. */
export type ResolverFactory = (settings: unknown) => Resolver;

/** `single`: does everything. `primary`: follows sources and serves the admin API. `worker`: carries connections. */
export type ProcessRole = 'single' | 'primary' | 'worker';

/** Process in which a service runs when there are several workers. */
export interface ServiceOptions {
  /**
   * `primary`: once, next to the sources. `carrier`: in every process that carries connections, next to the plugin's
   * observers, resolvers and layers.
   */
  readonly in: 'primary' | 'carrier';
}

/** A log for people. `facts` become fields of the line; they must contain no secrets. */
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

/** Name and labels of a metric. */
export interface PluginMetric {
  /** Lower case letters, digits and `_`, without the prefix; the name of a counter ends in `_total`. */
  readonly name: string;
  /** One sentence without a full stop. */
  readonly help: string;
  /** Label names; none when absent. Label values must be bounded by configuration, never by client input. */
  readonly labels?: readonly string[];
}

/** Label values, by label name. */
export type MetricLabels = Readonly<Record<string, string>>;

/** Metrics of a plugin. Requesting a metric again returns the same one. */
export interface PluginMetrics {
  /** A counter, which only increases; summed over workers. */
  counter(metric: PluginMetric): {
    /**
     * @param by greater than 0; 1 when absent
     */
    add(by?: number, labels?: MetricLabels): void;
  };
  /** A gauge; summed over workers. */
  gauge(metric: PluginMetric): {
    /** Sets the value. */
    set(value: number, labels?: MetricLabels): void;
    /** Ends the series with these labels, because its subject is gone. No effect if there is no such series. */
    remove(labels: MetricLabels): void;
  };
}

/** Read-only view of the routes in use. */
export interface RoutesView {
  /** Number of routes. */
  readonly size: number;
  /** Returns the route that matches `serverName`: lower case, without a trailing dot. */
  lookup(serverName: string): Route | undefined;
}

/** The part of a request that a response may depend on. */
export interface PluginRequest {
  /** The query string after `?`. */
  readonly query: URLSearchParams;
}

/** A response of the admin server: JSON, or a body with any other content type. `status` is 200 when absent. */
export type PluginResponse =
  | { readonly status?: number; readonly json: object }
  | { readonly status?: number; readonly contentType: string; readonly text: string };

/** Handles one admin path. If it throws or takes more than ten seconds, the client gets a 500. */
export type PluginHandler = (request: PluginRequest) => PluginResponse | Promise<PluginResponse>;

/** The default export of a plugin module. */
export interface Plugin {
  /** Name in problems, log lines, metrics and admin paths. */
  readonly name: string;
  /** The {@link PLUGIN_API_VERSION} that the plugin was written for; 1 when absent. */
  readonly apiVersion?: number;
  /**
   * Parses `config` and adds parts; starts nothing. It must return, or settle its promise, within ten seconds; parts
   * added later are refused.
   *
   * @throws ConfigProblems or any other error if the configuration is invalid: the daemon then does not start
   */
  install(host: PluginHost, config: unknown): void | Promise<void>;
}

/** A plugin as a parser of its settings and a set-up function that gets the parsed settings. */
export interface PluginDefinition<Config, Prepared = Config> {
  /** As in {@link Plugin.name}. */
  readonly name: string;
  /** Parses the settings; throws {@link ConfigProblems} if they are invalid. The `parse` of a schema library fits. */
  parse(config: unknown): Config | Promise<Config>;
  /** Does slow work before `setup`, such as reading a file. Must not open connections: `--check` calls it too. */
  prepare?(config: Config, host: Pick<PluginHost, 'baseDir' | 'process'>): Promise<Prepared>;
  /** Adds parts to `host`; starts nothing. `prepared` is the result of `prepare`, or the settings without one. */
  setup(host: PluginHost, prepared: Prepared): void | Promise<void>;
}

/**
 * Creates a plugin. The result hides `Config`, so that a list of plugins needs no type parameter.
 *
 * @throws TypeError when a function is missing
 */
export function definePlugin<Config, Prepared = Config>(definition: PluginDefinition<Config, Prepared>): Plugin {
  const { name, parse, prepare, setup } = definition;
  for (const [key, value] of Object.entries({ parse, setup, ...(prepare !== undefined && { prepare }) }))
    if (typeof value !== 'function')
      throw new TypeError(
        `definePlugin: expected ${key} to be a function, found ${value === undefined ? 'none' : typeof value}`,
      );
  return { name, apiVersion: PLUGIN_API_VERSION, install };

  function install(host: PluginHost, config: unknown): void | Promise<void> {
    const parsed = parse(config);
    // Without asynchronous steps, the plugin is installed synchronously: callers may rely on it.
    if (prepare === undefined && !isThenable(parsed)) return setup(host, parsed as Prepared & Config);
    return later(host, parsed);
  }

  async function later(host: PluginHost, parsed: Config | Promise<Config>): Promise<void> {
    const config = await parsed;
    await setup(host, prepare === undefined ? (config as Prepared & Config) : await prepare(config, host));
  }
}

/** One error in a configuration. */
export interface Problem {
  /** For people: what was expected and what was found, in lower case, without a full stop. */
  readonly message: string;
  /** Keys and indexes from the root of the parsed value; empty for the root itself. */
  readonly path: readonly (string | number)[];
  /** Position in a file, if there is one. Lines and columns count from 1. */
  readonly at?: { readonly file: string; readonly line: number; readonly column: number };
}

/** All problems of a configuration at once, not only the first. */
export class ConfigProblems extends Error {
  override readonly name = 'ConfigProblems';
  /** In the order of discovery. */
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    const fault = listFault(problems);
    if (fault !== undefined) throw new TypeError(`ConfigProblems: ${fault}`);
    super(problems.map(formatProblem).join('\n'));
    this.problems = problems;
  }

  /** Also true for errors of another copy of this package, such as that of a plugin. Do not extend this class. */
  static override [Symbol.hasInstance](value: unknown): value is ConfigProblems {
    if (!(value instanceof Error) || value.name !== 'ConfigProblems') return false;
    return listFault(Reflect.get(value, 'problems')) === undefined;
  }
}

/** Returns why `list` is no list of problems, or `undefined`: plugins may be plain JavaScript. */
function listFault(list: unknown): string | undefined {
  if (!Array.isArray(list)) return `expected a list of { message, path }, found ${foundPart(list)}`;
  const wrong = list.findIndex((one) => !isProblem(one));
  return wrong === -1 ? undefined : `expected { message, path } at ${wrong}, found ${foundPart(list[wrong])}`;
}

function isProblem(value: unknown): value is Problem {
  const { message, path } = Object(value) as Partial<Problem>;
  return typeof message === 'string' && Array.isArray(path);
}

/** Formats a problem: `FILE:LINE:COLUMN: message`, or `key.path: message` without a file. */
export function formatProblem({ message, path, at }: Problem): string {
  if (at !== undefined) return `${at.file}:${at.line}:${at.column}: ${message}`;
  return path.length === 0 ? message : `${path.join('.')}: ${message}`;
}
