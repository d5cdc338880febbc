import type { AddressBook } from '../names/address-book.ts';
import { pause } from '../watch/backoff.ts';
import { picker } from './balance.ts';
import type { Picker } from './balance.ts';
import type { Upstream } from './connection.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { ProxyError } from '../errors.ts';
import type { Limits } from './limits.ts';
import type { Observer } from '../observe.ts';
import type { Outliers } from './outliers.ts';
import type { Backend, KeepAlive, Route } from '../routes/route.ts';
import type { ConnectContext, ConnectDialOptions, Connector } from './stages.ts';
import type { Connection, Dial } from '../transport/transport.ts';

/** What {@link balancedConnector} is made of. */
export interface ConnectorOptions {
  readonly addresses: AddressBook;
  readonly outliers: Outliers;
  /** Told of backends whose name has no address. */
  readonly observer: Observer;
  readonly limits: Pick<Limits, 'connectTimeoutMs'>;
  /** For routes that have none of their own. */
  readonly keepAlive: KeepAlive;
  /** In [0, 1); `Math.random` when absent. */
  readonly random?: () => number;
  /** What every dial puts over its connection before that counts as reached; nothing when absent. */
  readonly upgrade?: ConnectDialOptions['upgrade'];
}

/**
 * Reaches one of a route's backends: chosen by the route's balance among the healthy ones, then, as dials fail, the next, and at
 * last those that are ejected or unhealthy. One deadline covers all attempts; while others are left, an attempt may use half of
 * what remains of it, so that a backend that hangs cannot use it up.
 */
export function balancedConnector(options: ConnectorOptions): Connector {
  const loads = new Loads();
  const pickers = new WeakMap<Route, Picker>();
  const random = options.random ?? Math.random;
  return { connect };

  async function connect(route: Route, context: ConnectContext): Promise<Upstream> {
    const dials = new Dials(options, route, context);
    let untried = route.backends;
    while (untried.length > 0) {
      const backend = next(route, untried);
      untried = without(untried, backend);
      const found = options.addresses.find(backend.address);
      const addresses = found instanceof Promise ? await dials.resolved(backend, found) : found;
      for (const [index, address] of trustedFirst(addresses, options.outliers).entries()) {
        const isLast = untried.length === 0 && index === addresses.length - 1;
        const dial = dials.begin(backend, address, isLast);
        try {
          const connection = await dial.done;
          options.outliers.succeeded(address);
          return upstream({ connection, address }, route, backend);
        } catch (reason) {
          dials.failed(reason);
          options.outliers.failed(address);
        }
      }
    }
    throw dials.failure;
  }

  function next(route: Route, untried: readonly Backend[]): Backend {
    const best = preferred(untried, options.outliers);
    const [only] = best;
    return only !== undefined && best.length === 1 ? only : pickerOf(route).pick(best);
  }

  function pickerOf(route: Route): Picker {
    let known = pickers.get(route);
    if (known === undefined) {
      known = picker(route.balance ?? 'round_robin', { load: (backend) => loads.of(backend), random });
      pickers.set(route, known);
    }
    return known;
  }

  function upstream({ connection, address }: Reached, route: Route, backend: Backend): Upstream {
    const release = route.balance === 'least_connections' ? loads.take(backend) : NOTHING_TO_RELEASE;
    return { connection, route, backend, address, release };
  }
}

/**
 * Healthy and not ejected; else healthy; else whatever there is; and of these the lowest priority. Advice orders the dials, it never
 * forbids one.
 */
function preferred(backends: readonly Backend[], outliers: Outliers): readonly Backend[] {
  const isTrusted = ({ healthy, address }: Backend): boolean => healthy && !outliers.isEjected(address);
  // The usual case, and nothing is made for it.
  if (backends.every((backend) => backend.priority === undefined && isTrusted(backend))) return backends;
  const trusted = backends.filter(isTrusted);
  if (trusted.length > 0) return firstInLine(trusted);
  const healthy = backends.filter((backend) => backend.healthy);
  return firstInLine(healthy.length > 0 ? healthy : backends);
}

function firstInLine(backends: readonly Backend[]): readonly Backend[] {
  const lowest = backends.reduce((least, { priority = 0 }) => Math.min(least, priority), Infinity);
  return backends.filter(({ priority = 0 }) => priority === lowest);
}

function trustedFirst(addresses: readonly Endpoint[], outliers: Outliers): readonly Endpoint[] {
  if (outliers.ejected === 0 || addresses.length < 2) return addresses;
  const isEjected = (address: Endpoint): boolean => outliers.isEjected(address);
  return [...addresses.filter((address) => !isEjected(address)), ...addresses.filter(isEjected)];
}

