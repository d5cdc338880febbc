import type { Accepted } from './connection.ts';
import { Deadlines } from './deadlines.ts';
import { Flight } from './flight.ts';
import type { FlightControl, LiveConnection, Stages } from './flight.ts';
import type { ProxyError } from './errors.ts';
import { Line } from './line.ts';
import type { Place } from './line.ts';
import type { Connection } from './transport.ts';

/** All live connections of a proxy: launches them, shows them, and can end them. */
export class Flights {
  readonly #control: FlightControl;
  readonly #flights = new Line<Flight>();
  readonly #idle: (() => void)[] = [];
  #launched = 0;
  #ended = 0;

  constructor(stages: Stages) {
    this.#control = {
      stages,
      helloDeadlines: new Deadlines(stages.limits.helloTimeoutMs, (flight) => flight.late()),
      landed: (place) => this.#landed(place),
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
    void flight.fly(this.#flights.enter(flight));
  }

  /** A copy of what is known of every live connection, oldest first. */
  live(): readonly LiveConnection[] {
    return Array.from(this.#flights, (flight) => flight.live);
  }

  /** Ends the connection `id`; `false` when there is none (any more). */
  cut(id: string, reason: ProxyError): boolean {
    for (const flight of this.#flights) {
      if (flight.connection.id !== id) continue;
      flight.cut(reason);
      return true;
    }
    return false;
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

  #landed(place: Place<Flight>): void {
    this.#flights.leave(place);
    this.#ended += 1;
    if (this.#flights.size > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
