import { isIPv6 } from 'node:net';
import { formatDuration } from '../duration.ts';
import { ProxyError, systemCode } from '../errors.ts';
import type { Observer } from '../observe.ts';
import type { Backend, KeepAlive, Route } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Dial } from '../transport/transport.ts';
import { settlesWithin } from '../watch/scope.ts';
import type { Limits } from './limits.ts';
import type { Outliers } from './outliers.ts';
import type { ConnectContext, ConnectDialOptions } from './stages.ts';

/** Dependencies of {@link Dials}. */
export interface DialsOptions {
  readonly outliers: Outliers;
  /**
   * Receives `dial.failed` for names without an address and for backends that a client waited for in vain, and
   * `path.impaired`.
   */
  readonly observer: Observer;
  readonly limits: Pick<Limits, 'connectTimeoutMs' | 'dials'>;
  /** For routes without a setting of their own. */
  readonly keepAlive: KeepAlive;
  /** Upgrade of every dialled connection before it counts as established; none when absent. */
  readonly upgrade?: ConnectDialOptions['upgrade'];
  /** Whether an address belongs to this proxy: it is then not dialled. None does when absent. */
  isOwn?(address: Endpoint): boolean;
}

// A client that closes after a quarter of the connect timeout or more has most likely run into its own timeout.
const BLAMED_AFTER = 0.25;

/**
 * The dials for one connection: tracks what is left to try, bounds the number of dials, divides the time among them,
 * and keeps the last failure.
 */
export class Dials {
  readonly route: Route;
  readonly context: ConnectContext;
  /** Backends that have not been selected yet. */
  untried: readonly Backend[];
  #failure: ProxyError | undefined;
  readonly #options: DialsOptions;
  /** Addresses that were connected and sent no byte. */
  #unanswered: Set<string> | undefined;
  /** Whether the backend selected last has further addresses that were not connected. */
  #hasOtherAddresses = false;
  #timeoutMs: number;
  /** Deadline of all dials, in milliseconds of the monotonic clock. */
  endsAt: number;
  #attempts = 0;
  /** Time at which the timeout of the next dial was computed: its dial begins then. */
  beganAt = 0;

  constructor(options: DialsOptions, route: Route, context: ConnectContext) {
    this.#options = options;
    this.route = route;
    this.context = context;
    this.untried = route.backends;
    this.#timeoutMs = route.connectTimeoutMs ?? options.limits.connectTimeoutMs;
    this.endsAt = performance.now() + this.#timeoutMs;
  }

  /** Limits all dials to `ms` milliseconds from now, in addition to the route's timeout. */
  endWithin(ms: number): void {
    this.#timeoutMs = Math.min(this.#timeoutMs, ms);
    this.endsAt = performance.now() + this.#timeoutMs;
  }

  /** Number of dials left. */
  get remaining(): number {
    return this.#options.limits.dials - this.#attempts;
  }

  /** Whether anything is left to try instead of the backend selected last. */
  get hasMore(): boolean {
    return this.remaining > 0 && (this.untried.length > 0 || this.#hasOtherAddresses);
  }

  /** Removes `backend` from the untried ones: it is dialled next. */
  chosen(backend: Backend): void {
    this.untried = this.untried.length === 1 ? NO_BACKENDS : this.untried.filter((one) => one !== backend);
  }

  /** Returns `addresses` without those that were connected and sent no byte. */
  answering(addresses: readonly Endpoint[]): readonly Endpoint[] {
    const unanswered = this.#unanswered;
    const answering =
      unanswered === undefined ? addresses : addresses.filter((one) => !unanswered.has(formatEndpoint(one)));
    this.#hasOtherAddresses = answering.length > 1;
    return answering;
  }

  /** Records that a connected backend closed without sending a byte: its other addresses, if any, are tried last. */
  unanswered(backend: Backend, address: Endpoint, reason: ProxyError | undefined): void {
    const how = reason === undefined ? 'finished' : 'was lost';
    this.#failure = new ProxyError('UPSTREAM_RESET', `${formatEndpoint(address)} ${how} before its first byte`, {
      cause: reason,
    });
    this.#unanswered ??= new Set();
    this.#unanswered.add(formatEndpoint(address));
    if (this.#hasOtherAddresses) this.untried = [...this.untried, backend];
  }

  /** Returns the reason for the failure: the error of the last dial. */
  failure(): ProxyError {
    const untried = this.untried.length;
    const { name, withoutBackend = 'NO_BACKEND' } = this.route;
    const last = this.#failure ?? new ProxyError(withoutBackend, `route ${name} has no backend`);
    if (untried === 0 || this.remaining > 0) return last;
    const rest = `${this.#attempts} dials were made, ${untried} more backends not tried`;
    return new ProxyError(last.code, `${last.message}; ${rest}`, { cause: last });
  }

  /** Returns the error for a route that refuses to use backends that are down. */
  allDown(): ProxyError {
    const down = `all ${this.untried.length} remaining backends of route ${this.route.name} are down by their health checks`;
    return this.#failure ?? new ProxyError('NO_BACKEND', down);
  }

  /**
   * Returns the timeout for the selected backend, in milliseconds: all the time left for the last one, otherwise half
   * of it. Throws if none is left.
   */
  timeForNext(): number {
    const remainingMs = this.#remainingMs();
    return this.untried.length === 0 || this.remaining <= 1 ? remainingMs : remainingMs / 2;
  }

