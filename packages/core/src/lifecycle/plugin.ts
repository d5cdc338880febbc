import type { Observer } from '../observe.ts';
import type { ListenerSource, RouteSource } from '../routes/route.ts';
import type { Service } from './service.ts';
import type { Connector, Layer, Resolver, Sniffer } from '../pipeline/stages.ts';
import type { Transport } from '../transport/transport.ts';

/** Where a plugin puts its parts. It can add and never look up: plugins do not know each other. */
export interface PluginHost {
  /** Folder against which the plugin resolves relative paths: that of the configuration file. */
  readonly baseDir: string;
  /** Order of addition is precedence. */
  addSource(source: RouteSource): void;
  /** Its listeners are opened beside those of the configuration. */
  addListenerSource(source: ListenerSource): void;
  /** Asked in order of addition, after the built-in TLS sniffer. */
  addSniffer(sniffer: Sniffer): void;
  /** Asked before the route table, in order of addition; `undefined` means "not mine". */
  addResolver(resolver: Resolver): void;
  /** Told of everything, in order of addition, after the daemon's own. */
  addObserver(observer: Observer): void;
  /** Started before the listeners, in order of addition; stopped after them. */
  addService(service: Service): void;
  /** Offered under its name to the setting `transport`. */
  addTransport(transport: Transport): void;
  /** The plugin added first is outermost. */
  wrapConnector(layer: Layer<Connector>): void;
}

/** What a plugin module exports as its default. */
export interface Plugin {
  readonly name: string;
  /**
   * Parses `config` and adds parts; starts nothing.
   * @throws ConfigProblems or any error when the configuration is wrong: the daemon then does not start.
   */
  install(host: PluginHost, config: unknown): void;
}

/** How a plugin is made from a parser of its settings and a set-up that gets them typed. */
export interface PluginDefinition<Config> {
  readonly name: string;
  /** Throws {@link ConfigProblems} when `config` is wrong. A schema library's own `parse` will do. */
  parse(config: unknown): Config;
  /** Adds parts to `host`; starts nothing. */
  setup(host: PluginHost, config: Config): void;
}

/** Closes over `Config`, so that a list of plugins needs no type parameter. */
export function definePlugin<Config>({ name, parse, setup }: PluginDefinition<Config>): Plugin {
  return { name, install: (host, config) => setup(host, parse(config)) };
}

/** One thing that is wrong with a configuration. */
export interface Problem {
  /** For people: what was expected, what was found. Lower case, no full stop. */
  readonly message: string;
  /** Keys and indexes from the top of the value that was parsed; empty for the value itself. */
  readonly path: readonly (string | number)[];
  /** Where it stands, when the problem is in a file. Lines and columns count from 1. */
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
