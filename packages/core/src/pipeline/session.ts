import type { Admission } from './admission.ts';
import {
  carriedBy,
  failedWith,
  lastByteOf,
  NOTHING_CARRIED,
  resolved,
  stallOf,
  transferOf,
} from './checked-results.ts';
import type { LingeringClose } from './lingering-close.ts';
import { Connecting, destroyQuietly, reachedBackend, releaseUpstream } from './connecting.ts';
import { withPreface } from './connection.ts';
import type { Accepted, Hello, Upstream } from './connection.ts';
import { Deadline } from './deadlines.ts';
import type { Deadlines } from './deadlines.ts';
import { ProxyError } from '../errors.ts';
import { FilteredClient } from './filter.ts';
import type { ConnectionFilter } from './filter.ts';
import { foundPart } from '../lifecycle/part-shape.ts';
import { lifetimes } from './lifetimes.ts';
import type { MaxAges } from './max-ages.ts';
import type { Limits } from './limits.ts';
import type { Linked } from './linked-list.ts';
import type { ClosedConnection, Observer } from '../observe.ts';
import type { Route } from '../routes/route.ts';
import { CLOSED, connectingOf, Opening, Reaching, resendOf, Splicing } from './session-phases.ts';
import type { Resend, SessionPhase } from './session-phases.ts';
import { helloTimeoutError, readHello } from './sniff.ts';
import type { Sniffed } from './sniff.ts';
import type { Connector, Resolver, Sniffer } from './stages.ts';
import { hasDone } from '../transport/dial-failure.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Connection, Progress, Splice, Stall, Transfer, Transport } from '../transport/transport.ts';

/** The stages of a connection, in order, with its limits. */
export interface Stages {
  /** Returns the filters of a listener, in order; no filters when absent. Called once per connection. */
  filtersOf?(listener: string): readonly ConnectionFilter[];
  /** Recognises the client's protocol. */
  readonly sniffer: Sniffer;
  /** Finds the route. */
  readonly resolver: Resolver;
  /** Connects to a backend of the route. */
  readonly connector: Connector;
  /** The transport of the listeners: a session dials and splices with it. */
  readonly transport: Pick<Transport, 'dial' | 'splice'>;
  readonly limits: Pick<
    Limits,
    | 'helloTimeoutMs'
    | 'helloMaxBytes'
    | 'pendingHellos'
    | 'connectTimeoutMs'
    | 'idleTimeoutMs'
    | 'halfCloseTimeoutMs'
    | 'maxAgeMs'
  >;
  /** Enforces the limits on numbers of connections; shared by all sessions. */
  readonly admission: Admission;
  /** Receives every event. */
  readonly observer: Observer;
  /** Prefix of connection ids, which makes them unique when several processes share a log. None when absent. */
  readonly idPrefix?: string;
}

/** Phase of a connection. */
export type SessionState = 'filtering' | 'sniffing' | 'connecting' | 'splicing';

/** A live connection in the operator's view. */
export interface LiveConnection extends Omit<ClosedConnection, 'transfer' | 'closedAt' | 'error'>, Progress {
  /** Current phase. */
  readonly state: SessionState;
}

/** State shared by all sessions of a proxy. */
export interface SessionControl {
  readonly stages: Stages;
  /** For sessions with an incomplete hello. */
  readonly helloDeadlines: Deadlines<Session>;
  /** Returns the deadlines for connectors that exceed the connect timeout of a route, in milliseconds. */
  connectDeadlines(timeoutMs: number): Deadlines<Session>;
  /** For transports that do not end a splice after a cut. */
  readonly cutDeadlines: Deadlines<Session>;
  /** For connections with a maximum age. */
  readonly ages: MaxAges;
  /** For clients that were sent rejection bytes. */
  readonly lingering: LingeringClose;
  /** Called at the end of `session`, after its last event. */
  onClosed(session: Session): void;
}

/**
 * One connection on its way through the stages. It owns both ends from accept to close, and ends with exactly one
 * `connection.closed`, whatever the called parts do.
 */
