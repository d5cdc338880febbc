import type { Observer } from '../observe.ts';
import type { BalanceFactory } from '../pipeline/picker.ts';
import type { ConnectionFilter } from '../pipeline/filter.ts';
import type { Connector, Layer, Resolver, Sniffer } from '../pipeline/stages.ts';
import type { ListenerSource, RouteSource } from '../routes/route.ts';
import type { Transport } from '../transport/transport.ts';
import type { LayerFactory, PluginAnswerer, PluginHost, ServiceOptions } from './plugin.ts';
import type { Service } from './service.ts';

/** What plugins have added, each list in the order of addition. */
export interface PluginParts {
  /** Order is precedence. */
  readonly sources: readonly RouteSource[];
  /** Beside the listeners of the configuration. */
  readonly listenerSources: readonly ListenerSource[];
  /** Asked after the built-in one. */
  readonly sniffers: readonly Sniffer[];
  /** Asked before the route table. */
  readonly resolvers: readonly Resolver[];
  /** Told after the daemon's own. */
  readonly observers: readonly Observer[];
  /** Those that run once, beside the sources. */
  readonly services: readonly Service[];
  /** Those that run in every process that carries connections. */
  readonly carrierServices: readonly Service[];
  /** By name for the setting `transport`. */
  readonly transports: readonly Transport[];
  /** For listeners that name them. */
  readonly filters: readonly ConnectionFilter[];
  /** The first is outermost. */
  readonly layers: readonly Layer<Connector>[];
  /** For routes that name them. */
  readonly offeredLayers: ReadonlyMap<string, LayerFactory>;
  /** The same of balances. */
  readonly offeredBalances: ReadonlyMap<string, BalanceFactory>;
  /** Answers by path, the plugin's own prefix included. */
  readonly adminPaths: ReadonlyMap<string, PluginAnswerer>;
}

/** What a host lends to plugins beside the places where their parts go. */
export type HostServices = Pick<PluginHost, 'baseDir' | 'process' | 'log' | 'metrics' | 'routes' | 'reportWarning'>;

/** A host for one plugin. */
export interface OpenHost {
  /** For the plugin. */
  readonly host: PluginHost;
  /** The plugin is installed: what it adds from now on is refused. */
  close(): void;
}

/** Names of transports that plugins cannot have. */
const BUILT_IN_TRANSPORTS: ReadonlySet<string> = new Set(['auto', 'node', 'epoll', 'uring']);

/** Gathers the parts of many plugins, and looks at each when it is added: plugins are JavaScript. */
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
    filters: new Array<ConnectionFilter>(),
    layers: new Array<Layer<Connector>>(),
    offeredLayers: new Map<string, LayerFactory>(),
    offeredBalances: new Map<string, BalanceFactory>(),
    adminPaths: new Map<string, PluginAnswerer>(),
  };

  constructor() {
    this.parts = this.#lists;
  }

  /**
   * A host for `plugin`, which throws a `TypeError` when it is given what cannot be a part, and an `Error` when it is given something
   * after it was closed.
   */
  hostFor(plugin: string, services: HostServices): OpenHost {
    const lists = this.#lists;
    let closed = false;
    const add = <Part>(method: string, list: Part[], ...expected: readonly Expectation[]) => {
      return (part: Part): void => {
        refuseLate(method, closed);
        for (const expectation of expected) expectation(method, part);
        list.push(part);
      };
    };
    const offer = <Make>(method: string, kind: string, offered: Map<string, Make>) => {
      return (name: string, make: Make): void => {
        refuseLate(method, closed);
        NAMED(method, { name });
        isFunction(method, make);
        const taken = Array.from(offered.keys(), (other) => ({ name: other }));
        expectFree(method, { name }, kind, taken);
        offered.set(name, make);
      };
    };
    const addService = add('addService', lists.services, NAMED, methods('start', 'stop'));
    const addCarrierService = add('addService', lists.carrierServices, NAMED, methods('start', 'stop'));
    const host: PluginHost = {
      ...services,
      addSource: add('addSource', lists.sources, NAMED, methods('watch')),
      addListenerSource: add('addListenerSource', lists.listenerSources, NAMED, methods('watch')),
      addSniffer: add('addSniffer', lists.sniffers, NAMED, methods('inspect')),
      addResolver: add('addResolver', lists.resolvers, methods('resolve')),
      addObserver: add('addObserver', lists.observers, methods('observe')),
      addTransport: add('addTransport', lists.transports, NAMED, methods('listen', 'dial', 'splice'), (method, part) =>
        this.#expectFreeTransport(method, part),
      ),
      addFilter: add('addFilter', lists.filters, NAMED, methods('filter'), (method, part) =>
        expectFree(method, part, 'filter', lists.filters),
      ),
      wrapConnector: add('wrapConnector', lists.layers, isFunction),
      offerLayer: offer('offerLayer', 'layer', lists.offeredLayers),
      offerBalance: offer('offerBalance', 'balance', lists.offeredBalances),
      addService(service, options: ServiceOptions = { in: 'primary' }) {
        if (runsIn(options) === 'carrier') addCarrierService(service);
        else addService(service);
      },
      addAdminPath(path, answer) {
        refuseLate('addAdminPath', closed);
        isFunction('addAdminPath', answer);
        lists.adminPaths.set(adminPath(plugin, path, lists.adminPaths), answer);
      },
    };
    return { host: Object.freeze(host), close: () => (closed = true) };
  }

  #expectFreeTransport(method: string, part: unknown): void {
    const name = String(Reflect.get(Object(part), 'name'));
    if (BUILT_IN_TRANSPORTS.has(name))
      throw new TypeError(`${method}: expected a name that no built-in transport has, found ${JSON.stringify(name)}`);
    expectFree(method, part, 'transport', this.#lists.transports);
  }
}

