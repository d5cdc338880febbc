import { isIPv6 } from 'node:net';
import { formatDuration } from '../duration.ts';
import { ProxyError } from '../errors.ts';
import type { Observer } from '../observe.ts';
import type { Backend, KeepAlive, Route } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Dial } from '../transport/transport.ts';
import { settlesWithin } from '../watch/scope.ts';
import type { Limits } from './limits.ts';
import type { Outliers } from './outliers.ts';
import type { ConnectContext, ConnectDialOptions } from './stages.ts';

/** What {@link Dials} needs of its connector. */
export interface DialsOptions {
  readonly outliers: Outliers;
  /** Told of backends whose name has no address, and of those that a client has waited for in vain. */
  readonly observer: Observer;
  readonly limits: Pick<Limits, 'connectTimeoutMs' | 'dials'>;
  /** For routes that have none of their own. */
  readonly keepAlive: KeepAlive;
  /** What every dial puts over its connection before that counts as reached; nothing when absent. */
  readonly upgrade?: ConnectDialOptions['upgrade'];
  /** Whether an address leads back to this proxy: then it is not dialled. None does when absent. */
  isOwn?(address: Endpoint): boolean;
}

// A client that leaves after a quarter of the time which it could have waited has most likely run out of its own patience.
const BLAMED_AFTER = 0.25;

/**
 * The dials made for one connection: knows what is left to try, bounds their number, divides the time among them, and remembers why the last
 * one failed.
 */
export class Dials {
  readonly route: Route;
  readonly context: ConnectContext;
  /** Backends that have not been chosen yet. */
  untried: readonly Backend[];
  #failure: ProxyError | undefined;
  readonly #options: DialsOptions;
  /** Addresses that were reached, and did not answer. */
  #unanswered: Set<string> | undefined;
  /** Whether the backend that was chosen last has addresses which were not reached. */
  #hasOtherAddresses = false;
  #timeoutMs: number;
  /** When the time for all of them is over, in milliseconds of the monotonic clock. */
  endsAt: number;
  #attempts = 0;
  /** When the time for the last backend was measured: its dial begins then. */
  beganAt = 0;

  constructor(options: DialsOptions, route: Route, context: ConnectContext) {
    this.#options = options;
    this.route = route;
    this.context = context;
    this.untried = route.backends;
    this.#timeoutMs = route.connectTimeoutMs ?? options.limits.connectTimeoutMs;
    this.endsAt = performance.now() + this.#timeoutMs;
  }

  /** Ends `ms` milliseconds from now at the latest, whatever the route says. */
  endWithin(ms: number): void {
    this.#timeoutMs = Math.min(this.#timeoutMs, ms);
    this.endsAt = performance.now() + this.#timeoutMs;
  }

  /** How many more dials there may be. */
  get remaining(): number {
    return this.#options.limits.dials - this.#attempts;
  }

  /** Whether there is something to try in place of the backend that was chosen last. */
  get hasMore(): boolean {
    return this.remaining > 0 && (this.untried.length > 0 || this.#hasOtherAddresses);
  }

  /** `backend` is tried next. */
  chosen(backend: Backend): void {
    this.untried = this.untried.length === 1 ? NO_BACKENDS : this.untried.filter((one) => one !== backend);
  }

  /** Of the addresses of the backend that was chosen those which have not failed to answer. */
  answering(addresses: readonly Endpoint[]): readonly Endpoint[] {
    const unanswered = this.#unanswered;
    const answering =
      unanswered === undefined ? addresses : addresses.filter((one) => !unanswered.has(formatEndpoint(one)));
    this.#hasOtherAddresses = answering.length > 1;
    return answering;
  }

  /** It was reached, and has ended without an answer: its other addresses, if it has any, are tried last. */
  unanswered(backend: Backend, address: Endpoint, reason: ProxyError | undefined): void {
    const how = reason === undefined ? 'finished' : 'was lost';
    this.#failure = new ProxyError('UPSTREAM_RESET', `${formatEndpoint(address)} ${how} before its first byte`, {
      cause: reason,
    });
    this.#unanswered ??= new Set();
    this.#unanswered.add(formatEndpoint(address));
    if (this.#hasOtherAddresses) this.untried = [...this.untried, backend];
  }

