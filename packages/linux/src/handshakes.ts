/** A connection that may still have to acknowledge its handshake. */
interface Debtor {
  /** Sends the acknowledgement, unless it has been sent. */
  acknowledge(): void;
}

/**
 * Outgoing connections whose final handshake acknowledgement has not been sent. It is delayed so that the first data
 * carries it, which saves a packet per connection on both sides; the data usually follows within the same turn.
 * Otherwise it is sent alone one turn later, so that a server that speaks first does not wait.
 */
export class Handshakes {
  #waiting: Debtor[] = [];

  /** Adds a connection that has just been established. */
  add(debtor: Debtor): void {
    if (this.#waiting.push(debtor) > 1) return;
    // In every version of Node, promise callbacks of this turn run before the second immediate.
    setImmediate(() => setImmediate(() => this.#acknowledge()));
  }

  #acknowledge(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const debtor of waiting) debtor.acknowledge();
  }
}