type Expectation = (method: string, part: unknown) => void;

function refuseLate(method: string, closed: boolean): void {
  if (closed) throw new Error(`${method}: expected parts while the plugin is installed, found one afterwards`);
}

/** Configuration knows it by its name. */
function expectFree(method: string, part: unknown, kind: string, taken: readonly { readonly name: string }[]): void {
  const name = String(Reflect.get(Object(part), 'name'));
  if (!taken.some((other) => other.name === name)) return;
  throw new TypeError(`${method}: expected a name that no other ${kind} has, found ${JSON.stringify(name)}`);
}

function methods(...names: readonly string[]): Expectation {
  return (method, part) => {
    const missing = names.find((name) => typeof Reflect.get(Object(part), name) !== 'function');
    if (typeof part === 'object' && part !== null && missing === undefined) return;
    throw new TypeError(
      `${method}: expected an object with ${names.map((name) => `${name}()`).join(', ')}, found ${described(part, missing)}`,
    );
  };
}

function described(part: unknown, missing: string | undefined): string {
  if (typeof part === 'object' && part !== null) return `one without ${missing}()`;
  return part === null ? 'null' : part === undefined ? 'nothing' : `a ${typeof part}`;
}

/** A name is a label of metrics and a key of the log. */
const NAMED: Expectation = (method, part) => {
  const name: unknown = Reflect.get(Object(part), 'name');
  if (typeof part !== 'object' || part === null || (typeof name === 'string' && name !== '')) return;
  throw new TypeError(
    `${method}: expected a part with a name, found ${name === undefined ? 'none' : JSON.stringify(name)}`,
  );
};

function isFunction(method: string, part: unknown): void {
  if (typeof part !== 'function') throw new TypeError(`${method}: expected a function, found ${described(part, '')}`);
}

function runsIn({ in: place }: ServiceOptions): ServiceOptions['in'] {
  if (place === 'primary' || place === 'carrier') return place;
  throw new TypeError(`addService: expected in: 'primary' or 'carrier', found ${JSON.stringify(place)}`);
}

function adminPath(plugin: string, path: unknown, taken: ReadonlyMap<string, unknown>): string {
  if (typeof path !== 'string' || !/^\/[\w.~/-]*$/.test(path))
    throw new TypeError(`addAdminPath: expected a path that begins with /, found ${JSON.stringify(path)}`);
  const whole = `/plugins/${encodeURIComponent(plugin)}${path === '/' ? '' : path}`;
  if (taken.has(whole)) throw new TypeError(`addAdminPath: expected a path once, found ${whole} again`);
  return whole;
}
