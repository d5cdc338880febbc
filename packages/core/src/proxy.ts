// A proxy in one call: the usual composition of the parts in parts.ts.
import { Departures } from './lifecycle/departures.ts';
import { Drain, DEFAULT_DRAIN } from './lifecycle/drain.ts';
import type { DrainProgress } from './lifecycle/drain.ts';
import { ConfigProblems } from './lifecycle/plugin.ts';
import type { OfferedParts } from './lifecycle/plugin-parts.ts';
import { inOrder } from './lifecycle/service.ts';
import type { Service } from './lifecycle/service.ts';
import { observers } from './observe.ts';
import type { Observer } from './observe.ts';
import { egressConnector } from './egress/egress-connector.ts';
import { BackendHealth } from './health/backend-health.ts';
import { HealthChecks } from './health/health-checks.ts';
import { AddressBook } from './names/address-book.ts';
import { accessByListener } from './pipeline/access.ts';
import { Admission } from './pipeline/admission.ts';
import { balancedConnector } from './pipeline/connect.ts';
import { DEFAULT_LIMITS } from './pipeline/limits.ts';
import { Listeners } from './pipeline/listeners.ts';
import { Outliers } from './pipeline/outliers.ts';
import { routeRules } from './pipeline/route-rules.ts';
import { withUsedLayers } from './pipeline/used-parts.ts';
import { Sessions } from './pipeline/sessions.ts';
import { checkedLayer, checkedResolver } from './pipeline/checked-results.ts';
import { firstOf, firstToKnow, layered } from './pipeline/stages.ts';
import type { ListenAddress, RouteSource } from './routes/route.ts';
import { listening, optionProblems, ROUTES_SOURCE } from './proxy-options.ts';
import type { ProxyOptions } from './proxy-options.ts';
import { RouteStore } from './routes/route-store.ts';
import { staticSource } from './routes/static-source.ts';
import type { Endpoint } from './transport/endpoint.ts';
import { onAbort } from './watch/scope.ts';
import { nodeTransport } from './transport/node-transport.ts';

/** A proxy inside another program. */
export interface Proxy {
  /** Address of the first listener; the `listen` address as given while that listener is not bound. */
  readonly address: Endpoint;
  /** Addresses of the bound listeners, by listener name. */
  readonly addresses: ReadonlyMap<string, Endpoint>;
  /** State of the drain, and the number of live connections. */
  readonly progress: DrainProgress;
  /**
   * Starts to follow the sources, then opens the listeners. Rejects with the system's error when an address cannot be
   * bound, or with the error of a service that fails to start; everything is then rolled back, and `start` may be
   * called again.
   *
   * @param signal aborts the start
   */
  start(signal?: AbortSignal): Promise<void>;
  /** Stops accepting, and lets live connections finish within the grace period. Resolves when none is left. */
  drain(): Promise<DrainProgress>;
  /**
   * Drains, then stops everything: no socket, timer or watch is left. Resolves at once if the proxy does not run.
   *
   * @param signal closes live connections at once
   */
  stop(signal?: AbortSignal): Promise<void>;
}

/**
 * Creates a proxy; nothing runs before `start`.
 *
 * @throws ConfigProblems with everything that is wrong with the options: a part without its methods, a route that could
 * carry nothing, an option that does not exist, nothing to listen on, nothing that recognises a protocol, nothing that
 * knows routes
 */
export function createProxy(options: ProxyOptions): Proxy {
  const problems = optionProblems(options);
  if (problems.length > 0) throw new ConfigProblems(problems);
  return new EmbeddedProxy(options);
}

/** `idle`: never started, or rolled back after a failed start. */
type ProxyState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'started'; readonly done: Promise<void>; readonly giveUp: AbortController }
  | { readonly kind: 'stopped'; readonly done: Promise<void> };