function without(backends: readonly Backend[], backend: Backend): readonly Backend[] {
  return backends.length === 1 ? NO_BACKENDS : backends.filter((one) => one !== backend);
}

const NO_BACKENDS: readonly Backend[] = [];
const NO_ADDRESSES: readonly Endpoint[] = [];

interface Reached {
  readonly connection: Connection;
  readonly address: Endpoint;
}

/** The dials made for one connection: divides the time among them, and remembers why the last one failed. */
class Dials {
  #failure: ProxyError | undefined;
  readonly #options: ConnectorOptions;
  readonly #route: Route;
  readonly #context: ConnectContext;
  readonly #timeoutMs: number;
  readonly #endsAt: number;

  constructor(options: ConnectorOptions, route: Route, context: ConnectContext) {
    this.#options = options;
    this.#route = route;
    this.#context = context;
    this.#timeoutMs = route.connectTimeoutMs ?? options.limits.connectTimeoutMs;
    this.#endsAt = performance.now() + this.#timeoutMs;
  }

  /** Why no backend was reached: the last dial's error. */
  get failure(): ProxyError {
    return this.#failure ?? new ProxyError('NO_BACKEND', `route ${this.#route.name} has no backend`);
  }

  /** What the name system says of a backend: nothing when it fails. Throws when there is no time, or nobody, to go on for. */
  async resolved({ address }: Backend, found: Promise<readonly Endpoint[]>): Promise<readonly Endpoint[]> {
    try {
      return await this.#inTime(found);
    } catch (reason) {
      const error = this.failed(reason);
      const { connection } = this.#context;
      this.#options.observer.observe({ type: 'dial.failed', connection, route: this.#route, address, error });
      return NO_ADDRESSES;
    }
  }

  /** Throws when there is no time left. */
  begin(backend: Backend, address: Endpoint, isLast: boolean): Dial {
    const leftMs = this.#leftMs();
    const { upgrade, keepAlive } = this.#options;
    const options = { keepAlive: this.#route.keepAlive ?? keepAlive, timeoutMs: isLast ? leftMs : leftMs / 2 };
    return this.#context.dial(backend, address, upgrade === undefined ? options : { ...options, upgrade });
  }

  /** A backend could not be found, or not be reached. Throws when nobody is there to go on for. */
  failed(reason: unknown): ProxyError {
    const { abandoned } = this.#context;
    if (abandoned !== undefined) throw abandoned;
    this.#failure = ProxyError.from(reason);
    return this.#failure;
  }

  /** Waits for the name system no longer than for a backend. */
  async #inTime(found: Promise<readonly Endpoint[]>): Promise<readonly Endpoint[]> {
    const { signal } = this.#context;
    const over = new AbortController();
    const late = pause(this.#leftMs(), over.signal).then(() => 'late' as const);
    const gone = aborted(signal, over.signal);
    const answer = await Promise.race([found, late, gone]).finally(() => over.abort());
    if (answer === 'gone') throw signal.reason;
    if (answer === 'late') throw this.#timeout('no answer of the name system');
    return answer;
  }

  #leftMs(): number {
    const leftMs = this.#endsAt - performance.now();
    if (leftMs > 0) return leftMs;
    const { attempts } = this.#context;
    throw attempts === 0
      ? this.#timeout('no dial was made')
      : this.#timeout(`the last of ${attempts} dials: ${this.failure.message}`);
  }

  #timeout(detail: string): ProxyError {
    return new ProxyError(
      'CONNECT_TIMEOUT',
      `no backend of route ${this.#route.name} within ${this.#timeoutMs} ms; ${detail}`,
    );
  }
}

function aborted(signal: AbortSignal, over: AbortSignal): Promise<'gone'> {
  if (signal.aborted) return Promise.resolve('gone');
  return new Promise((resolve) =>
    signal.addEventListener('abort', () => resolve('gone'), { once: true, signal: over }),
  );
}

const NOTHING_TO_RELEASE = (): void => undefined;

/**
 * Connections by backend address, of the routes that balance by it: backends of equal address are one, over all of these routes
 * and over snapshots.
 */
class Loads {
  readonly #counts = new Map<string, number>();

  of({ address }: Backend): number {
    return this.#counts.get(formatEndpoint(address)) ?? 0;
  }

  /** @returns gives the place back; to be called once */
  take({ address }: Backend): () => void {
    const key = formatEndpoint(address);
    this.#add(key, 1);
    return () => this.#add(key, -1);
  }

  #add(key: string, change: 1 | -1): void {
    const count = (this.#counts.get(key) ?? 0) + change;
    if (count > 0) this.#counts.set(key, count);
    else this.#counts.delete(key);
  }
}
