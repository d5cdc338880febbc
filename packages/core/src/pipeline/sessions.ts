import { destroyQuietly } from './connecting.ts';
import type { Accepted } from './connection.ts';
import { Deadlines, DeadlinesByLength } from './deadlines.ts';
import type { ConnectionFilter } from './filter.ts';
import { MaxAges } from './max-ages.ts';
import { Session } from './session.ts';
import type { SessionControl, LiveConnection, Stages } from './session.ts';
import { ProxyError } from '../errors.ts';
import { observers } from '../observe.ts';
import { LinkedList } from './linked-list.ts';
import { LingeringClose } from './lingering-close.ts';
import { StallWatch } from './stall-watch.ts';
import type { Connection } from '../transport/transport.ts';

// Connectors enforce the connect timeout themselves. The session's own deadline is this much later, so that the
// connector's error comes first.
const CONNECTOR_GRACE_MS = 250;

// Enough to include a connection of a large client, few enough to scan for each connection beyond the limit.
const CANDIDATES = 32;

// Closing two sockets takes no time.
const CUT_TIMEOUT_MS = 5_000;

const NO_FILTERS: readonly ConnectionFilter[] = [];

const DRAINING = new ProxyError('CLOSED_BY_DRAIN', 'the proxy is draining');

/** All live connections of a proxy: runs, lists and ends them. */
export class Sessions {
  #control: SessionControl;
  readonly #sessions = new LinkedList<Session>();
  readonly #idle: (() => void)[] = [];
  /** Shared: creating an error for each connection of a flood is too expensive. */
  #tooManyPending: ProxyError;
  readonly #lingering = new LingeringClose();
  readonly #ages = new MaxAges();
  readonly #stalls = new StallWatch(this, () => this.#control.stages.observer);
  /** Deadlines of all pending hellos, including those accepted before a change of limits. */
  readonly #helloDeadlines = new DeadlinesByLength<Session>((session) => session.onHelloTimeout());
  #started = 0;
  #ended = 0;
  #isStopped = false;

  constructor(stages: Stages) {
    this.#tooManyPending = tooManyPending(stages);
    this.#control = this.#controlOf(stages);
  }

  /** Replaces the stages for new connections. Live connections keep theirs. */
  use(stages: Stages): void {
    this.#tooManyPending = tooManyPending(stages);
    this.#control = this.#controlOf(stages);
  }

  /** Number of live connections. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Number of connections that have ended so far. */
  get ended(): number {
    return this.#ended;
  }

  /** Takes over `connection` from `listener`: refuses it if a limit is reached, otherwise runs it to its end. */
  accept(connection: Connection, listener: string): void {
    const filters = this.#control.stages.filtersOf?.(listener) ?? NO_FILTERS;
    const refusal = this.#isStopped ? DRAINING : this.#admit(connection, listener, filters.length > 0);
    if (refusal !== undefined) {
      this.#refuse(connection, listener, refusal);
      return;
    }
    const session = new Session(this.#control, connection, this.#accepted(connection, listener));
    this.#sessions.push(session);
    this.#stalls.begin();
    void session.run(filters);
    if (this.#control.stages.admission.hasTooManyPending) this.#longestPending()?.cut(this.#tooManyPending);
  }

  /** Refuses all further connections. */
  stopAccepting(): void {
    this.#isStopped = true;
  }

  /** Returns copies of the facts of every live connection, oldest first. */
  live(): readonly LiveConnection[] {
    return Array.from(this.#sessions, (session) => session.live).filter((live) => live !== undefined);
  }

  /** Iterates over the live sessions, oldest first. Sessions may end during the iteration. */
  [Symbol.iterator](): Iterator<Session> {
    return this.#sessions[Symbol.iterator]();
  }

  /** Ends the connection `id`; returns `false` if there is none. */
  cut(id: string, reason: ProxyError): boolean {
    for (const session of this.#sessions) {
      if (session.connection.id !== id) continue;
      return session.cut(reason);
    }
    return false;
  }

  /** Resolves when no connection is live. */
  empty(): Promise<void> {
    if (this.#sessions.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #controlOf(stages: Stages): SessionControl {
    const { connectTimeoutMs } = stages.limits;
    const connectDeadlines = new DeadlinesByLength<Session>((session) => session.onConnectTimeout());
    return {
      // An observer that throws affects neither the other observers nor the connection.
      stages: { ...stages, observer: observers([stages.observer]) },
      helloDeadlines: this.#helloDeadlines.of(stages.limits.helloTimeoutMs),
      // A route's own timeout is not validated if a resolver returned the route.
      connectDeadlines: (timeoutMs) =>
        connectDeadlines.of((timeoutMs > 0 ? timeoutMs : connectTimeoutMs) + CONNECTOR_GRACE_MS),
      cutDeadlines: new Deadlines(CUT_TIMEOUT_MS, (session) => session.onCutTimeout()),
      ages: this.#ages,
      lingering: this.#lingering,
      onClosed: (session) => this.#onClosed(session),
    };
  }

  /** Of the oldest pending sessions, the one whose client has the most connections: a flood displaces its own. */
  #longestPending(): Session | undefined {
    const { admission } = this.#control.stages;
    let chosen: Session | undefined;
    let most = -1;
    let seen = 0;
    for (const session of this.#helloDeadlines) {
      const count = admission.connectionsOf(session.connection.remote.host);
      if (count > most) [chosen, most] = [session, count];
      seen += 1;
      if (seen === CANDIDATES) break;
    }
    return chosen;
  }

  /** With filters the client's address is not known yet: the session counts it after they have run. */
  #admit({ remote: { host } }: Connection, listener: string, isFiltered: boolean): ProxyError | undefined {
    const { admission } = this.#control.stages;
    const refusal = admission.admit();
    if (refusal !== undefined || isFiltered) return refusal;
    const ofClient = admission.admitClient(host, listener);
    if (ofClient !== undefined) admission.released(false);
    return ofClient;
  }

  #accepted({ remote, local }: Connection, listener: string): Accepted {
    this.#started += 1;
    const id = (this.#control.stages.idPrefix ?? '') + this.#started.toString(36);
    return { id, listener, remote, local, at: performance.now() };
  }

  #refuse(connection: Connection, listener: string, error: ProxyError): void {
    this.#control.stages.observer.observe({ type: 'connection.refused', listener, remote: connection.remote, error });
    destroyQuietly(connection, error);
  }

  #onClosed(session: Session): void {
    this.#ages.end(session);
    this.#sessions.remove(session);
    this.#ended += 1;
    if (this.#sessions.size > 0) return;
    this.#stalls.end();
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

function tooManyPending({ limits: { pendingHellos } }: Stages): ProxyError {
  return new ProxyError(
    'LIMIT_REACHED',
    `limits.pendingHellos: too many pending handshakes (limit ${pendingHellos}), the oldest of the largest client is closed`,
  );
}
