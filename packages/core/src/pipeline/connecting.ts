import type { Accepted, Hello, Retry, Upstream } from './connection.ts';
import { formatDuration } from '../duration.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { ifRejected, ProxyError } from '../errors.ts';
import { foundPart } from '../lifecycle/part-shape.ts';
import { begun, failedDial, recognisedShortage } from '../transport/dial-failure.ts';
import type { Observer, ReachedBackend } from '../observe.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { ConnectContext, ConnectDialOptions } from './stages.ts';
import type { Connection, Dial, Transfer, Transport } from '../transport/transport.ts';

/** The stages that dials of a session use. */
export interface DialStages {
  /** The listener's transport, which can splice what it dials. */
  readonly transport: Pick<Transport, 'dial'>;
  /** Receives `dial.failed`. */
  readonly observer: Observer;
}

/**
 * The state of a session from its hello on. Makes, counts and reports every dial, and owns the resulting connections.
 */
export class Connecting implements ConnectContext {
  readonly connection: Accepted;
  readonly hello: Hello;
  /** Time at which the hello was complete. */
  readonly helloAt: number = performance.now();
  /** Absent until a route is resolved, and if none matches. */
  route: Route | undefined;
  /** Number of dials so far. */
  attempts = 0;
  /** Number of backends that were connected and then sent no byte. */
  retries = 0;
  /** The address dialled last; absent before the first dial. */
  dialled: Endpoint | undefined;
  /** Why a backend is no longer needed. */
  abandoned: ProxyError | undefined;
  /** The backend, once one is connected. */
  upstream: Upstream | undefined;
  /** The backend as observers see it. */
  shown: ReachedBackend | undefined;
  /** Time of the connect to `upstream`. */
  connectedAt: number | undefined;
  /** Called for each backend that is connected. */
  onReached: (() => void) | undefined;
  readonly #stages: DialStages;
  /** The newest dial; each dial links to the one before. */
  #newest: Attempt | undefined;
  #aborter: AbortController | undefined;

  constructor(stages: DialStages, connection: Accepted, hello: Hello) {
    this.#stages = stages;
    this.connection = connection;
    this.hello = hello;
  }

  get signal(): AbortSignal {
    if (this.#aborter === undefined) {
      this.#aborter = new AbortController();
      if (this.abandoned !== undefined) this.#aborter.abort(this.abandoned);
    }
    return this.#aborter.signal;
  }

  dial(_backend: Backend, address: Endpoint, options: ConnectDialOptions): Dial {
    const problem = dialProblem(address, options);
    if (problem !== undefined) throw new TypeError(`dial: expected ${problem}`);
    this.attempts += 1;
    this.dialled = address;
    const { transport } = this.#stages;
    const dial = this.abandoned === undefined ? begun(transport, address, options) : failedDial(this.abandoned);
    this.#newest = new Attempt(this, dial, { address, options, earlier: this.#newest });
    return this.#newest;
  }

  /** Whether a dial is pending. */
  get isDialling(): boolean {
    return this.#hasAttempt(({ isPending }) => isPending);
  }

  /** Whether a dial waits for its address to answer; upgrades enforce their own timeouts. */
  get awaitsAddress(): boolean {
    return this.#hasAttempt(({ isPending, isUpgrading }) => isPending && !isUpgrading);
  }

