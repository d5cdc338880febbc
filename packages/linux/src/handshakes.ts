/** A connection that may still have to acknowledge the handshake. */
interface Debtor {
  /** Sends it, unless it is already sent. */
  acknowledge(): void;
}

/**
 * Our outgoing handshakes that the backend does not know to be complete yet. The final acknowledgement is delayed so
 * that the first data carries it, which saves a packet per connection on both sides; the data usually follows within
 * the same turn. If not, it is sent alone one turn later, so that a server that speaks first never waits.
 */
export class Handshakes {
  #waiting: Debtor[] = [];

  /** Registers `debtor`, which has just connected. */
  add(debtor: Debtor): void {
    if (this.#waiting.push(debtor) > 1) return;
    // Promise callbacks of this turn run before the second immediate in every version of Node.
    setImmediate(() => setImmediate(() => this.#acknowledge()));
  }

  #acknowledge(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const debtor of waiting) debtor.acknowledge();
  }
}
