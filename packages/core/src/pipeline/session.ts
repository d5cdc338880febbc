import type { Admission } from './admission.ts';
import { failedWith, isSplice, resolved, transferOf } from './checked-results.ts';
import type { LingeringClose } from './lingering-close.ts';
import { Connecting, destroyQuietly, reachedBackend, releaseUpstream } from './connecting.ts';
import { withPreface } from './connection.ts';
import type { Accepted, Hello, Upstream } from './connection.ts';
import { Deadline } from './deadlines.ts';
import type { Deadlines } from './deadlines.ts';
import { formatDuration } from '../duration.ts';
import { ProxyError } from '../errors.ts';
import { FilteredClient } from './filter.ts';
import type { ConnectionFilter } from './filter.ts';
import { lifetimes } from './lifetimes.ts';
import type { MaxAges } from './max-ages.ts';
import type { Limits } from './limits.ts';
import type { Linked } from './linked-list.ts';
import type { ClosedConnection, Observer } from '../observe.ts';
import type { Route } from '../routes/route.ts';
import { CLOSED, connectingOf, Opening, Reaching, resendOf, Splicing } from './session-phases.ts';
import type { Resend, SessionPhase } from './session-phases.ts';
import { readHello } from './sniff.ts';
import type { Sniffed } from './sniff.ts';
import type { Connector, Resolver, Sniffer } from './stages.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Connection, Progress, Splice, Stall, Transfer, Transport } from '../transport/transport.ts';

/** What a connection passes through, in this order, and what it may spend. */
export interface Stages {
  /** The filters of a listener, in their order; none when absent. Asked once for each connection. */
  filtersOf?(listener: string): readonly ConnectionFilter[];
  readonly sniffer: Sniffer;
  readonly resolver: Resolver;
  readonly connector: Connector;
  /** That of the listeners: a session dials and splices by it. */
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
  readonly admission: Admission;
  readonly observer: Observer;
  /** Begins the id of every connection: what makes ids unique where several processes share a log. Nothing when absent. */
  readonly idPrefix?: string;
}

/** Where a connection is in its life. */
export type SessionState = 'filtering' | 'sniffing' | 'connecting' | 'splicing';

/** A live connection as an operator sees it. */
export interface LiveConnection extends Omit<ClosedConnection, 'transfer' | 'closedAt' | 'error'>, Progress {
  /** Where it is in its life. */
  readonly state: SessionState;
}

/** What all sessions of a proxy share. */
export interface SessionControl {
  readonly stages: Stages;
  /** For those whose hello is not complete. */
  readonly helloDeadlines: Deadlines<Session>;
  /** For connectors that do not keep to the connect timeout by themselves: those of routes with this one. */
  connectDeadlines(timeoutMs: number): Deadlines<Session>;
  /** For transports that do not end a splice which was cut. */
  readonly cutDeadlines: Deadlines<Session>;
  /** For those that may last only so long. */
  readonly ages: MaxAges;
  /** For clients that were told why they are turned away. */
  readonly lingering: LingeringClose;
  /** `session` is over: everything has been reported of it. */
  onClosed(session: Session): void;
}

const NOTHING_CARRIED: Transfer = { bytesUp: 0, bytesDown: 0 };

/**
 * One connection on its way through the stages: owns both of its ends from accept to close, and ends with exactly one
 * `connection.closed`, whatever the parts that it calls do.
 */
export class Session implements Linked<Session> {
  readonly connection: Accepted;
  earlier: Session | undefined;
  later: Session | undefined;
  readonly #control: SessionControl;
  /** Of the phase that it is in: for the hello, for a connector, and for a splice that was cut. */
  readonly #deadline = new Deadline<Session>(this);
  #downstream: Connection;
  /** The client has been told why it is turned away. */
  #isReported = false;
  #phase: SessionPhase = new Opening();

  constructor(control: SessionControl, downstream: Connection, connection: Accepted) {
    this.#control = control;
    this.#downstream = downstream;
    this.connection = connection;
  }

  /** When a byte last arrived from either side; the time of accept while nothing is spliced. */
  get lastByteAt(): number {
    return this.#phase.kind === 'splicing' ? this.#phase.splice.lastByteAt : this.connection.at;
  }