  /**
   * Records the connector's result.
   *
   * @returns the time of the connect
   * @throws TypeError if `upstream` is not an upstream: connectors may be plain JavaScript
   */
  reached(upstream: Upstream): number {
    const problem = upstreamProblem(upstream);
    if (problem !== undefined) throw new TypeError(`expected an upstream ${problem}`);
    this.upstream = upstream;
    this.shown = reachedBackend(upstream);
    // The usual case: one dial, whose connection the session now owns. Nothing else of the dial is kept during the
    // splice.
    if (this.#newest?.isAllThatReached(upstream.connection) === true) this.#newest = undefined;
    this.connectedAt = performance.now();
    return this.connectedAt;
  }

  /** Resets the state after a backend closed without sending a byte: the session no longer owns it. */
  unanswered(): void {
    this.upstream = undefined;
    this.shown = undefined;
    this.connectedAt = undefined;
    this.retries += 1;
  }

  /** Returns the error of a client that closed while connecting, with the cause of its wait. */
  closedWhileConnecting(error: ProxyError): ProxyError {
    const waited = formatDuration(performance.now() - this.helloAt);
    const cause =
      this.dialled === undefined
        ? 'before a backend was dialled'
        : this.isDialling
          ? `while ${formatEndpoint(this.dialled)} had not responded`
          : `after the dial to ${formatEndpoint(this.dialled)} had ended`;
    return new ProxyError(error.code, `${error.message}; ${waited} after its hello, ${cause}`, { cause: error });
  }

  /** Cuts every dial, and closes the connections that they returned. Idempotent: the first reason counts. */
  abandon(reason: ProxyError): void {
    if (this.abandoned !== undefined) return;
    this.abandoned = reason;
    this.#aborter?.abort(reason);
    for (let attempt = this.#newest; attempt !== undefined; attempt = attempt.earlier) attempt.end(reason);
  }

  /**
   * Ends the session's upstream side: closes and releases everything. Never throws. @returns an error if the
   * connector's release failed
   */
  end(transfer: Transfer): ProxyError | undefined {
    this.abandon(transfer.error ?? OVER);
    return this.upstream === undefined ? undefined : releaseUpstream(this.upstream, transfer);
  }

  /** Reports a failed dial. */
  failed(address: Endpoint, error: ProxyError): void {
    const { connection, route } = this;
    if (route !== undefined) this.#stages.observer.observe({ type: 'dial.failed', connection, route, address, error });
  }

  #hasAttempt(isSelected: (attempt: Attempt) => boolean): boolean {
    for (let attempt = this.#newest; attempt !== undefined; attempt = attempt.earlier)
      if (isSelected(attempt)) return true;
    return false;
  }
}

/** Shared: creating an error takes longer than everything else at the end of a session. */
const OVER = new ProxyError('INTERNAL', 'the session is over');

/** Returns why `value` is not an upstream: what was expected of it and what was found; `undefined` if it is one. */
export function upstreamProblem(value: unknown): string | undefined {
  if (!isUpstream(value)) return `with a connection, found ${foundPart(value)}`;
  const { preface, retry } = value;
  if (preface !== undefined && !(preface instanceof Uint8Array))
    return `whose preface is a Uint8Array, found ${foundPart(preface)}`;
  if (retry !== undefined && typeof (Object(retry) as Partial<Retry>).reach !== 'function')
    return `whose retry has reach(), found ${foundPart(retry)}`;
  return undefined;
}

/** Returns what `context.dial` expected and what it found; `undefined` if a dial can begin. */
function dialProblem(address: unknown, options: unknown): string | undefined {
  const to = Object(address) as Partial<Endpoint>;
  if (typeof to.host !== 'string' || typeof to.port !== 'number')
    return `an address with host and port, found ${foundPart(address)}`;
  if (typeof options !== 'object' || options === null) return `{ timeoutMs, keepAlive }, found ${foundPart(options)}`;
  const { timeoutMs, keepAlive, upgrade } = options as Partial<Record<keyof ConnectDialOptions, unknown>>;
  if (!(typeof timeoutMs === 'number' && timeoutMs >= 0))
    return `timeoutMs, a number of 0 or more, found ${typeof timeoutMs === 'number' ? timeoutMs : foundPart(timeoutMs)}`;
  if (typeof keepAlive !== 'object' || keepAlive === null) return `keepAlive, an object, found ${foundPart(keepAlive)}`;
  if (upgrade !== undefined && typeof upgrade !== 'function') return `upgrade, a function, found ${foundPart(upgrade)}`;
  return undefined;
}

function isUpstream(value: unknown): value is Upstream {
  if (typeof value !== 'object' || value === null) return false;
  const { connection, address, backend, route } = value as Partial<Upstream>;
  return isAddress(address) && isAddress(backend?.address) && typeof route?.name === 'string' && isOpen(connection);
}

function isAddress(address: Partial<Endpoint> | undefined): boolean {
  return typeof address?.host === 'string';
}

function isOpen(connection: Partial<Connection> | undefined): boolean {
  return typeof connection?.destroy === 'function';
}

/** Returns an upstream without the members for its owner only: observers may be plain JavaScript. */
export function reachedBackend({ route, backend, address, trace }: Upstream): ReachedBackend {
  return trace === undefined ? { route, backend, address } : { route, backend, address, trace };
}

/** Closes an upstream's connection, and releases it to its connector. Never throws. @returns an error if that failed */
export function releaseUpstream(upstream: Upstream, transfer: Transfer): ProxyError | undefined {
  try {
    if (!isUpstream(upstream)) return undefined;
    destroyQuietly(upstream.connection, transfer.error);
    ifRejected(upstream.release(transfer), () => undefined);
    return undefined;
  } catch (reason) {
    return ProxyError.from(reason, 'connector: release');
  }
}

interface AttemptOptions {
  readonly address: Endpoint;
  readonly options: ConnectDialOptions;
  readonly earlier: Attempt | undefined;
}

/** One dial of a session, until the session ends. */
class Attempt implements Dial {
  readonly done: Promise<Connection>;
  readonly earlier: Attempt | undefined;
  readonly #owner: Connecting;
  readonly #dial: Dial;
  readonly #address: Endpoint;
  /** The resulting connection: closed when the session ends, regardless of its holder. */
  #connection: Connection | undefined;
  /** Whether the dial has neither failed nor succeeded. */
  isPending = true;
  /** Whether the connection is established and its upgrade is in progress. */
  isUpgrading = false;
  #cutBy: ProxyError | undefined;
  /** Only used by dials with an upgrade. */
  #aborter: AbortController | undefined;

  constructor(owner: Connecting, dial: Dial, { address, options, earlier }: AttemptOptions) {
    this.earlier = earlier;
    this.#owner = owner;
    this.#dial = dial;
    this.#address = address;
    const onFailed = (reason: unknown): never => this.#failed(reason);
    this.done =
      options.upgrade === undefined
        ? dial.done.then((connection) => this.#reached(connection), onFailed)
        : this.#upgraded(options.upgrade, options.timeoutMs).catch(onFailed);
  }

  /** Whether this is the only dial, and `connection` its result. */
  isAllThatReached(connection: Connection): boolean {
    return this.#connection === connection && this.earlier === undefined;
  }

  cut(reason: ProxyError): void {
    this.#cutBy ??= reason;
    try {
      this.#dial.cut(reason);
    } catch {
      // A bug in the transport: the resulting connection is closed anyway.
    }
    this.#aborter?.abort(reason);
  }

  /** Ends the dial: the session has ended, or the dial is no longer needed. */
  end(reason: ProxyError): void {
    this.cut(reason);
    destroyQuietly(this.#connection, reason);
  }

  #reached(connection: Connection): Connection {
    if (!isOpen(connection)) {
      this.#mayBeForgotten();
      throw new ProxyError('INTERNAL', `${this.#part}: expected a connection, found ${foundPart(connection)}`);
    }
    this.#connection = connection;
    this.isPending = false;
    const reason = this.#owner.abandoned ?? this.#cutBy;
    if (reason === undefined) return connection;
    this.#mayBeForgotten();
    connection.destroy(reason);
    throw reason;
  }

  async #upgraded(upgrade: NonNullable<ConnectDialOptions['upgrade']>, timeoutMs: number): Promise<Connection> {
    const endsAt = performance.now() + timeoutMs;
    const aborter = new AbortController();
    this.#aborter = aborter;
    const connection = this.#reached(await this.#dial.done);
    // The dial remains pending until the upgrade is done.
    this.isPending = true;
    this.isUpgrading = true;
    try {
      const within = { timeoutMs: Math.max(0, endsAt - performance.now()), signal: aborter.signal };
      return this.#reached(await upgrade(connection, within));
    } catch (reason) {
      connection.destroy();
      throw reason;
    }
  }

  /** The part to name in the error of a failure. */
  get #part(): string {
    return this.isUpgrading ? 'upgrade' : 'transport';
  }

  /** Reports the failure, unless the dial was cut: that is no failure. */
  #failed(reason: unknown): never {
    this.#mayBeForgotten();
    this.isPending = false;
    const { abandoned } = this.#owner;
    if (abandoned !== undefined) throw abandoned;
    if (this.#cutBy !== undefined) throw this.#cutBy;
    const error = recognisedShortage(ProxyError.from(reason, this.#part));
    this.#owner.failed(this.#address, error);
    throw error;
  }

  /** Marks the rejection as handled, for connectors that do not await all of their dials. */
  #mayBeForgotten(): void {
    this.done.catch(() => undefined);
  }
}

/** Closes a connection of any transport, and ignores errors. */
export function destroyQuietly(connection: Connection | undefined, reason?: ProxyError): void {
  try {
    connection?.destroy(reason);
  } catch {
    // Nothing else can be done.
  }
}
