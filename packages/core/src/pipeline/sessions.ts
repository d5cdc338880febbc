import type { Accepted } from './connection.ts';
import { Deadlines } from './deadlines.ts';
import { Session } from './session.ts';
import type { SessionControl, LiveConnection, Stages } from './session.ts';
import type { ProxyError } from '../errors.ts';
import { LinkedList } from './linked-list.ts';
import type { ListNode } from './linked-list.ts';
import type { Connection } from '../transport/transport.ts';

/** All live connections of a proxy: launches them, shows them, and can end them. */
export class Sessions {
  readonly #control: SessionControl;
  readonly #sessions = new LinkedList<Session>();
  readonly #idle: (() => void)[] = [];
  #launched = 0;
  #ended = 0;

  constructor(stages: Stages) {
    this.#control = {
      stages,
      helloDeadlines: new Deadlines(stages.limits.helloTimeoutMs, (session) => session.onHelloTimeout()),
      onClosed: (node) => this.#onClosed(node),
    };
  }

  /** How many connections are live. */
  get size(): number {
    return this.#sessions.size;
  }

  /** How many connections have ended so far. */
  get ended(): number {
    return this.#ended;
  }

  /** Takes `connection` over from `listener`: refuses it when a limit is reached, otherwise carries it to its end. */
  accept(connection: Connection, listener: string): void {
    const refusal = this.#control.stages.admission.admit();
    if (refusal !== undefined) {
      this.#refuse(connection, listener, refusal);
      return;
    }
    const session = new Session(this.#control, connection, this.#accepted(connection, listener));
    void session.run(this.#sessions.push(session));
  }

  /** A copy of what is known of every live connection, oldest first. */
  live(): readonly LiveConnection[] {
    return Array.from(this.#sessions, (session) => session.live);
  }

  /** Ends the connection `id`; `false` when there is none (any more). */
  cut(id: string, reason: ProxyError): boolean {
    for (const session of this.#sessions) {
      if (session.connection.id !== id) continue;
      session.cut(reason);
      return true;
    }
    return false;
  }

  /** Resolves when no connection is live: at once, or when the last has ended. */
  empty(): Promise<void> {
    if (this.#sessions.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#idle.push(resolve));
  }

  #accepted({ remote, local }: Connection, listener: string): Accepted {
    this.#launched += 1;
    return { id: this.#launched.toString(36), listener, remote, local, at: performance.now() };
  }

  #refuse(connection: Connection, listener: string, error: ProxyError): void {
    this.#control.stages.observer.observe({ type: 'connection.refused', listener, remote: connection.remote, error });
    connection.destroy(error);
  }

  #onClosed(node: ListNode<Session>): void {
    this.#sessions.remove(node);
    this.#ended += 1;
    if (this.#sessions.size > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