  /** Dials, unless the address belongs to this proxy: returns `undefined` then, which counts as a failed dial. */
  begin(backend: Backend, address: Endpoint, timeoutMs: number): Dial | undefined {
    this.#attempts += 1;
    if (this.#options.isOwn?.(address) === true) {
      this.notDialled(
        address,
        new ProxyError('LOOP_DETECTED', `${formatEndpoint(address)} is an address of this proxy itself`),
      );
      return undefined;
    }
    const { upgrade, keepAlive } = this.#options;
    const options = { keepAlive: this.route.keepAlive ?? keepAlive, timeoutMs };
    return this.context.dial(backend, address, upgrade === undefined ? options : { ...options, upgrade });
  }

  /**
   * Records a failed dial that began at `beganAt`. Throws if the session no longer needs a backend; one that kept its
   * client waiting for long still counts as failed.
   */
  failed(address: Endpoint, reason: unknown, beganAt: number): void {
    const { abandoned } = this.context;
    if (abandoned !== undefined) {
      if (abandoned.side === 'downstream') this.#blame(address, performance.now() - beganAt);
      throw abandoned;
    }
    const error = ProxyError.from(reason);
    this.#failure = error;
    if (isOfAddress(error)) this.#options.outliers.failed(address, this.route.backends.length);
  }

  /** Records an address that could not be dialled at all. Throws if the session no longer needs a backend. */
  notDialled(address: Endpoint, reason: unknown): void {
    const { abandoned, connection } = this.context;
    if (abandoned !== undefined) throw abandoned;
    const error = ProxyError.from(reason);
    this.#failure = error;
    this.#options.observer.observe({ type: 'dial.failed', connection, route: this.route, address, error });
  }

  /** Awaits a backend's addresses; none if the lookup fails. Rejects if the session no longer needs a backend. */
  async lookedUp(address: Endpoint, found: Promise<readonly Endpoint[]>): Promise<readonly Endpoint[]> {
    try {
      return await this.inTime(found, 'of the name system');
    } catch (reason) {
      this.notDialled(address, reason);
      return NO_ADDRESSES;
    }
  }

  /**
   * Records a failure of an address: it had not answered for long when another address of the backend answered at once.
   */
  overtaken(address: Endpoint): void {
    this.#options.outliers.failed(address, this.route.backends.length);
  }

  /**
   * Reports that the address family of `slow` does not answer while that of `fast` does, and that the latter goes first
   * for `forMs` milliseconds.
   */
  familySilent(slow: Endpoint, fast: Endpoint, forMs: number): void {
    const [lost, works] = isIPv6(slow.host) ? ['IPv6', 'IPv4'] : ['IPv4', 'IPv6'];
    const reason = `${lost} does not respond, preferring ${works} (${formatEndpoint(fast)}) for ${formatDuration(forMs)}: the network may drop ${lost}`;
    this.#options.observer.observe({
      type: 'path.impaired',
      problem: 'family',
      side: 'upstream',
      address: slow,
      reason,
    });
  }

  /** Records the failure of another connection's dial to the same address. */
  sharedFailure(error: ProxyError): void {
    this.#failure = error;
  }

  /**
   * Awaits `response` within the deadline. Rejects if the time is over, or if the session no longer needs a backend.
   *
   * @param untilMs milliseconds of the monotonic clock; the deadline of all dials when absent
   */
  async inTime<T>(response: Promise<T>, what: string, untilMs: number = this.endsAt): Promise<T> {
    const { signal } = this.context;
    const remainingMs = Math.min(this.#remainingMs(), Math.max(0, untilMs - performance.now()));
    if (await settlesWithin(response, remainingMs, signal)) return response;
    if (signal.aborted) throw signal.reason;
    throw this.#timeout(`no response ${what}`);
  }

  #blame(address: Endpoint, waitedMs: number): void {
    if (waitedMs < this.#timeoutMs * BLAMED_AFTER) return;
    const { connection } = this.context;
    const waited = `dial ${formatEndpoint(address)}: no response for ${formatDuration(waitedMs)}, then the client disconnected`;
    const error = new ProxyError('CONNECT_TIMEOUT', waited);
    this.#options.outliers.failed(address, this.route.backends.length);
    this.#options.observer.observe({ type: 'dial.failed', connection, route: this.route, address, error });
  }

  #remainingMs(): number {
    this.beganAt = performance.now();
    const remainingMs = this.endsAt - this.beganAt;
    if (remainingMs > 0) return remainingMs;
    throw this.#timeout(
      this.#failure === undefined
        ? 'no dial was made'
        : `the last of ${this.#attempts} dials: ${this.#failure.message}`,
    );
  }

  #timeout(detail: string): ProxyError {
    const within = formatDuration(this.#timeoutMs);
    return new ProxyError('CONNECT_TIMEOUT', `no backend of route ${this.route.name} within ${within}; ${detail}`);
  }
}

const NO_BACKENDS: readonly Backend[] = [];
const NO_ADDRESSES: readonly Endpoint[] = [];

/**
 * Whether an error is the fault of the dialled address. Not: a shortage of this process, a missing certificate of this
 * proxy, a network without a route from this machine (IPv6 where there is none), and a peer with another identity,
 * since one gateway address serves many.
 */
function isOfAddress(error: ProxyError): boolean {
  if (error.side !== 'upstream' || error.code === 'UPSTREAM_UNTRUSTED') return false;
  return systemCode(error.cause) !== 'ENETUNREACH';
}