class EmbeddedProxy implements Proxy {
  readonly #options: ProxyOptions;
  readonly #at: readonly ListenAddress[];
  #parts: ProxyParts;
  #state: ProxyState = { kind: 'idle' };
  /** Aborted when a stop is forced. */
  readonly #force = new AbortController();

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#at = listening(options.listen);
    this.#parts = compose(options, this.#at);
  }

  get address(): Endpoint {
    const [first] = this.#parts.listeners.status;
    return first?.address ?? first?.endpoint ?? { host: '', port: 0 };
  }

  get addresses(): ReadonlyMap<string, Endpoint> {
    const { status } = this.#parts.listeners;
    return new Map(status.flatMap(({ name, address }) => (address === undefined ? [] : [[name, address]])));
  }

  get progress(): DrainProgress {
    return this.#parts.drain.progress;
  }

  async start(signal?: AbortSignal): Promise<void> {
    if (this.#state.kind !== 'idle')
      throw new Error(`expected a proxy that was never started, found it ${this.#state.kind}`);
    const giveUp = new AbortController();
    const done = whenAborted(signal, giveUp, this.#parts.lifecycle.start(giveUp.signal));
    const state: ProxyState = { kind: 'started', done, giveUp };
    this.#state = state;
    try {
      await done;
    } catch (reason) {
      // Parts cannot be started twice.
      this.#parts = compose(this.#options, this.#at);
      if (this.#state === state) this.#state = { kind: 'idle' };
      throw reason;
    }
  }

  drain(): Promise<DrainProgress> {
    return this.#state.kind === 'idle' ? Promise.resolve(this.progress) : this.#parts.drain.begin();
  }

  stop(signal?: AbortSignal): Promise<void> {
    const state = this.#state;
    if (state.kind === 'idle') return Promise.resolve();
    const { drain } = this.#parts;
    const done = state.kind === 'stopped' ? state.done : this.#stop(state);
    this.#state = { kind: 'stopped', done };
    const force = (): void => {
      drain.force();
      this.#force.abort();
    };
    return whenAborted(signal, { abort: force }, done);
  }

  async #stop({ done, giveUp }: Extract<ProxyState, { kind: 'started' }>): Promise<void> {
    const { drain, lifecycle } = this.#parts;
    giveUp.abort(new Error('the proxy stops'));
    const hasStarted = await done.then(
      () => true,
      () => false,
    );
    if (!hasStarted) return;
    await drain.begin();
    await lifecycle.stop(this.#force.signal);
  }
}

/** Settles as `done` does; aborts `target` if `signal` aborts first. */
async function whenAborted(
  signal: AbortSignal | undefined,
  target: { abort(reason?: unknown): void },
  done: Promise<void>,
): Promise<void> {
  const release = signal && onAbort(signal, () => target.abort(signal.reason));
  await done.finally(release);
}

interface ProxyParts {
  readonly listeners: Listeners;
  readonly drain: Drain;
  readonly lifecycle: Service;
}

function compose(options: ProxyOptions, addresses: readonly ListenAddress[]): ProxyParts {
  const { resolvers = [], filters = [], layers = [], services = [], transport = nodeTransport() } = options;
  const offered = offeredLayers(options);
  const { keepAlive = { idleMs: 60_000 } } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const health = new BackendHealth();
  const observer: Observer = observers([
    ...(options.observers ?? []),
    { name: 'health checks', observe: (event) => checks.observe(event) },
  ]);
  const [book, outliers] = [new AddressBook(observer), new Outliers(observer)];
  const checks: HealthChecks = new HealthChecks({
    transport,
    addresses: book,
    observer,
    onMark: (mark) => health.mark(mark),
  });
  const routes: RouteStore = new RouteStore({
    sources: sourcesOf(options),
    observer: observers([observer, { name: 'departures', observe: (event) => departures.observe(event) }]),
  });
  const dialling = { outliers, observer, limits, keepAlive, isOwn: (address: Endpoint) => listeners.owns(address) };
  const inner = balancedConnector({
    ...dialling,
    addresses: book,
    health,
    balances: new Map(Object.entries(options.balances ?? {})),
    ...(options.prefer !== undefined && { prefer: options.prefer }),
  });
  const dialer = egressConnector(inner, dialling);
  const sessions = new Sessions({
    sniffer: firstOf(options.sniffers),
    resolver: firstToKnow([...resolvers.map((one) => checkedResolver(one, 'resolver')), routes]),
    filtersOf: () => filters,
    connector: layered(withUsedLayers(dialer, offered), [
      routeRules(),
      ...layers.map((one) => checkedLayer(one, LAYER)),
    ]),
    admission: new Admission(limits, { accessOf: accessByListener(addresses) }),
    transport,
    limits,
    observer,
  });
  const departures = new Departures({ sessions, table: () => routes.table, health, observer });
  const listeners: Listeners = new Listeners({
    addresses,
    sources: [],
    listen: { backlog: BACKLOG, keepAlive },
    accept: (connection, listener) => sessions.accept(connection, listener),
    transport,
    observer,
  });
  const drain = new Drain({ ...DEFAULT_DRAIN, ...options.drain }, { sessions, listeners, services, observer });
  return {
    listeners,
    drain,
    lifecycle: inOrder('proxy', [outliers, checks, departures, ...services, routes, listeners]),
  };
}

function offeredLayers({ routeLayers = {} }: ProxyOptions): OfferedParts {
  return new Map(
    Object.entries(routeLayers).map(([name, make]) => [
      name,
      { kind: 'layer', make: (settings) => checkedLayer(make(settings), LAYER) },
    ]),
  );
}

function sourcesOf({ routes, sources = [] }: ProxyOptions): readonly RouteSource[] {
  return routes === undefined ? sources : [staticSource(ROUTES_SOURCE, routes), ...sources];
}

/** Of an embedder, in errors. */
const LAYER = 'connector layer';

/** The kernel lowers it to `net.core.somaxconn`: bursts of connections queue in the kernel. */
const BACKLOG = 4_096;
