/**
 * One deadline for each of many, all equally long: a single timer serves them all, however many there are, since the first to
 * begin is the first to be late. A timer of Node's own for each would cost more than everything else that waiting costs.
 */
export class Deadlines<One> {
  readonly #afterMs: number;
  readonly #onLate: (one: One) => void;
  /** Who is waited for and until when, in the order of both. */
  readonly #due = new Map<One, number>();
  #timerIsSet = false;

  /**
   * @param afterMs milliseconds
   * @param onLate called once for each that has not ended in time; must not throw
   */
  constructor(afterMs: number, onLate: (one: One) => void) {
    this.#afterMs = afterMs;
    this.#onLate = onLate;
  }

  /**
   * Obligation: {@link end}, unless it is late before that.
   *
   * @param nowMs of the monotonic clock, never less than in the call before
   */
  begin(one: One, nowMs: number): void {
    this.#due.set(one, nowMs + this.#afterMs);
    if (!this.#timerIsSet) this.#setTimer(this.#afterMs);
  }

  /** It was in time. Idempotent. */
  end(one: One): void {
    this.#due.delete(one);
  }

  /** Until it is done, its own timer stands for the next: who begins meanwhile needs none. */
  #onTimer(): void {
    const nowMs = performance.now();
    for (const [one, dueMs] of this.#due) {
      // Timers count in whole milliseconds, and may come a fraction of one early.
      if (dueMs > nowMs) {
        this.#setTimer(Math.ceil(dueMs - nowMs));
        return;
      }
      this.#due.delete(one);
      this.#onLate(one);
    }
    this.#timerIsSet = false;
  }

  /** Does not keep the process alive: who is waited for does, by its socket. */
  #setTimer(ms: number): void {
    this.#timerIsSet = true;
    setTimeout(() => this.#onTimer(), ms).unref();
  }
}
