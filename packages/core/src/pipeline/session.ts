import type { Admission } from './admission.ts';
import { Connecting } from './connecting.ts';
import type { Accepted, Hello, Upstream } from './connection.ts';
import type { Deadline, Deadlines } from './deadlines.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { ProxyError } from '../errors.ts';
import type { Limits } from './limits.ts';
import type { ListNode } from './linked-list.ts';
import type { ClosedConnection, Observer } from '../observe.ts';
import type { Route } from '../routes/route.ts';
import { readHello } from './sniff.ts';
import type { Sniffed } from './sniff.ts';
import type { Connector, Resolver, Sniffer } from './stages.ts';
import type { Connection, Progress, Splice, Transfer, Transport } from '../transport/transport.ts';

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
  readonly transport: Pick<Transport, 'dial' | 'splice'>;
  readonly limits: Pick<Limits, 'helloTimeoutMs' | 'helloMaxBytes' | 'idleTimeoutMs' | 'halfCloseTimeoutMs'>;
  readonly admission: Admission;
  readonly observer: Observer;
}

/** Where a connection is in its life. */
export type SessionState = 'sniffing' | 'connecting' | 'splicing';

/** A live connection as an operator sees it. */
export interface LiveConnection extends Omit<ClosedConnection, 'transfer' | 'closedAt' | 'error'>, Progress {
  /** Where it is in its life. */
  readonly state: SessionState;
}

/** What all sessions of a proxy share. */
export interface SessionControl {
  readonly stages: Stages;
  /** Those who still owe their hello. */
  readonly helloDeadlines: Deadlines<Session>;
  /** The session at `node` is over: everything has been said of it. */
  onClosed(node: ListNode<Session>): void;
}

/**
 * One connection on its way through the stages: owns the downstream until the splice takes it, learns facts in one order, and
 * ends with exactly one `connection.closed`.
 */
export class Session {
  readonly connection: Accepted;
  readonly #control: SessionControl;
  #downstream: Connection;
  #helloDeadline: Deadline<Session> | undefined;
  #cutReason: ProxyError | undefined;
  #hello: Hello | undefined;
  #helloAt: number | undefined;
  #route: Route | undefined;
  /** From the hello on: every dial that was made. */
  #connecting: Connecting | undefined;
  #upstream: Upstream | undefined;
  #connectedAt: number | undefined;
  #splice: Splice | undefined;

  constructor(control: SessionControl, downstream: Connection, connection: Accepted) {
    this.#control = control;
    this.#downstream = downstream;
    this.connection = connection;
  }

  get live(): LiveConnection {
    const { bytesUp, bytesDown, lastByteAt } = this.#splice ?? {
      bytesUp: 0,
      bytesDown: 0,
      lastByteAt: this.connection.at,
    };
    return { state: this.#state, ...this.#facts, bytesUp, bytesDown, lastByteAt };
  }

  /** Ends the connection now, wherever it is; its code is that of `reason`. Idempotent. */
  cut(reason: ProxyError): void {
    if (this.#splice !== undefined) {
      this.#splice.cut(reason);
      return;
    }
    this.#cutReason ??= reason;
    this.#connecting?.abandon(reason);
    this.#downstream.destroy(this.#cutReason);
  }

  /** The hello was not whole in time. */
  onHelloTimeout(): void {
    const { helloTimeoutMs } = this.#control.stages.limits;
    this.cut(new ProxyError('SNIFF_TIMEOUT', `hello not whole after ${helloTimeoutMs} ms`));
  }

  /**
   * From accept to close. Never rejects.
   *
   * @param node its own, given back when it has landed
   */
  async run(node: ListNode<Session>): Promise<void> {
    const { stages, helloDeadlines } = this.#control;
    stages.observer.observe({ type: 'connection.accepted', connection: this.connection });
    this.#helloDeadline = helloDeadlines.begin(this, this.connection.at);
    let transfer: Transfer;
    try {
      // A call of its own: while the splice goes on, nothing of what led to it is kept.
      const splice = await this.#reach();
      transfer = splice === undefined ? this.#leftWithoutAWord() : await splice.done;
    } catch (reason) {
      transfer = this.#failed(reason);
    }
    this.#end(transfer);
    this.#control.onClosed(node);
  }