export class Session implements Linked<Session> {
  readonly connection: Accepted;
  earlier: Session | undefined;
  later: Session | undefined;
  readonly #control: SessionControl;
  /** Deadline of the current phase: of the hello, of a connector, or of a splice that was cut. */
  readonly #deadline = new Deadline<Session>(this);
  #downstream: Connection;
  /** Whether rejection bytes were sent to the client. */
  #isReported = false;
  /** The client address whose connection count includes this session; absent until the filters have run. */
  #countedHost: string | undefined;
  #phase: SessionPhase = new Opening();

  constructor(control: SessionControl, downstream: Connection, connection: Accepted) {
    this.#control = control;
    this.#downstream = downstream;
    this.connection = connection;
  }

  /** Time of the last byte from either side, in monotonic milliseconds; the time of accept before the splice. */
  get lastByteAt(): number {
    const of = this.#phase.kind === 'splicing' ? lastByteOf(this.#phase.splice) : undefined;
    return of ?? this.connection.at;
  }

  /** Returns the end that waits for its network, and why, if the transport can tell; `undefined` before the splice. */
  stalled(): (Stall & { readonly address: Endpoint }) | undefined {
    if (this.#phase.kind !== 'splicing') return undefined;
    const { splice, connecting } = this.#phase;
    const stall = stallOf(splice);
    if (stall === undefined) return undefined;
    const address = stall.side === 'downstream' ? this.connection.remote : connecting.shown?.address;
    return address === undefined ? undefined : { ...stall, address };
  }

  /** The backend of the splice, and the time of its connect; `undefined` before the splice. */
  get reached(): Pick<Connecting, 'upstream' | 'connectedAt'> | undefined {
    return this.#phase.kind === 'splicing' ? this.#phase.connecting : undefined;
  }

  /**
   * Calls `see` for each backend that the session connects to from now on; earlier watchers stay. No effect if it
   * cannot connect to another one.
   */
  watchReached(see: (reached: Session['reached'], session: Session) => void): void {
    const connecting = this.#reaching;
    if (connecting === undefined) return;
    const { onReached: before } = connecting;
    connecting.onReached = () => {
      before?.();
      see(connecting, this);
    };
  }

  /** The connect in progress, or the one that a retry may still start; `undefined` if there is none. */
  get #reaching(): Connecting | undefined {
    const phase = this.#phase;
    if (phase.kind === 'connecting') return phase.connecting;
    if (phase.kind !== 'splicing' || phase.resend === undefined) return undefined;
    return performance.now() < phase.resend.retry.untilMs ? phase.connecting : undefined;
  }

  /** Bytes carried so far. The object is updated in place and must not be kept: for scans over many sessions. */
  get carried(): Pick<Progress, 'bytesUp' | 'bytesDown'> {
    return this.#phase.kind === 'splicing' ? carriedBy(this.#phase.splice) : NOTHING_CARRIED;
  }

  /** A copy of the current facts; `undefined` once the session is closed. */
  get live(): LiveConnection | undefined {
    const phase = this.#phase;
    if (phase.kind === 'closed') return undefined;
    const { lastByteAt } = this;
    const { bytesUp, bytesDown } = this.carried;
    const {
      transfer: _none,
      closedAt: _never,
      ...facts
    } = closedConnection(this.connection, connectingOf(phase), NOTHING_CARRIED);
    return { state: phase.kind, ...facts, bytesUp, bytesDown, lastByteAt };
  }

