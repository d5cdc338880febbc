import { PatientTimer } from '@meshgate/core/parts';
import { TimerWheel } from './timer-wheel.ts';

/**
 * Deadlines by small integer in a {@link TimerWheel}, with a single Node timer for all of them, set only for the next
 * possible expiry.
 */
export class WheelTimer {
  readonly #wheel = new TimerWheel(performance.now());
  readonly #onDue: (key: number) => void;
  readonly #timer = new PatientTimer(() => this.#onTimer(), true);
  #timerAtMs = Infinity;

  /**
   * @param onDue called with the key of each expired deadline, which has been cleared
   */
  constructor(onDue: (key: number) => void) {
    this.#onDue = onDue;
  }

  /** Sets the deadline of `key`, replacing an earlier one. */
  set(key: number, afterMs: number): void {
    const nowMs = performance.now();
    const atMs = nowMs + afterMs;
    this.#wheel.set(key, atMs, nowMs);
    this.#wakeFor(atMs, nowMs);
  }

  /** Clears the deadline of `key`. Idempotent. */
  clear(key: number): void {
    this.#wheel.clear(key);
  }

  /** Releases the timer, which keeps the process alive. No deadline may be left. */
  rest(): void {
    this.#timer.clear();
    this.#timerAtMs = Infinity;
  }

  #wakeFor(atMs: number, nowMs: number): void {
    if (atMs >= this.#timerAtMs) return;
    this.#timerAtMs = atMs;
    this.#timer.set(Math.max(1, Math.ceil(atMs - nowMs)));
  }

  #onTimer(): void {
    this.#timerAtMs = Infinity;
    const nowMs = performance.now();
    this.#wheel.advance(nowMs, this.#onDue);
    const quietMs = this.#wheel.quietMs(nowMs);
    if (quietMs !== undefined) this.#wakeFor(nowMs + quietMs, nowMs);
  }
}