  /** Which end waits for its network, and why, as far as the transport can tell; `undefined` while it carries nothing. */
  stalled(): (Stall & { readonly address: Endpoint }) | undefined {
    if (this.#phase.kind !== 'splicing') return undefined;
    const { splice, connecting } = this.#phase;
    const stall = splice.stalled?.();
    if (stall === undefined) return undefined;
    const address = stall.side === 'downstream' ? this.connection.remote : connecting.upstream?.address;
    return address === undefined ? undefined : { ...stall, address };
  }

  /** The backend to which it carries bytes, and since when; `undefined` while it carries none. */
  get reached(): Pick<Connecting, 'upstream' | 'connectedAt'> | undefined {
    return this.#phase.kind === 'splicing' ? this.#phase.connecting : undefined;
  }

  /** Has `see` told of each backend that it may still reach, beside whoever else is. Without effect when there is none. */
  watchReached(see: (reached: Session['reached'], session: Session) => void): void {
    const connecting = this.#reaching;
    if (connecting === undefined) return;
    const { onReached: before } = connecting;
    connecting.onReached = () => {
      before?.();
      see(connecting, this);
    };
  }

  /** The way to a backend, while there is one to be reached: the first, or one in place of another that has not answered. */
  get #reaching(): Connecting | undefined {
    const phase = this.#phase;
    if (phase.kind === 'connecting') return phase.connecting;
    if (phase.kind !== 'splicing' || phase.resend === undefined) return undefined;
    return performance.now() < phase.resend.retry.untilMs ? phase.connecting : undefined;
  }

  /** What has been carried so far, updated in place: for whoever looks at many sessions, and keeps none. */
  get carried(): Pick<Progress, 'bytesUp' | 'bytesDown'> {
    return this.#phase.kind === 'splicing' ? this.#phase.splice : NOTHING_CARRIED;
  }

  /** A copy of what is known now; `undefined` once it is closed. */
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
   * Ends the connection now, wherever it is; its code is that of `reason`. Idempotent: the first reason counts.
   *
   * @returns `false` when it has ended, or was cut, before
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

  /** The hello is not complete in time. */
  onHelloTimeout(): void {
    const { helloTimeoutMs } = this.#control.stages.limits;
    this.cut(
      new ProxyError(
        'SNIFF_TIMEOUT',
        `hello incomplete after ${formatDuration(helloTimeoutMs)}; a client waits where its server is to speak first`,
      ),
    );
  }

  /** A connector has not settled, well after its time: whether it still dials says who is to blame. */
  onConnectTimeout(): void {
    const phase = this.#phase;
    if (phase.kind !== 'connecting') return;
    const { attempts, awaitsAddress } = phase.connecting;
    this.cut(
      awaitsAddress
        ? new ProxyError('CONNECT_TIMEOUT', `no backend reached in the connect timeout; ${attempts} dials`)
        : new ProxyError(
            'INTERNAL',
            `connector: not settled in the connect timeout, and not dialling; ${attempts} dials`,
          ),
    );
  }

  /** A splice that was cut has not ended. */
  onCutTimeout(): void {
    const phase = this.#phase;
    if (phase.kind !== 'splicing') return;
    const { bytesUp, bytesDown } = phase.splice;
    const error = new ProxyError('INTERNAL', 'transport: a splice did not end after it was cut');
    this.#close({ bytesUp, bytesDown, error });
  }

  /** From accept to splice, which is closed when it ends; to be called once. Never rejects. */
  async run(): Promise<void> {
    const { stages, helloDeadlines } = this.#control;
    this.#deadline.begin(helloDeadlines, this.connection.at);
    try {
      stages.observer.observe({ type: 'connection.accepted', connection: this.connection });
      this.#await(await this.#reach());
    } catch (reason) {
      this.#failed(reason);
    }
  }

  /** Not awaited: what an async function keeps while it waits is a fifth of all that an idle connection takes. */
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