  /**
   * Ends the connection in any phase, with the code of `reason`. Idempotent: the first reason counts.
   *
   * @returns `false` if the connection has already ended or been cut
   */
  cut(reason: ProxyError): boolean {
    const phase = this.#phase;
    if (phase.kind === 'closed') return false;
    if (phase.kind !== 'splicing') {
      this.#close(failedWith(reason));
      return true;
    }
    if (this.#deadline.isRunning) return false;
    this.#deadline.begin(this.#control.cutDeadlines, performance.now());
    try {
      phase.splice.cut(reason);
    } catch (thrown) {
      this.#close(failedWith(ProxyError.from(thrown, 'transport')));
    }
    return true;
  }

  /** Ends a session whose hello is incomplete at its deadline. */
  onHelloTimeout(): void {
    const phase = this.#phase;
    const received = phase.kind === 'sniffing' ? phase.received.length : 0;
    this.cut(helloTimeoutError(this.#control.stages.limits.helloTimeoutMs, received));
  }

  /**
   * Ends a session whose connector has not settled by the deadline. A dial still pending makes it the backend's fault,
   * otherwise the connector's.
   */
  onConnectTimeout(): void {
    const phase = this.#phase;
    if (phase.kind !== 'connecting') return;
    const { attempts, awaitsAddress } = phase.connecting;
    this.cut(
      awaitsAddress
        ? new ProxyError('CONNECT_TIMEOUT', `no backend reached within the connect timeout; ${attempts} dials`)
        : new ProxyError(
            'INTERNAL',
            `connector: not settled within the connect timeout, and not dialling; ${attempts} dials`,
          ),
    );
  }

  /** Ends a session whose splice did not end after a cut. */
  onCutTimeout(): void {
    const phase = this.#phase;
    if (phase.kind !== 'splicing') return;
    const { bytesUp, bytesDown } = carriedBy(phase.splice);
    const error = new ProxyError('INTERNAL', 'transport: a splice did not end after it was cut');
    this.#close({ bytesUp, bytesDown, error });
  }

  /** Runs the session from accept to the end of the splice. Call it once. Never rejects. */
  async run(filters: readonly ConnectionFilter[]): Promise<void> {
    const { stages, helloDeadlines } = this.#control;
    if (filters.length === 0) this.#countedHost = this.connection.remote.host;
    this.#deadline.begin(helloDeadlines, this.connection.at);
    try {
      stages.observer.observe({ type: 'connection.accepted', connection: this.connection });
      const sniffed = await this.#readHello(filters);
      const found = sniffed && this.#routed(sniffed);
      if (sniffed === undefined || found === undefined) {
        this.#close(NOTHING_CARRIED);
        return;
      }
      const { reaching, route } = found;
      // No time has passed since the hello: there was no `await`.
      this.#beginConnecting(reaching, route, reaching.connecting.helloAt);
      const upstream = await stages.connector.connect(route, reaching.connecting);
      this.#await(this.#carryTo(reaching, upstream, sniffed.head));
    } catch (reason) {
      this.#failed(reason);
    }
  }

  /** Uses `then` instead of `await`: a suspended async function takes a fifth of the memory of an idle connection. */
  #await(splice: Splice | undefined): void {
    if (splice === undefined) this.#close(NOTHING_CARRIED);
    else
      splice.done.then(
        (transfer) => this.#carried(transfer),
        (reason) => this.#failed(reason),
      );
  }

  #carried(transfer: Transfer): void {
    try {
      const sound = transferOf(transfer);
      const phase = this.#phase;
      if (sound.handedBack !== true || phase.kind !== 'splicing' || phase.resend === undefined) this.#close(sound);
      else void this.#tryAnother(phase.connecting, phase.resend, sound);
    } catch (reason) {
      this.#failed(reason);
    }
  }

  async #tryAnother(connecting: Connecting, resend: Resend, transfer: Transfer): Promise<void> {
    try {
      this.#await(await this.#reachAnother(connecting, resend, transfer));
    } catch (reason) {
      this.#failed(reason);
    }
  }

