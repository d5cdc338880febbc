import { LinkedList } from './linked-list.ts';
import type { ListNode } from './linked-list.ts';

/**
 * One deadline for each of many, all equally long: a single timer serves them all, however many there are, since the first to
 * begin is the first to be late. A timer of Node's own for each would cost more than everything else that waiting costs.
 */
export class Deadlines<One> {
  readonly #afterMs: number;
  readonly #onLate: (one: One) => void;
  readonly #list = new LinkedList<Waiting<One>>();
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
   * Obligation: {@link end} what it returns, unless it is late before that.
   *
   * @param nowMs of the monotonic clock, never less than in the call before
   */
  begin(one: One, nowMs: number): Deadline<One> {
    if (!this.#timerIsSet) this.#setTimer(this.#afterMs);
    return this.#list.push({ one, dueMs: nowMs + this.#afterMs });
  }

  /** Who waits, those first who will be late first. They may end meanwhile. */
  *[Symbol.iterator](): Generator<One, void, void> {
    for (const { one } of this.#list) yield one;
  }

  /** It was in time. Idempotent. */
  end(deadline: Deadline<One>): void {
    this.#list.remove(deadline);
  }

  /** Until it is done, its own timer stands for the next: who begins meanwhile needs none. */
  #onTimer(): void {
    const nowMs = performance.now();
    for (let next = this.#list.first; next !== undefined; next = this.#list.first) {
      // Timers count in whole milliseconds, and may come a fraction of one early.
      if (next.one.dueMs > nowMs) {
        this.#setTimer(Math.ceil(next.one.dueMs - nowMs));
        return;
      }
      this.#list.remove(next);
      this.#onLate(next.one.one);
    }
    this.#timerIsSet = false;
  }

  /** Does not keep the process alive: who is waited for does, by its socket. */
  #setTimer(ms: number): void {
    this.#timerIsSet = true;
    setTimeout(() => this.#onTimer(), ms).unref();
  }
}

interface Waiting<One> {
  readonly one: One;
  readonly dueMs: number;
}

/** For who has begun one, to end it. */
export type Deadline<One> = ListNode<Waiting<One>>;