  /** Accept to splice: the stages in their order. `undefined` when the client left without a word, or the session is closed. */
  async #reach(): Promise<Splice | undefined> {
    const sniffed = await this.#readHello();
    const phase = this.#phase;
    if (sniffed === undefined || (phase.kind !== 'filtering' && phase.kind !== 'sniffing')) return undefined;
    // Such a client is known of only when a route takes it.
    if (sniffed.unrecognised !== undefined && this.#route(sniffed.hello) === undefined) throw sniffed.unrecognised;
    const reaching = this.#helloComplete(sniffed.hello);
    const route = this.#resolve(reaching.connecting, sniffed);
    // An observer may have closed it.
    if (this.#isOver(reaching)) return undefined;
    // Nothing has been waited for since the hello.
    this.#beginConnecting(reaching, route, reaching.connecting.helloAt);
    const upstream = await this.#control.stages.connector.connect(route, reaching.connecting);
    return this.#carryTo(reaching, upstream, sniffed.head);
  }

  /** The backend has ended without an answer, and nobody but it has had the head: another one gets it. */
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

  #readHello(): Promise<Sniffed | undefined> {
    const { stages } = this.#control;
    const filters = stages.filtersOf?.(this.connection.listener);
    if (filters === undefined || filters.length === 0) return readHello(this.#downstream, stages);
    return this.#filtered(filters);
  }

  async #filtered(filters: readonly ConnectionFilter[]): Promise<Sniffed | undefined> {
    const opening = this.#phase;
    if (opening.kind !== 'sniffing') return undefined;
    opening.kind = 'filtering';
    opening.isCounted = false;
    const client = new FilteredClient(this.#downstream, this.connection);
    const hello = await client.run(filters);
    this.#downstream = client.downstream;
    if (this.#isOver(opening)) destroyQuietly(client.downstream);
    if (hello === 'left' || this.#isOver(opening)) return undefined;
    const refusal = this.#control.stages.admission.admitClient(this.connection.remote.host, this.connection.listener);
    if (refusal !== undefined) throw refusal;
    opening.isCounted = true;
    if (hello !== undefined) return { hello, head: client.rest };
    opening.kind = 'sniffing';
    return readHello(this.#downstream, this.#control.stages, client.rest);
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

  #resolve(connecting: Connecting, sniffed: Sniffed): Route {
    const { observer } = this.#control.stages;
    const route = this.#route(sniffed.hello);
    if (route === undefined) throw this.#reject(sniffed);
    connecting.route = route;
    observer.observe({ type: 'connection.routed', connection: this.connection, route });
    return route;
  }

  #route(hello: Hello): Route | undefined {
    return resolved(this.#control.stages.resolver, hello, this.connection);
  }

  /** Tells the client, as far as the kernel takes it at once: nobody is waited for. */
  #reject({ hello, rejections }: Sniffed): ProxyError {
    const error = unroutable(hello);
    const bytes = rejections?.[error.code];
    if (bytes === undefined) return error;
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
    if (!isSplice(splice)) throw new TypeError('expected a splice, found none');
    this.#phase = new Splicing(connecting, splice, resend);
    if (maxAgeMs !== undefined) this.#control.ages.begin(this, maxAgeMs);
    return splice;
  }

  /** Who is to be named when something other than a `ProxyError` is thrown. */
  get #part(): string | undefined {
    const phase = this.#phase;
    if (phase.kind === 'splicing') return 'transport';
    if (phase.kind !== 'connecting') return undefined;
    return phase.connecting.upstream === undefined ? 'connector' : 'transport';
  }

  /** The one end of a session: both ends closed, every count given back, one event. Never throws. Idempotent. */
  #close(transfer: Transfer): void {
    const phase = this.#phase;
    if (phase.kind === 'closed') return;
    this.#phase = CLOSED;
    const { stages } = this.#control;
    this.#deadline.end();
    const hasHello = phase.kind === 'connecting' || phase.kind === 'splicing';
    stages.admission.released(hasHello);
    if (hasHello || phase.isCounted) stages.admission.clientReleased(this.connection.remote.host);
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

/** Written out: to spread an object into it took 3 µs of each connection. */
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
    dialled: connecting?.upstream?.address ?? connecting?.dialled,
    upstream: connecting?.shown,
    connectedAt: connecting?.connectedAt,
    transfer,
    closedAt: performance.now(),
    error: transfer.error,
  };
}

/** `transfer`, without the reset that its route calls a normal end. */
function withoutUsualReset(transfer: Transfer, route: Route | undefined): Transfer {
  if (transfer.error === undefined || route?.resetsEndWell !== true || transfer.bytesDown === 0) return transfer;
  const { code } = transfer.error;
  if (code !== 'DOWNSTREAM_RESET' && code !== 'UPSTREAM_RESET') return transfer;
  const { error: _usual, ...carried } = transfer;
  return carried;
}

function unroutable({ serverName, protocol }: Hello): ProxyError {
  return serverName === undefined
    ? new ProxyError('NO_SERVER_NAME', `the ${protocol} hello names no server`)
    : new ProxyError('ROUTE_NOT_FOUND', `no route for ${serverName}`);
}