  #failed(reason: unknown): void {
    this.#close(failedWith(ProxyError.from(reason, this.#part)));
  }

  /** Finds the route of a complete hello. Returns `undefined` if the session was closed. */
  #routed(sniffed: Sniffed): { readonly reaching: Reaching; readonly route: Route } | undefined {
    const phase = this.#phase;
    if (phase.kind !== 'filtering' && phase.kind !== 'sniffing') return undefined;
    // A client of an unrecognised protocol is reported as sniffed only if a route takes it.
    if (sniffed.unrecognised !== undefined && this.#route(sniffed.hello) === undefined) throw sniffed.unrecognised;
    const reaching = this.#helloComplete(sniffed.hello);
    const route = this.#resolve(reaching, sniffed);
    return route && { reaching, route };
  }

  /** Retries on another backend: the former one closed without sending a byte, and only it got the head. */
  async #reachAnother(
    connecting: Connecting,
    { upstream, retry, head }: Resend,
    transfer: Transfer,
  ): Promise<Splice | undefined> {
    const reaching = new Reaching(connecting);
    this.#phase = reaching;
    connecting.unanswered();
    const { connection } = this;
    const event = { type: 'connection.retried', connection, upstream: reachedBackend(upstream) } as const;
    this.#control.stages.observer.observe({ ...event, error: transfer.error });
    if (this.#isOver(reaching)) {
      releaseUpstream(upstream, transfer);
      return undefined;
    }
    this.#beginConnecting(reaching, upstream.route, performance.now());
    return this.#carryTo(reaching, await retry.reach(transfer), head);
  }

  #carryTo(reaching: Reaching, upstream: Upstream, head: Uint8Array): Splice | undefined {
    if (this.#isOver(reaching)) {
      releaseUpstream(upstream, NOTHING_CARRIED);
      return undefined;
    }
    this.#connected(reaching, upstream);
    return this.#isOver(reaching) ? undefined : this.#carryBytes(reaching.connecting, upstream, head);
  }

  #readHello(filters: readonly ConnectionFilter[]): Promise<Sniffed | undefined> {
    const opening = this.#phase;
    if (opening.kind !== 'sniffing') return Promise.resolve(undefined);
    if (filters.length > 0) return this.#filtered(filters, opening);
    return readHello(this.#downstream, this.#control.stages, opening.received);
  }

  async #filtered(filters: readonly ConnectionFilter[], opening: Opening): Promise<Sniffed | undefined> {
    opening.kind = 'filtering';
    const client = new FilteredClient(this.#downstream, this.connection);
    const hello = await client.run(filters).finally(() => {
      this.#downstream = client.downstream;
      if (this.#isOver(opening)) destroyQuietly(client.downstream);
    });
    if (hello === 'disconnected' || this.#isOver(opening)) return undefined;
    const { host } = this.connection.remote;
    const refusal = this.#control.stages.admission.admitClient(host, this.connection.listener);
    if (refusal !== undefined) throw refusal;
    this.#countedHost = host;
    if (hello !== undefined) return { hello, head: client.rest };
    opening.kind = 'sniffing';
    if (client.rest.length > 0) opening.received.append(client.rest);
    return readHello(this.#downstream, this.#control.stages, opening.received);
  }

  #helloComplete(hello: Hello): Reaching {
    const { stages } = this.#control;
    const { connection } = this;
    this.#deadline.end();
    stages.admission.helloComplete();
    const connecting = new Connecting(stages, connection, hello);
    const phase = new Reaching(connecting);
    this.#phase = phase;
    stages.observer.observe({ type: 'connection.sniffed', connection, hello, at: connecting.helloAt });
    return phase;
  }

  /** Returns `undefined` if an observer or a resolver has closed the session: no events follow then. */
  #resolve(reaching: Reaching, sniffed: Sniffed): Route | undefined {
    if (this.#isOver(reaching)) return undefined;
    const route = this.#route(sniffed.hello);
    if (this.#isOver(reaching)) return undefined;
    if (route === undefined) throw this.#reject(sniffed);
    reaching.connecting.route = route;
    this.#control.stages.observer.observe({ type: 'connection.routed', connection: this.connection, route });
    return this.#isOver(reaching) ? undefined : route;
  }

  #route(hello: Hello): Route | undefined {
    return resolved(this.#control.stages.resolver, hello, this.connection);
  }

  /** Sends rejection bytes as far as the kernel accepts them at once; the write is not awaited. */
  #reject({ hello, rejections }: Sniffed): ProxyError {
    const error = unroutable(hello);
    const bytes = rejections?.[error.code];
    if (bytes === undefined) return error;
    if (!(bytes instanceof Uint8Array))
      return new ProxyError('INTERNAL', `sniffer: expected rejection bytes, a Uint8Array, found ${foundPart(bytes)}`);
    this.#downstream.write(bytes).catch(() => undefined);
    this.#isReported = true;
    return error;
  }

  #isOver(phase: SessionPhase): boolean {
    return this.#phase !== phase;
  }

  #beginConnecting(reaching: Reaching, route: Route, nowMs: number): void {
    const { limits } = this.#control.stages;
    const deadlines = this.#control.connectDeadlines(route.connectTimeoutMs ?? limits.connectTimeoutMs);
    this.#deadline.begin(deadlines, nowMs);
    this.#downstream.onReset = (error) => this.cut(reaching.connecting.closedWhileConnecting(error));
  }

  #connected({ connecting }: Reaching, upstream: Upstream): void {
    this.#deadline.end();
    const at = connecting.reached(upstream);
    const { connection } = this;
    const { shown = reachedBackend(upstream) } = connecting;
    this.#control.stages.observer.observe({ type: 'connection.connected', connection, upstream: shown, at });
    const { onReached } = connecting;
    if (onReached === undefined) return;
    if (upstream.retry === undefined) connecting.onReached = undefined;
    onReached();
  }

  #carryBytes(connecting: Connecting, upstream: Upstream, head: Uint8Array): Splice {
    const { transport, limits } = this.#control.stages;
    const { idleTimeoutMs, halfCloseTimeoutMs, maxAgeMs } = lifetimes(limits, connecting.route);
    const options = { head: withPreface(upstream, head), idleTimeoutMs, halfCloseTimeoutMs };
    const resend = resendOf(connecting.hello, upstream, head);
    const splice = transport.splice(
      this.#downstream,
      upstream.connection,
      resend === undefined ? options : { ...options, handBackUntilMs: resend.retry.untilMs },
    );
    if (!hasDone(splice)) throw new TypeError('expected a splice, found none');
    this.#phase = new Splicing(connecting, splice, resend);
    if (maxAgeMs !== undefined) this.#control.ages.begin(this, maxAgeMs);
    return splice;
  }

  /** The part to name in the error if something other than a `ProxyError` is thrown. */
  get #part(): string | undefined {
    const phase = this.#phase;
    if (phase.kind === 'splicing') return 'transport';
    if (phase.kind !== 'connecting') return undefined;
    return phase.connecting.upstream === undefined ? 'connector' : 'transport';
  }

  /** Ends the session: closes both ends, releases every count, and emits one event. Never throws. Idempotent. */
  #close(transfer: Transfer): void {
    const phase = this.#phase;
    if (phase.kind === 'closed') return;
    this.#phase = CLOSED;
    const { stages } = this.#control;
    this.#deadline.end();
    const hasHello = phase.kind === 'connecting' || phase.kind === 'splicing';
    stages.admission.released(hasHello);
    if (this.#countedHost !== undefined) stages.admission.clientReleased(this.#countedHost);
    if (this.#isReported) this.#control.lingering.close(this.#downstream);
    else destroyQuietly(this.#downstream, transfer.error);
    const connecting = connectingOf(phase);
    const failure = connecting?.end(transfer);
    const ending = failure === undefined || transfer.error !== undefined ? transfer : { ...transfer, error: failure };
    const closed = closedConnection(this.connection, connecting, withoutUsualReset(ending, connecting?.route));
    stages.observer.observe({ type: 'connection.closed', closed });
    this.#control.onClosed(this);
  }
}

/** Fields are listed one by one: an object spread took 3 µs per connection. */
function closedConnection(
  connection: Accepted,
  connecting: Connecting | undefined,
  transfer: Transfer,
): ClosedConnection {
  return {
    connection,
    hello: connecting?.hello,
    helloAt: connecting?.helloAt,
    route: connecting?.route,
    attempts: connecting?.attempts ?? 0,
    retries: connecting?.retries,
    dialled: connecting?.shown?.address ?? connecting?.dialled,
    upstream: connecting?.shown,
    connectedAt: connecting?.connectedAt,
    transfer,
    closedAt: performance.now(),
    error: transfer.error,
  };
}

/** Removes a reset that the route treats as a normal end from `transfer`. */
function withoutUsualReset(transfer: Transfer, route: Route | undefined): Transfer {
  if (transfer.error === undefined || route?.resetsEndWell !== true || transfer.bytesDown === 0) return transfer;
  const { code } = transfer.error;
  if (code !== 'DOWNSTREAM_RESET' && code !== 'UPSTREAM_RESET') return transfer;
  const { error: _usual, ...carried } = transfer;
  return carried;
}

function unroutable({ serverName, protocol }: Hello): ProxyError {
  return serverName === undefined
    ? new ProxyError('NO_SERVER_NAME', `the ${protocol} hello has no server name`)
    : new ProxyError('ROUTE_NOT_FOUND', `no route for ${serverName}`);
}
