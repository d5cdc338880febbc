/** A connection that may owe its peer an acknowledgement. */
interface Debtor {
  /** Sends it, if it is still owed. */
  acknowledge(): void;
}

/**
 * Handshakes of ours that the backend does not know to be complete yet. The acknowledgement waits for the first bytes to carry
 * it, which saves a packet for each connection, here and there; most often they follow within the same turn. Where they do not,
 * it is sent by itself one turn later, so that nobody ever waits for it.
 */
export class Handshakes {
  #waiting: Debtor[] = [];

  /** Obligation: `debtor` has just been connected. */
  add(debtor: Debtor): void {
    if (this.#waiting.push(debtor) > 1) return;
    // Promise callbacks of this turn run before the second immediate, whichever version of Node this is.
    setImmediate(() => setImmediate(() => this.#acknowledge()));
  }

  #acknowledge(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const debtor of waiting) debtor.acknowledge();
  }
}
