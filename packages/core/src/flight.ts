import type { Admission } from './admission.ts';
import type { Accepted, Hello, Upstream } from './connection.ts';
import type { Endpoint } from './endpoint.ts';
import { ProxyError } from './errors.ts';
import type { Limits } from './limits.ts';
import type { ClosedConnection, Observer } from './observe.ts';
import type { Route } from './route.ts';
import { readHello } from './sniff.ts';
import type { Sniffed } from './sniff.ts';
import type { Connector, Resolver, Sniffer } from './stages.ts';
import type { Connection, Progress, Splice, Transfer, Transport } from './transport.ts';

/** What came of meeting a client. */
export interface Greeted extends Sniffed {
  /** Goes on instead of the connection that was accepted: that one, or what became of it when TLS was ended on it. */
  readonly downstream: Connection;
}

/**
 * Meets a client in another way than by reading its hello: where the listener alone says what follows, so that there is nothing
 * to read, or where the proxy itself ends TLS.
 */
export interface Greeter {
  /**
   * `undefined` when the client left without a word, as health checks do. Rejects with a `ProxyError`. The deadline is the caller's: it destroys `connection`, and what waits for it must then reject.
   *
   * @param connection stays the caller's until this resolves
   */
  greet(connection: Connection, from: Accepted): Promise<Greeted | undefined>;
}

/** What a connection passes through, and what it may spend: its hello is read by a sniffer, or a greeter meets the client. */
export type Stages = LaterStages & ({ readonly sniffer: Sniffer } | { readonly greeter: Greeter });

interface LaterStages {
  readonly resolver: Resolver;
  readonly connector: Connector;
  readonly transport: Pick<Transport, 'splice'>;
  readonly limits: Pick<Limits, 'helloTimeoutMs' | 'helloMaxBytes' | 'idleTimeoutMs'>;
  readonly admission: Admission;
  readonly observer: Observer;
}

/** Where a connection is in its life. */
export type FlightState = 'sniffing' | 'connecting' | 'splicing';

/** A live connection as an operator sees it. */
export interface LiveConnection extends Omit<ClosedConnection, 'transfer' | 'closedAt' | 'error'>, Progress {
  readonly state: FlightState;
}

/**
 * One connection on its way through the stages: owns the downstream until the splice takes it, learns facts in one order, and
 * ends with exactly one `connection.closed`.
 */
export class Flight {
  readonly connection: Accepted;
  readonly #stages: Stages;
  #downstream: Connection;
  readonly #aborter = new AbortController();
  #cutReason: ProxyError | undefined;
  #hello: Hello | undefined;
  #helloAt: number | undefined;
  #route: Route | undefined;
  #attempts = 0;
  #dialled: Endpoint | undefined;
  #upstream: Upstream | undefined;
  #connectedAt: number | undefined;
  #splice: Splice | undefined;

  constructor(stages: Stages, downstream: Connection, connection: Accepted) {
    this.#stages = stages;
    this.#downstream = downstream;
    this.connection = connection;
  }

  get live(): LiveConnection {
    const { bytesUp, bytesDown, lastByteAt } = this.#splice ?? {
      bytesUp: 0,
      bytesDown: 0,
      lastByteAt: this.connection.at,
    };
    return { state: this.#state, ...this.#facts(), bytesUp, bytesDown, lastByteAt };
  }

  /** Ends the connection now, wherever it is; its code is that of `reason`. Idempotent. */
  cut(reason: ProxyError): void {
    if (this.#splice !== undefined) {
      this.#splice.cut(reason);
      return;
    }
    this.#cutReason ??= reason;
    this.#aborter.abort(this.#cutReason);
    this.#downstream.destroy(this.#cutReason);
  }

