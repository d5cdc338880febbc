import type { Observer } from '../observe.ts';
import type { BalanceFactory } from '../pipeline/picker.ts';
import type { ConnectionFilter } from '../pipeline/filter.ts';
import type { Connector, Layer, Resolver, Sniffer } from '../pipeline/stages.ts';
import type { ListenerSource, RouteSource } from '../routes/route.ts';
import type { Transport } from '../transport/transport.ts';
import { ConfigProblems } from './plugin.ts';
import type {
  FilterFactory,
  LayerFactory,
  PluginHandler,
  PluginHost,
  ResolverFactory,
  ServiceOptions,
} from './plugin.ts';
import { checkedLayer, checkedResolver } from '../pipeline/checked-results.ts';
import { foundPart, shapeProblem } from './part-shape.ts';
import { pluginService } from './plugin-service.ts';
import type { Service } from './service.ts';

/** The parts that plugins added, each list in order of addition. */
export interface PluginParts {
  /** In order of precedence. */
  readonly sources: readonly RouteSource[];
  /** Listeners in addition to those of the configuration. */
  readonly listenerSources: readonly ListenerSource[];
  /** Called after the built-in sniffer. */
  readonly sniffers: readonly Sniffer[];
  /** Called before the route table. */
  readonly resolvers: readonly Resolver[];
  /** Called after the daemon's own observers. */
  readonly observers: readonly Observer[];
  /** Services that run once, next to the sources. */
  readonly services: readonly Service[];
  /** Services that run in every process that carries connections. */
  readonly carrierServices: readonly Service[];
  /** Selected by name with the setting `transport`. */
  readonly transports: readonly Transport[];
  /** The first is outermost. */
  readonly layers: readonly Layer<Connector>[];
  /**
   * Parts for listeners and routes that name them, including filters without settings: by name, unique across kinds.
   */
  readonly offered: OfferedParts;
  /** Handlers by path, including the plugin's prefix. */
  readonly adminPaths: ReadonlyMap<string, PluginHandler>;
}

/** A factory: each listener or route that names the part gets its own instance. */
export type OfferedPart =
  | { readonly kind: 'balance'; readonly make: BalanceFactory }
  | { readonly kind: 'filter'; readonly make: FilterFactory }
  | { readonly kind: 'layer'; readonly make: LayerFactory }
  | { readonly kind: 'resolver'; readonly make: ResolverFactory };

/** Offered parts, by the names that listeners and routes use. */
export type OfferedParts = ReadonlyMap<string, OfferedPart>;

/** The services that a host provides to plugins, besides the registration of parts. */
export type HostServices = Pick<PluginHost, 'baseDir' | 'process' | 'log' | 'metrics' | 'routes' | 'reportWarning'>;

/** A host for one plugin. */
export interface OpenHost {
  /** The host to install the plugin with. */
  readonly host: PluginHost;
  /** Ends the installation: parts added from now on are refused. */
  close(): void;
}

/** Filter names reserved for built-in filters. */
const BUILT_IN_FILTERS: ReadonlySet<string> = new Set(['postgres', 'proxy-protocol']);

/** Number of parts of each kind. */
export type PartSizes = Readonly<Record<keyof PluginParts, number>>;

/** Transport names reserved for built-in transports. */
const BUILT_IN_TRANSPORTS: ReadonlySet<string> = new Set(['auto', 'node', 'epoll', 'uring']);

