import type { Accepted, Hello, Upstream } from './connection.ts';
import { formatDuration } from '../duration.ts';
import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { ProxyError } from '../errors.ts';
import { failedDial, recognisedShortage } from '../transport/dial-failure.ts';
import type { Observer, ReachedBackend } from '../observe.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { ConnectContext, ConnectDialOptions } from './stages.ts';
import type { Connection, Dial, Transfer, Transport } from '../transport/transport.ts';

/** What a session dials with. */
export interface DialStages {
  /** That of the listener: what it dials is what it can splice. */
  readonly transport: Pick<Transport, 'dial'>;
  /** Told of each dial that fails. */
  readonly observer: Observer;
}

/** What is known of a connection from its hello on; makes, counts and reports every dial, and owns whatever the dials reached. */
export class Connecting implements ConnectContext {
  readonly connection: Accepted;
  readonly hello: Hello;
  /** When the hello was complete. */
  readonly helloAt: number = performance.now();
  /** Absent until it is resolved, and when there is none. */
  route: Route | undefined;
  /** Dials so far. */
  attempts = 0;
  /** Backends that were reached and have not answered. */
  retries = 0;
  /** The address dialled last; absent before the first dial. */
  dialled: Endpoint | undefined;
  /** Why nobody waits for a backend any more. */
  abandoned: ProxyError | undefined;
  /** Present once a backend was reached. */
  upstream: Upstream | undefined;
  /** What observers see of it. */
  shown: ReachedBackend | undefined;
  /** When it was reached. */
  connectedAt: number | undefined;
  /** Told of each backend that is reached; nobody when absent. */
  onReached: (() => void) | undefined;
  readonly #stages: DialStages;
  /** The dial made last; each refers to the one before. */
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
    this.attempts += 1;
    this.dialled = address;
    const dial = this.abandoned === undefined ? this.#begin(address, options) : failedDial(this.abandoned);
    this.#newest = new Attempt(this, dial, { address, options, earlier: this.#newest });
    return this.#newest;
  }

  /** Whether a dial is under way. */
  get isDialling(): boolean {
    return this.#hasAttempt(({ isPending }) => isPending);
  }

  /** Whether an address that was dialled has not answered; an upgrade keeps to its time by itself. */
  get awaitsAddress(): boolean {
    return this.#hasAttempt(({ isPending, isUpgrading }) => isPending && !isUpgrading);
  }

  /**
   * A connector has settled with `upstream`.
   *
   * @returns when
   * @throws Error when that is none: connectors may be JavaScript
   */
  reached(upstream: Upstream): number {
    if (!isUpstream(upstream)) throw new TypeError('expected an upstream with a connection, found none');
    this.upstream = upstream;
    this.shown = reachedBackend(upstream);
    // The usual case: one dial, and the session owns what it reached. Nothing else of it is kept while bytes are carried.
    if (this.#newest?.isAllThatReached(upstream.connection) === true) this.#newest = undefined;
    this.connectedAt = performance.now();
    return this.connectedAt;
  }

  /** The upstream has ended without an answer: it is not the session's any more. */
  unanswered(): void {
    this.upstream = undefined;
    this.shown = undefined;
    this.connectedAt = undefined;
    this.retries += 1;
  }

  /** Why the client left, and what it was waiting for until then. */
  closedWhileConnecting(error: ProxyError): ProxyError {
    const waited = formatDuration(performance.now() - this.helloAt);
    const cause =
      this.dialled === undefined
        ? 'before a backend was dialled'
        : this.isDialling
          ? `while ${formatEndpoint(this.dialled)} had not answered`
          : `after the dial to ${formatEndpoint(this.dialled)} had ended`;
    return new ProxyError(error.code, `${error.message}; ${waited} after its hello, ${cause}`, { cause: error });
  }

  /** Cuts every dial, and closes what the dials have reached. Idempotent: the first reason counts. */
  abandon(reason: ProxyError): void {
    if (this.abandoned !== undefined) return;
    this.abandoned = reason;
    this.#aborter?.abort(reason);
    for (let attempt = this.#newest; attempt !== undefined; attempt = attempt.earlier) attempt.end(reason);
  }

  /** The session is over: everything is closed and given back. Never throws. @returns what a connector did wrong at that */
  end(transfer: Transfer): ProxyError | undefined {
    this.abandon(transfer.error ?? OVER);
    return this.upstream === undefined ? undefined : releaseUpstream(this.upstream, transfer);
  }

  /** Reports a dial that failed by itself. */
  failed(address: Endpoint, error: ProxyError): void {
    const { connection, route } = this;
    if (route !== undefined) this.#stages.observer.observe({ type: 'dial.failed', connection, route, address, error });
  }

  #hasAttempt(isSelected: (attempt: Attempt) => boolean): boolean {
    for (let attempt = this.#newest; attempt !== undefined; attempt = attempt.earlier)
      if (isSelected(attempt)) return true;
    return false;
  }

  /** A transport must not throw here; one that does is not to leave an attempt without its end. */
  #begin(address: Endpoint, options: ConnectDialOptions): Dial {
    try {
      return this.#stages.transport.dial(address, options);
    } catch (reason) {
      return failedDial(ProxyError.from(reason, 'transport'));
    }
  }
}

