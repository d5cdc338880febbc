import type { Accepted, Hello } from './connection.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { ProxyError } from '../errors.ts';
import type { Observer } from '../observe.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { ConnectContext, ConnectDialOptions } from './stages.ts';
import type { Connection, Dial, Transport } from '../transport/transport.ts';

/** What a session dials with, and what for. */
export interface ConnectingOptions {
  /** That of the listener: what it dials is what it can splice. */
  readonly transport: Pick<Transport, 'dial'>;
  /** Told of each dial that fails. */
  readonly observer: Observer;
  readonly connection: Accepted;
  readonly hello: Hello;
  readonly route: Route;
}

/** A session's attempts to reach a backend: makes, counts and reports every dial, and owns whatever the dials reached. */
export class Connecting implements ConnectContext {
  readonly #options: ConnectingOptions;
  /** Dials so far. */
  attempts = 0;
  /** The address dialled last; absent before the first dial. */
  dialled: Endpoint | undefined;
  /** Why nobody waits for a backend any more. */
  abandoned: ProxyError | undefined;
  /** The dial made last; each refers to the one before. */
  #newest: Attempt | undefined;
  #aborter: AbortController | undefined;

  constructor(options: ConnectingOptions) {
    this.#options = options;
  }

  get connection(): Accepted {
    return this.#options.connection;
  }

  get hello(): Hello {
    return this.#options.hello;
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
    const dial = this.abandoned === undefined ? this.#begin(address, options) : failing(this.abandoned);
    this.#newest = new Attempt(this, dial, { address, options, earlier: this.#newest });
    return this.#newest;
  }

  /** Cuts every dial, and closes what the dials have reached. Idempotent: the first reason counts. */
  abandon(reason: ProxyError): void {
    if (this.abandoned !== undefined) return;
    this.abandoned = reason;
    this.#aborter?.abort(reason);
    for (let attempt = this.#newest; attempt !== undefined; attempt = attempt.earlier) attempt.end(reason);
  }

  /** Reports a dial that failed by itself. */
  failed(address: Endpoint, error: ProxyError): void {
    const { observer, connection, route } = this.#options;
    observer.observe({ type: 'dial.failed', connection, route, address, error });
  }

  /** A transport must not throw here; one that does is not to leave an attempt without its end. */
  #begin(address: Endpoint, options: ConnectDialOptions): Dial {
    try {
      return this.#options.transport.dial(address, options);
    } catch (reason) {
      return failing(ProxyError.from(reason));
    }
  }
}

function failing(reason: ProxyError): Dial {
  return { done: Promise.reject(reason), cut: () => undefined };
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

  cut(reason: ProxyError): void {
    this.#cutBy ??= reason;
    this.#dial.cut(reason);
    this.#aborter?.abort(reason);
  }

  /** The session has ended, or nobody waits for the dial. */
  end(reason: ProxyError): void {
    this.cut(reason);
    this.#connection?.destroy(reason);
  }

  #reached(connection: Connection): Connection {
    this.#connection = connection;
    const reason = this.#owner.abandoned ?? this.#cutBy;
    if (reason === undefined) return connection;
    connection.destroy(reason);
    throw reason;
  }

  async #upgraded(upgrade: NonNullable<ConnectDialOptions['upgrade']>, timeoutMs: number): Promise<Connection> {
    const endsAt = performance.now() + timeoutMs;
    const aborter = new AbortController();
    this.#aborter = aborter;
    const connection = this.#reached(await this.#dial.done);
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
    // For a connector that does not wait for all of its dials: nobody else must hear of this one as unhandled.
    this.done.catch(() => undefined);
    const { abandoned } = this.#owner;
    if (abandoned !== undefined) throw abandoned;
    if (this.#cutBy !== undefined) throw this.#cutBy;
    const error = ProxyError.from(reason);
    this.#owner.failed(this.#address, error);
    throw error;
  }
}