/** Collects the parts of plugins, and validates each when it is added: plugins may be plain JavaScript. */
export class PartsCollector {
  readonly parts: PluginParts;
  readonly #lists = {
    sources: new Array<RouteSource>(),
    listenerSources: new Array<ListenerSource>(),
    sniffers: new Array<Sniffer>(),
    resolvers: new Array<Resolver>(),
    observers: new Array<Observer>(),
    services: new Array<Service>(),
    carrierServices: new Array<Service>(),
    transports: new Array<Transport>(),
    layers: new Array<Layer<Connector>>(),
    offered: new Map<string, OfferedPart>(),
    adminPaths: new Map<string, PluginHandler>(),
  };

  readonly #isGuarded: boolean;

  /**
   * @param isGuarded services and observers are wrapped, so that their failures name the plugin; otherwise parts are those that were
   * added
   */
  constructor(isGuarded: boolean = false) {
    this.parts = this.#lists;
    this.#isGuarded = isGuarded;
  }

  /** Adds parts that another collector has validated, unchanged. */
  include(parts: PluginParts): void {
    for (const [kind, list] of Object.entries(this.#lists)) {
      const added: Iterable<unknown> = parts[kind as keyof PluginParts];
      for (const part of added) addTo(list, part);
    }
  }

  /** Returns the parts added since `before`, a former value of {@link sizes}. */
  since(before: PartSizes): PluginParts {
    const rest = Object.entries(this.#lists).map(([kind, list]) => {
      const all: readonly unknown[] = Array.from<unknown>(list).slice(before[kind as keyof PluginParts]);
      return [kind, list instanceof Map ? new Map(all as readonly [string, unknown][]) : all];
    });
    // `Object.fromEntries` loses the type of each list.
    return Object.fromEntries(rest) as PluginParts;
  }

  /** Current number of parts of each kind. */
  get sizes(): PartSizes {
    const sizes = Object.entries(this.#lists).map(([kind, list]) => [
      kind,
      list instanceof Map ? list.size : list.length,
    ]);
    return Object.fromEntries(sizes) as PartSizes;
  }

  /** Creates a host for `plugin`. Its methods throw a `TypeError` for an invalid part, an `Error` once it is closed. */
  hostFor(plugin: string, services: HostServices): OpenHost {
    const lists = this.#lists;
    let closed = false;
    const add = <Part>(method: string, list: Part[], ...expected: readonly Expectation[]) => {
      return (part: Part, wrap: (part: Part) => Part = same): void => {
        refuseClosed(method, closed);
        for (const expectation of expected) expectation(method, part);
        list.push(wrap(part));
      };
    };
    const guards = this.#isGuarded ? guardsOf(plugin) : UNCHANGED;
    const offer = (method: string, name: string, part: OfferedPart): void => {
      refuseClosed(method, closed);
      NAMED(method, { name });
      isFunction(method, part.make);
      this.#expectFreeOffer(method, name);
      lists.offered.set(name, part);
    };
    const host: PluginHost = {
      ...services,
      addSource: add('addSource', lists.sources, methods('watch'), NAMED),
      addListenerSource: add('addListenerSource', lists.listenerSources, methods('watch'), NAMED),
      addSniffer: add('addSniffer', lists.sniffers, methods('inspect'), NAMED),
      addResolver: (resolver) => add('addResolver', lists.resolvers, methods('resolve'))(resolver, guards.resolver),
      addObserver: (observer) => add('addObserver', lists.observers, methods('observe'))(observer, guards.observer),
      addTransport: add('addTransport', lists.transports, methods('listen', 'dial', 'splice'), NAMED, (method, part) =>
        this.#expectFreeTransport(method, part),
      ),
      addFilter(filter) {
        refuseClosed('addFilter', closed);
        IS_FILTER('addFilter', filter);
        NAMED('addFilter', filter);
        offer('addFilter', filter.name, { kind: 'filter', make: withoutSettings(filter) });
      },
      wrapConnector: (layer) => add('wrapConnector', lists.layers, isFunction)(layer, guards.layer),
      offerFilter: (name, make) => offer('offerFilter', name, { kind: 'filter', make: making(name, make, IS_FILTER) }),
      offerLayer: (name, make) =>
        offer('offerLayer', name, { kind: 'layer', make: making(name, make, isFunction, guards.layer) }),
      offerBalance: (name, make) => offer('offerBalance', name, { kind: 'balance', make }),
      offerResolver: (name, make) =>
        offer('offerResolver', name, { kind: 'resolver', make: making(name, make, IS_RESOLVER, guards.resolver) }),
      addService(service, options: ServiceOptions = { in: 'primary' }) {
        const list = runsIn(options) === 'carrier' ? lists.carrierServices : lists.services;
        add('addService', list, methods('start', 'stop'), NAMED)(service, guards.service);
      },
      addAdminPath(path, response) {
        refuseClosed('addAdminPath', closed);
        isFunction('addAdminPath', response);
        lists.adminPaths.set(adminPath(plugin, path, lists.adminPaths), response);
      },
    };
    return { host: Object.freeze(host), close: () => (closed = true) };
  }

  #expectFreeOffer(method: string, name: string): void {
    if (BUILT_IN_FILTERS.has(name))
      throw new TypeError(`${method}: expected a name that no built-in filter has, found ${JSON.stringify(name)}`);
    const existing = this.#lists.offered.get(name);
    if (existing !== undefined)
      throw new TypeError(
        `${method}: expected a name that no other ${existing.kind} has, found ${JSON.stringify(name)}`,
      );
  }

  #expectFreeTransport(method: string, part: unknown): void {
    const name = String(Reflect.get(Object(part), 'name'));
    if (BUILT_IN_TRANSPORTS.has(name))
      throw new TypeError(`${method}: expected a name that no built-in transport has, found ${JSON.stringify(name)}`);
    if (this.#lists.transports.some((other) => other.name === name))
      throw new TypeError(`${method}: expected a name that no other transport has, found ${JSON.stringify(name)}`);
  }
}

