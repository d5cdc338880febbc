import { timerMs } from './scope.ts';

// More than any turn of the event loop takes while the process has the processor.
const OVERDUE_MS = 500;
// Many turns of the event loop.
const GRACE_MS = 100;

/**
 * A timer for deadlines of peers. If it fires late, because the process was stopped, suspended or starved of CPU, it
 * waits once more: data that arrived in time is then handled first, so that no peer is blamed for a local stall.
 */
export class PatientTimer {
  readonly #onDue: () => void;
  readonly #keepsAlive: boolean;
  #timer: NodeJS.Timeout | undefined;
  #dueMs = 0;
  #isGrace = false;

  /** @param keepsAlive whether the process keeps running while the timer is set */
  constructor(onDue: () => void, keepsAlive: boolean) {
    this.#onDue = onDue;
    this.#keepsAlive = keepsAlive;
  }

  /**
   * Calls back once, after `afterMs` milliseconds, but at most the longest delay of a Node timer; replaces an earlier
   * call.
   */
  set(afterMs: number): void {
    this.clear();
    const ms = timerMs(afterMs);
    this.#dueMs = performance.now() + ms;
    this.#start(ms);
  }

  /** Idempotent. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#isGrace = false;
  }

  #start(afterMs: number): void {
    this.#timer = setTimeout(() => this.#fire(), afterMs);
    if (!this.#keepsAlive) this.#timer.unref();
  }

  #fire(): void {
    this.#isGrace = !this.#isGrace && performance.now() - this.#dueMs > OVERDUE_MS;
    if (this.#isGrace) this.#start(GRACE_MS);
    else this.#onDue();
  }
}