/** The same for all: to make an error takes longer than all else that ends a session. */
const OVER = new ProxyError('INTERNAL', 'the session is over');

function isUpstream(value: unknown): value is Upstream {
  if (typeof value !== 'object' || value === null) return false;
  const { connection, address, backend, route } = value as Partial<Upstream>;
  return [connection, address, backend, route].every((part) => typeof part === 'object' && part !== null);
}

/** Without what its owner alone may close or give back: observers may be JavaScript. */
export function reachedBackend({ route, backend, address, trace }: Upstream): ReachedBackend {
  return trace === undefined ? { route, backend, address } : { route, backend, address, trace };
}

/** Closes what a connector gave, and gives it back to the connector. Never throws. @returns what went wrong there */
export function releaseUpstream(upstream: Upstream, transfer: Transfer): ProxyError | undefined {
  if (!isUpstream(upstream)) return undefined;
  try {
    upstream.connection.destroy(transfer.error);
    const response: unknown = upstream.release(transfer);
    if (response instanceof Promise) response.catch(() => undefined);
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
  /** What was reached: closed when the session ends, whoever has it then. */
  #connection: Connection | undefined;
  /** Neither failed nor done. */
  isPending = true;
  /** Connected, with something to do after it. */
  isUpgrading = false;
  #cutBy: ProxyError | undefined;
  /** Only for a dial with something to do after it. */
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

  /** Whether this is the only dial, and `connection` what it reached. */
  isAllThatReached(connection: Connection): boolean {
    return this.#connection === connection && this.earlier === undefined;
  }

  cut(reason: ProxyError): void {
    this.#cutBy ??= reason;
    try {
      this.#dial.cut(reason);
    } catch {
      // A bug of the transport: what the dial reaches is closed all the same.
    }
    this.#aborter?.abort(reason);
  }

  /** The session has ended, or nobody waits for the dial. */
  end(reason: ProxyError): void {
    this.cut(reason);
    destroyQuietly(this.#connection, reason);
  }

  #reached(connection: Connection): Connection {
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
    // Its backend has not answered before the upgrade is done.
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

  /** Reported, unless it was given up: then nothing has failed. */
  #failed(reason: unknown): never {
    this.#mayBeForgotten();
    this.isPending = false;
    const { abandoned } = this.#owner;
    if (abandoned !== undefined) throw abandoned;
    if (this.#cutBy !== undefined) throw this.#cutBy;
    const error = recognisedShortage(ProxyError.from(reason));
    this.#owner.failed(this.#address, error);
    throw error;
  }

  /** For a connector that does not wait for all of its dials: nobody else must hear of this one as unhandled. */
  #mayBeForgotten(): void {
    this.done.catch(() => undefined);
  }
}

/** Closes a connection of whatever transport: one that throws at that is as good as closed. */
export function destroyQuietly(connection: Connection | undefined, reason?: ProxyError): void {
  try {
    connection?.destroy(reason);
  } catch {
    // Nobody can do more for it.
  }
}