  /** Accept to splice: the stages in their order. `undefined` when the client left without a word. */
  async #reach(): Promise<Splice | undefined> {
    const greeted = await this.#meet();
    if (greeted === undefined) return undefined;
    this.#met(greeted);
    const route = this.#resolve(greeted);
    const upstream = await this.#connect(route, greeted.hello);
    this.#connected(upstream);
    return this.#carryBytes(upstream, greeted.head);
  }

  #meet(): Promise<Sniffed | Greeted | undefined> {
    const { stages } = this.#control;
    if ('greeter' in stages) return stages.greeter.greet(this.#downstream, this.connection);
    return readHello(this.#downstream, stages.sniffer, stages.limits.helloMaxBytes);
  }

  #met(greeted: Sniffed | Greeted): void {
    const { stages } = this.#control;
    const { hello } = greeted;
    this.#endHelloDeadline();
    if ('downstream' in greeted) this.#downstream = greeted.downstream;
    stages.admission.helloComplete();
    this.#hello = hello;
    this.#helloAt = performance.now();
    stages.observer.observe({ type: 'connection.sniffed', connection: this.connection, hello, at: this.#helloAt });
  }

  #resolve(sniffed: Sniffed): Route {
    const { resolver, observer } = this.#control.stages;
    const route = resolver.resolve(sniffed.hello, this.connection);
    if (route === undefined) throw this.#turnedAway(sniffed);
    this.#route = route;
    observer.observe({ type: 'connection.routed', connection: this.connection, route });
    return route;
  }

  /** Tells the client, as far as the kernel takes it at once: nobody is waited for. */
  #turnedAway({ hello, rejections }: Sniffed): ProxyError {
    const error = unroutable(hello);
    const farewell = rejections?.[error.code];
    if (farewell !== undefined) this.#downstream.write(farewell).catch(() => undefined);
    return error;
  }

  #connect(route: Route, hello: Hello): Promise<Upstream> {
    const { transport, observer } = this.#control.stages;
    const connecting = new Connecting({ transport, observer, connection: this.connection, hello, route });
    this.#connecting = connecting;
    this.#downstream.onReset = (error) => this.cut(error);
    return this.#control.stages.connector.connect(route, connecting);
  }

  #connected(upstream: Upstream): void {
    this.#upstream = upstream;
    this.#connectedAt = performance.now();
    const { connection } = this;
    this.#control.stages.observer.observe({
      type: 'connection.connected',
      connection,
      upstream,
      at: this.#connectedAt,
    });
  }

  #carryBytes({ connection }: Upstream, head: Uint8Array): Splice {
    const { transport, limits } = this.#control.stages;
    const { idleTimeoutMs, halfCloseTimeoutMs } = limits;
    const splice = transport.splice(this.#downstream, connection, { head, idleTimeoutMs, halfCloseTimeoutMs });
    this.#splice = splice;
    // Cut in the very moment in which the dial succeeded: there was no splice yet to be cut.
    if (this.#cutReason !== undefined) splice.cut(this.#cutReason);
    return splice;
  }

  /** A health check: it has its answer, which is that somebody listens. */
  #leftWithoutAWord(): Transfer {
    // It did not leave: it was silent until somebody ended it.
    if (this.#cutReason !== undefined) throw this.#cutReason;
    this.#downstream.destroy();
    return { bytesUp: 0, bytesDown: 0 };
  }

  /** The only node that classifies what went wrong before the splice. */
  #failed(reason: unknown): Transfer {
    const error = this.#cutReason ?? ProxyError.from(reason);
    this.#downstream.destroy(error);
    return { bytesUp: 0, bytesDown: 0, error };
  }

  #end(transfer: Transfer): void {
    const { stages } = this.#control;
    this.#endHelloDeadline();
    stages.admission.released(this.#hello !== undefined);
    this.#upstream?.release(transfer);
    stages.observer.observe({ type: 'connection.closed', closed: this.#closed(transfer) });
  }

  #endHelloDeadline(): void {
    if (this.#helloDeadline === undefined) return;
    this.#control.helloDeadlines.end(this.#helloDeadline);
    this.#helloDeadline = undefined;
  }

  get #state(): SessionState {
    if (this.#splice !== undefined) return 'splicing';
    return this.#hello === undefined ? 'sniffing' : 'connecting';
  }

  /** Written out, beside {@link #facts}: to spread those into it took 3 µs of each connection. */
  #closed(transfer: Transfer): ClosedConnection {
    return {
      connection: this.connection,
      hello: this.#hello,
      helloAt: this.#helloAt,
      route: this.#route,
      attempts: this.#attempts,
      dialled: this.#dialled,
      upstream: this.#upstream,
      connectedAt: this.#connectedAt,
      transfer,
      closedAt: performance.now(),
      error: transfer.error,
    };
  }

  get #facts(): Omit<ClosedConnection, 'transfer' | 'closedAt'> {
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

  get #attempts(): number {
    return this.#connecting?.attempts ?? 0;
  }

  get #dialled(): Endpoint | undefined {
    return this.#upstream?.address ?? this.#connecting?.dialled;
  }
}

function unroutable({ serverName, protocol }: Hello): ProxyError {
  return serverName === undefined
    ? new ProxyError('NO_SERVER_NAME', `the ${protocol} hello names no server`)
    : new ProxyError('ROUTE_NOT_FOUND', `no route for ${serverName}`);
}
