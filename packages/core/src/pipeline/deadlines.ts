import { LinkedList } from './linked-list.ts';
import type { Linked } from './linked-list.ts';

/**
 * Deadlines that are all equally long: one timer serves them all, however many there are, since the first to begin is the first to be
 * late. A timer of Node's own for each would cost more than everything else that waiting costs.
 */
export class Deadlines<One> {
  readonly #afterMs: number;
  readonly #onExpired: (one: One) => void;
  readonly #list = new LinkedList<Deadline<One>>();
  #timerIsSet = false;

  /**
   * @param afterMs milliseconds
   * @param onExpired called once for each that has not ended in time; must not throw
   */
  constructor(afterMs: number, onExpired: (one: One) => void) {
    this.#afterMs = afterMs;
    this.#onExpired = onExpired;
  }

  /**
   * Used by {@link Deadline.begin}.
   *
   * @param nowMs of the monotonic clock, never less than in the call before
   */
  add(deadline: Deadline<One>, nowMs: number): void {
    if (!this.#timerIsSet) this.#setTimer(this.#afterMs);
    deadline.dueMs = nowMs + this.#afterMs;
    this.#list.push(deadline);
  }

  /** Used by {@link Deadline.end}. */
  remove(deadline: Deadline<One>): void {
    this.#list.remove(deadline);
  }

  /** Whose deadline has not passed, the first due first. They may end meanwhile. */
  *[Symbol.iterator](): Generator<One, void, void> {
    for (const { one } of this.#list) yield one;
  }

  /** `#timerIsSet` stays true until the loop ends: what begins meanwhile needs no timer of its own. */
  #onTimer(): void {
    const nowMs = performance.now();
    for (let deadline = this.#list.first; deadline !== undefined; deadline = this.#list.first) {
      // Timers count in whole milliseconds, and may come a fraction of one early.
      if (deadline.dueMs > nowMs) {
        this.#setTimer(Math.ceil(deadline.dueMs - nowMs));
        return;
      }
      deadline.end();
      this.#onExpired(deadline.one);
    }
    this.#timerIsSet = false;
  }

  /** Does not keep the process alive: the socket that is waited for does. */
  #setTimer(ms: number): void {
    this.#timerIsSet = true;
    setTimeout(() => this.#onTimer(), Math.min(ms, LONGEST_TIMER_MS)).unref();
  }
}

/** Beyond it Node's timers fire at once. */
export const LONGEST_TIMER_MS: number = 2 ** 31 - 1;

// More lengths than a configuration has; a resolver may invent one for each route that it makes.
const MAX_LENGTHS = 1_000;

/** {@link Deadlines} of every length that is asked for, each made once. */
export class DeadlinesByLength<One> {
  readonly #onExpired: (one: One) => void;
  readonly #known = new Map<number, Deadlines<One>>();

  /** @param onExpired as that of {@link Deadlines} */
  constructor(onExpired: (one: One) => void) {
    this.#onExpired = onExpired;
  }

  /** @param afterMs milliseconds; `Infinity`: never late */
  of(afterMs: number): Deadlines<One> {
    const known = this.#known.get(afterMs);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_LENGTHS) this.#known.clear();
    const made = new Deadlines(afterMs, this.#onExpired);
    this.#known.set(afterMs, made);
    return made;
  }

  /** Whose deadline has not passed: for each length the first due first, lengths in the order in which they were first asked for. */
  *[Symbol.iterator](): Generator<One, void, void> {
    for (const deadlines of this.#known.values()) yield* deadlines;
  }
}

/**
 * The one deadline that somebody may have at a time: made once, and used for one wait after the other. A class, because V8 guesses the age
 * of object literals, and not that of instances (docs/adr/0023).
 */
export class Deadline<One> implements Linked<Deadline<One>> {
  /** Whose it is. */
  readonly one: One;
  earlier: Deadline<One> | undefined;
  later: Deadline<One> | undefined;
  /** Milliseconds of the monotonic clock; set by {@link Deadlines}. */
  dueMs = 0;
  #deadlines: Deadlines<One> | undefined;

  constructor(one: One) {
    this.one = one;
  }

  /** Whether it has begun, and neither ended nor passed. */
  get isRunning(): boolean {
    return this.#deadlines !== undefined;
  }

  /**
   * Begins one of `deadlines`, and ends the one before.
   *
   * @param nowMs of the monotonic clock
   */
  begin(deadlines: Deadlines<One>, nowMs: number): void {
    this.end();
    this.#deadlines = deadlines;
    deadlines.add(this, nowMs);
  }

  /** It was in time. Idempotent. */
  end(): void {
    this.#deadlines?.remove(this);
    this.#deadlines = undefined;
  }
}
