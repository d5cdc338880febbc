import { Cell } from '@meshgate/core/parts';

/** Intervals between an event and the check that follows, in milliseconds. */
export interface DebouncerTimes {
  /** Quiet period before a check, so that a change in several steps is not read half done. */
  readonly quietMs: number;
  /** Longest delay after the first event of a continuous burst. */
  readonly burstMs: number;
  /** Poll interval without events; 0 for never. */
  readonly pollMs: number;
}

/**
 * Schedules checks: after a quiet period when there are events, at once when flushed, and at the latest after the poll
 * interval.
 */
export class Debouncer {
  readonly #times: DebouncerTimes;
  readonly #events = new Cell<void>();
  /** Revision of the last handled event. */
  #seen = 0;
  /** Revision of the last flush; 0 for none. */
  #flushed = 0;

  constructor(times: DebouncerTimes) {
    this.#times = times;
  }

  /** Records a possible change. */
  note(): void {
    this.#events.set();
  }

  /** Makes the next check due now. During a burst it remains due at the end, to avoid reading partial changes. */
  flush(): void {
    if (this.#events.revision !== this.#seen) return;
    this.#events.set();
    this.#flushed = this.#events.revision;
  }

  /** Resolves when a check is due, or `signal` aborts. Events between two calls count. For one caller at a time. */
  async next(signal: AbortSignal): Promise<void> {
    const { quietMs, burstMs, pollMs } = this.#times;
    await this.#events.changed(this.#seen, signal, pollMs === 0 ? undefined : pollMs);
    const endsAt = performance.now() + burstMs;
    let seen = this.#flushed > this.#seen ? this.#flushed : this.#seen;
    while (this.#flushed <= this.#seen && seen !== this.#events.revision && performance.now() < endsAt) {
      seen = this.#events.revision;
      await this.#events.changed(seen, signal, Math.min(quietMs, endsAt - performance.now()));
      if (signal.aborted) return;
    }
    this.#seen = seen;
  }
}