  /** Why no backend was reached: the last dial's error. */
  failure(): ProxyError {
    const untried = this.untried.length;
    const { name, withoutBackend = 'NO_BACKEND' } = this.route;
    const last = this.#failure ?? new ProxyError(withoutBackend, `route ${name} has no backend`);
    if (untried === 0 || this.remaining > 0) return last;
    const rest = `${this.#attempts} dials were made, ${untried} more backends not tried`;
    return new ProxyError(last.code, `${last.message}; ${rest}`, { cause: last });
  }

  /** Why no other backend is tried: the route refuses to use those that are down. */
  allDown(): ProxyError {
    const down = `all ${this.untried.length} backends of route ${this.route.name} that are left are down by their health checks`;
    return this.#failure ?? new ProxyError('NO_BACKEND', down);
  }

  /** The time for the backend that was chosen: all that is left for the last one, else half of it. Throws when there is none. */
  timeForNext(): number {
    const remainingMs = this.#remainingMs();
    return this.untried.length === 0 || this.remaining <= 1 ? remainingMs : remainingMs / 2;
  }

  /** Dials, unless it would lead back to this proxy: then `undefined`, and that is a failure like any other. */
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
   * A dial that began at `beganAt` has failed. Throws when nobody is there to go on for; a backend that has let its client wait for long
   * is then blamed all the same.
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

  /** An address that could not even be dialled. Throws when nobody is there to go on for. */
  notDialled(address: Endpoint, reason: unknown): void {
    const { abandoned, connection } = this.context;
    if (abandoned !== undefined) throw abandoned;
    const error = ProxyError.from(reason);
    this.#failure = error;
    this.#options.observer.observe({ type: 'dial.failed', connection, route: this.route, address, error });
  }

  /** What the name system says of a backend: nothing when it fails. Rejects when nobody is there to go on for. */
  async lookedUp(address: Endpoint, found: Promise<readonly Endpoint[]>): Promise<readonly Endpoint[]> {
    try {
      return await this.inTime(found, 'of the name system');
    } catch (reason) {
      this.notDialled(address, reason);
      return NO_ADDRESSES;
    }
  }

  /** It had not answered for long when another address of the backend answered at once. */
  overtaken(address: Endpoint): void {
    this.#options.outliers.failed(address, this.route.backends.length);
  }

  /** The family of `slow` does not answer, that of `fast` does, and goes first for `forMs`. */
  familySilent(slow: Endpoint, fast: Endpoint, forMs: number): void {
    const [lost, works] = isIPv6(slow.host) ? ['IPv6', 'IPv4'] : ['IPv4', 'IPv6'];
    const reason = `${lost} does not answer, and ${works} does (${formatEndpoint(fast)}), which goes first for ${formatDuration(forMs)}: the network may swallow ${lost}`;
    this.#options.observer.observe({
      type: 'path.impaired',
      problem: 'family',
      side: 'upstream',
      address: slow,
      reason,
    });
  }

  /** Another connection's dial to the same address has failed. */
  sharedFailure(error: ProxyError): void {
    this.#failure = error;
  }

  /**
   * Waits for somebody else. Rejects when the time is over, or nobody is there to go on for.
   *
   * @param untilMs milliseconds of the monotonic clock; the time for all dials when absent
   */
  async inTime<T>(response: Promise<T>, what: string, untilMs: number = this.endsAt): Promise<T> {
    const { signal } = this.context;
    const remainingMs = Math.min(this.#remainingMs(), Math.max(0, untilMs - performance.now()));
    if (await settlesWithin(response, remainingMs, signal)) return response;
    if (signal.aborted) throw signal.reason;
    throw this.#timeout(`no answer ${what}`);
  }

  #blame(address: Endpoint, waitedMs: number): void {
    if (waitedMs < this.#timeoutMs * BLAMED_AFTER) return;
    const { connection } = this.context;
    const waited = `dial ${formatEndpoint(address)}: no answer for ${formatDuration(waitedMs)}, then the client left`;
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
 * Whether it speaks against the address that was dialled. Not: a shortage of our own, a missing certificate of our own, a network of which
 * this machine has no route (IPv6 where there is none), and a peer that is somebody else, since one gateway's address serves many.
 */
function isOfAddress(error: ProxyError): boolean {
  if (error.side !== 'upstream' || error.code === 'UPSTREAM_UNTRUSTED') return false;
  const { cause } = error;
  return !(cause instanceof Error && 'code' in cause && cause.code === 'ENETUNREACH');
}