  /** From accept to close. Never rejects. */
  async fly(): Promise<void> {
    const { observer, admission } = this.#stages;
    observer.observe({ type: 'connection.accepted', connection: this.connection });
    const transfer = await this.#carry().catch((reason: unknown) => this.#failed(reason));
    admission.left(this.#hello !== undefined);
    this.#upstream?.release(transfer);
    observer.observe({ type: 'connection.closed', closed: this.#closed(transfer) });
  }

  async #carry(): Promise<Transfer> {
    const greeted = await this.#greet();
    if (greeted === undefined) return this.#leftWithoutAWord();
    const { hello, head } = greeted;
    const route = this.#resolve(hello);
    const upstream = await this.#connect(route, hello);
    return this.#carryBytes(upstream, head);
  }

  async #greet(): Promise<Greeted | undefined> {
    const { limits, admission, observer } = this.#stages;
    const { helloTimeoutMs } = limits;
    const late = (): void => this.cut(new ProxyError('SNIFF_TIMEOUT', `hello not whole after ${helloTimeoutMs} ms`));
    const timer = setTimeout(late, helloTimeoutMs);
    const greeted = await this.#meet().finally(() => clearTimeout(timer));
    if (greeted === undefined) return undefined;
    const { hello, downstream } = greeted;
    this.#downstream = downstream;
    admission.greeted();
    this.#hello = hello;
    this.#helloAt = performance.now();
    observer.observe({ type: 'connection.sniffed', connection: this.connection, hello, at: this.#helloAt });
    return greeted;
  }

  async #meet(): Promise<Greeted | undefined> {
    const stages = this.#stages;
    if ('greeter' in stages) return stages.greeter.greet(this.#downstream, this.connection);
    const sniffed = await readHello(this.#downstream, stages.sniffer, stages.limits.helloMaxBytes);
    return sniffed && { ...sniffed, downstream: this.#downstream };
  }

  #resolve(hello: Hello): Route {
    const { resolver, observer } = this.#stages;
    const route = resolver.resolve(hello, this.connection);
    if (route === undefined) throw unroutable(hello);
    this.#route = route;
    observer.observe({ type: 'connection.routed', connection: this.connection, route });
    return route;
  }

  async #connect(route: Route, hello: Hello): Promise<Upstream> {
    const { connector, observer } = this.#stages;
    this.#downstream.onReset = (error) => this.cut(error);
    const upstream = await connector.connect(route, {
      connection: this.connection,
      hello,
      signal: this.#aborter.signal,
      dialing: (_backend, address) => {
        this.#attempts += 1;
        this.#dialled = address;
      },
    });
    this.#upstream = upstream;
    this.#connectedAt = performance.now();
    observer.observe({ type: 'connection.connected', connection: this.connection, upstream, at: this.#connectedAt });
    return upstream;
  }

  #carryBytes({ connection }: Upstream, head: Uint8Array): Promise<Transfer> {
    const { transport, limits } = this.#stages;
    this.#splice = transport.splice(this.#downstream, connection, { head, idleTimeoutMs: limits.idleTimeoutMs });
    // Cut in the very moment in which the dial succeeded: there was no splice yet to be cut.
    if (this.#cutReason !== undefined) this.#splice.cut(this.#cutReason);
    return this.#splice.done;
  }

  /** A health check: it has its answer, which is that somebody listens. */
  #leftWithoutAWord(): Transfer {
    // It did not leave: it was silent until somebody ended it.
    if (this.#cutReason !== undefined) throw this.#cutReason;
    this.#downstream.destroy();
    return { bytesUp: 0, bytesDown: 0 };
  }

  /** The only place that classifies what went wrong before the splice. */
  #failed(reason: unknown): Transfer {
    const error = this.#cutReason ?? ProxyError.from(reason);
    this.#downstream.destroy(error);
    return { bytesUp: 0, bytesDown: 0, error };
  }

  get #state(): FlightState {
    if (this.#splice !== undefined) return 'splicing';
    return this.#hello === undefined ? 'sniffing' : 'connecting';
  }

  #closed(transfer: Transfer): ClosedConnection {
    return { ...this.#facts(), transfer, closedAt: performance.now(), error: transfer.error };
  }

  #facts(): Omit<ClosedConnection, 'transfer' | 'closedAt'> {
    return {
      connection: this.connection,
      hello: this.#hello,
      helloAt: this.#helloAt,
      route: this.#route,
      attempts: this.#attempts,
      dialled: this.#dialled,
      upstream: this.#upstream,
      connectedAt: this.#connectedAt,
    };
  }
}

function unroutable({ serverName, protocol }: Hello): ProxyError {
  return serverName === undefined
    ? new ProxyError('NO_SERVER_NAME', `the ${protocol} hello names no server`)
    : new ProxyError('ROUTE_NOT_FOUND', `no route for ${serverName}`);
}
