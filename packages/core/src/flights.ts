import type { Accepted } from './connection.ts';
import { Deadlines } from './deadlines.ts';
import { Flight } from './flight.ts';
import type { FlightControl, LiveConnection, Stages } from './flight.ts';
import type { ProxyError } from './errors.ts';
import type { Connection } from './transport.ts';

/** All live connections of a proxy: launches them, shows them, and can end them. */
export class Flights {
  readonly #control: FlightControl;
  readonly #flights = new Map<string, Flight>();
  readonly #idle: (() => void)[] = [];
  #launched = 0;
  #ended = 0;

  constructor(stages: Stages) {
    this.#control = {
      stages,
      helloDeadlines: new Deadlines(stages.limits.helloTimeoutMs, (flight) => flight.late()),
      landed: (flight) => this.#landed(flight),
    };
  }

  /** How many connections are live. */
  get size(): number {
    return this.#flights.size;
  }

  /** How many connections have ended so far. */
  get ended(): number {
    return this.#ended;
  }

  /** Takes `connection` over from `listener`: refuses it when a limit is reached, otherwise carries it to its end. */
  launch(connection: Connection, listener: string): void {
    const refusal = this.#control.stages.admission.admit();
    if (refusal !== undefined) {
      this.#refuse(connection, listener, refusal);
      return;
    }
    const flight = new Flight(this.#control, connection, this.#accepted(connection, listener));
    this.#flights.set(flight.connection.id, flight);
    void flight.fly();
  }

  /** A copy of what is known of every live connection, oldest first. */
  live(): readonly LiveConnection[] {
    return Array.from(this.#flights.values(), (flight) => flight.live);
  }

  /** Ends the connection `id`; `false` when there is none (any more). */
  cut(id: string, reason: ProxyError): boolean {
    const flight = this.#flights.get(id);
    flight?.cut(reason);
    return flight !== undefined;
  }

  /** Resolves when no connection is live: at once, or when the last has ended. */
  empty(): Promise<void> {
    if (this.#flights.size === 0) return Promise.resolve();
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

  #landed({ connection }: Flight): void {
    this.#flights.delete(connection.id);
    this.#ended += 1;
    if (this.#flights.size > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