/** Wrappers by kind of part: the wrapped part's errors name the plugin, and its results are validated. */
interface Guards {
  readonly resolver: (resolver: Resolver) => Resolver;
  readonly layer: (layer: Layer<Connector>) => Layer<Connector>;
  readonly service: (service: Service) => Service;
  readonly observer: (observer: Observer) => Observer;
}

function same<Part>(part: Part): Part {
  return part;
}

const UNCHANGED: Guards = { resolver: same, layer: same, service: same, observer: same };

function guardsOf(plugin: string): Guards {
  const who = (kind: string): string => `${kind} of the plugin ${JSON.stringify(plugin)}`;
  return {
    resolver: (resolver) => checkedResolver(resolver, who('resolver')),
    layer: (layer) => checkedLayer(layer, who('connector layer')),
    service: (service) => pluginService(service, plugin),
    observer: (observer) =>
      observer.name === undefined ? { name: plugin, observe: (event) => observer.observe(event) } : observer,
  };
}

/** Appends a part to a list, or a name and its part to a map. */
function addTo(list: unknown[] | Map<string, unknown>, part: unknown): void {
  if (list instanceof Map) list.set(...(part as [string, unknown]));
  else list.push(part);
}

type Expectation = (method: string, part: unknown) => void;

function refuseClosed(method: string, closed: boolean): void {
  if (closed) throw new Error(`${method}: expected parts while the plugin is installed, found one afterwards`);
}

/**
 * Returns a factory that always returns `filter`, and throws {@link ConfigProblems} if a listener gives it settings.
 */
export function withoutSettings(filter: ConnectionFilter): FilterFactory {
  return (settings) => {
    const [key] = typeof settings === 'object' && settings !== null ? Object.keys(settings) : [];
    if (key === undefined) return filter;
    throw new ConfigProblems([{ path: [key], message: `the filter ${JSON.stringify(filter.name)} has no settings` }]);
  };
}

/**
 * Wraps `make` so that the parts it returns are validated, as added parts are. A `make` that is not a function is
 * returned as it is and refused later.
 */
function making<Part>(
  name: string,
  make: (settings: unknown) => Part,
  isRight: Expectation,
  wrap: (part: Part) => Part = same,
): (settings: unknown) => Part {
  if (typeof make !== 'function') return make;
  return (settings) => {
    const part = make(settings);
    isRight(JSON.stringify(name), part);
    return wrap(part);
  };
}

function methods(...names: readonly string[]): Expectation {
  return (method, part) => {
    const problem = shapeProblem(part, ...names);
    if (problem !== undefined) throw new TypeError(`${method}: ${problem}`);
  };
}

const IS_FILTER: Expectation = methods('filter');
const IS_RESOLVER: Expectation = methods('resolve');

/** A part's name is a metric label and a log key. */
const NAMED: Expectation = (method, part) => {
  const name: unknown = Reflect.get(Object(part), 'name');
  if (typeof part !== 'object' || part === null || (typeof name === 'string' && name !== '')) return;
  throw new TypeError(
    `${method}: expected a part with a name, found ${name === undefined ? 'none' : JSON.stringify(name)}`,
  );
};

function isFunction(method: string, part: unknown): void {
  if (typeof part !== 'function')
    throw new TypeError(`${method}: expected a function, found ${foundPart(part, 'call')}`);
}

function runsIn(options: ServiceOptions): ServiceOptions['in'] {
  const { in: location } = Object(options) as Partial<ServiceOptions>;
  if (location === 'primary' || location === 'carrier') return location;
  throw new TypeError(`addService: expected in: 'primary' or 'carrier', found ${JSON.stringify(location)}`);
}

function adminPath(plugin: string, path: unknown, existing: ReadonlyMap<string, unknown>): string {
  if (typeof path !== 'string' || !/^\/[\w.~/-]*$/.test(path))
    throw new TypeError(`addAdminPath: expected a path that begins with /, found ${JSON.stringify(path)}`);
  const fullPath = `/plugins/${encodeURIComponent(plugin)}${path === '/' ? '' : path}`;
  if (existing.has(fullPath)) throw new TypeError(`addAdminPath: expected a path once, found ${fullPath} again`);
  return fullPath;
}
