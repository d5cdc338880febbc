import { LinkedList } from './linked-list.ts';
import type { Linked } from './linked-list.ts';
import { PatientTimer } from '../watch/patient-timer.ts';

/**
 * Deadlines of equal length, served by a single timer: the first to begin is the first to expire. A Node timer for each
 * would cost more than everything else in a wait.
 */
export class Deadlines<One> {
  readonly #afterMs: number;
  readonly #onExpired: (one: One) => void;
  readonly #list = new LinkedList<Deadline<One>>();
  /** Does not keep the process alive: the sockets do. */
  readonly #timer = new PatientTimer(() => this.#onTimer(), false);
  #timerIsSet = false;

  /**
   * @param afterMs length in milliseconds
   * @param onExpired called once for each deadline that expires; must not throw
   */
  constructor(afterMs: number, onExpired: (one: One) => void) {
    this.#afterMs = afterMs;
    this.#onExpired = onExpired;
  }

  /**
   * Adds a deadline; used by {@link Deadline.begin}.
   *
   * @param nowMs time of the monotonic clock, never less than in the call before
   */
  add(deadline: Deadline<One>, nowMs: number): void {
    if (!this.#timerIsSet) this.#setTimer(this.#afterMs);
    deadline.dueMs = nowMs + this.#afterMs;
    this.#list.push(deadline);
  }

  /** Removes a deadline; used by {@link Deadline.end}. */
  remove(deadline: Deadline<One>): void {
    this.#list.remove(deadline);
  }

  /** Iterates over the owners of running deadlines, the first due first. Deadlines may end during the iteration. */
  *[Symbol.iterator](): Generator<One, void, void> {
    for (const { one } of this.#list) yield one;
  }

  /** `#timerIsSet` stays true until the loop ends: deadlines that begin within it need no timer. */
  #onTimer(): void {
    const nowMs = performance.now();
    for (let deadline = this.#list.first; deadline !== undefined; deadline = this.#list.first) {
      // Timers count in whole milliseconds, and may fire a fraction early.
      if (deadline.dueMs > nowMs) {
        this.#setTimer(Math.ceil(deadline.dueMs - nowMs));
        return;
      }
      deadline.end();
      this.#onExpired(deadline.one);
    }
    this.#timerIsSet = false;
  }

  #setTimer(ms: number): void {
    this.#timerIsSet = true;
    this.#timer.set(ms);
  }
}

// More lengths than any configuration has; but a resolver may return a different one with each route.
const MAX_LENGTHS = 1_000;

/** Creates {@link Deadlines} on demand, one per length. */
export class DeadlinesByLength<One> {
  readonly #onExpired: (one: One) => void;
  readonly #known = new Map<number, Deadlines<One>>();

  /**
   * @param onExpired as in {@link Deadlines}
   */
  constructor(onExpired: (one: One) => void) {
    this.#onExpired = onExpired;
  }

  /** Returns the deadlines of one length. @param afterMs milliseconds; `Infinity`: never expires */
  of(afterMs: number): Deadlines<One> {
    const known = this.#known.get(afterMs);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_LENGTHS) this.#known.clear();
    const made = new Deadlines(afterMs, this.#onExpired);
    this.#known.set(afterMs, made);
    return made;
  }

  /**
   * Iterates over the owners of running deadlines, by length, in order of the first use of the length; within a length
   * the first due first.
   */
  *[Symbol.iterator](): Generator<One, void, void> {
    for (const deadlines of this.#known.values()) yield* deadlines;
  }
}

/**
 * A reusable deadline: an owner has one running at a time. A class, because V8 predicts the lifetime of object
 * literals, but not of class instances (docs/adr/0023).
 */
export class Deadline<One> implements Linked<Deadline<One>> {
  /** The owner of this deadline. */
  readonly one: One;
  earlier: Deadline<One> | undefined;
  later: Deadline<One> | undefined;
  /** Due time, in milliseconds of the monotonic clock; set by {@link Deadlines}. */
  dueMs = 0;
  #deadlines: Deadlines<One> | undefined;

  constructor(one: One) {
    this.one = one;
  }

  /** Whether it has begun, and has neither ended nor expired. */
  get isRunning(): boolean {
    return this.#deadlines !== undefined;
  }

  /**
   * Begins a deadline, after ending the running one.
   *
   * @param nowMs time of the monotonic clock
   */
  begin(deadlines: Deadlines<One>, nowMs: number): void {
    this.end();
    this.#deadlines = deadlines;
    deadlines.add(this, nowMs);
  }

  /** Ends the running deadline before it expires. Idempotent. */
  end(): void {
    this.#deadlines?.remove(this);
    this.#deadlines = undefined;
  }
}
