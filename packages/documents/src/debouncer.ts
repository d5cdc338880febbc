import { Cell } from '@meshgate/core/parts';

/** When to look again. Times in milliseconds. */
export interface DebouncerTimes {
  /** Silence after an event before it is looked at: what is written in several steps is not seen half done. */
  readonly quietMs: number;
  /** Longest wait after the first event of a burst that never falls silent. */
  readonly burstMs: number;
  /** Between two looks when nothing happens; 0 for never. */
  readonly pollMs: number;
}

/** Says when to look again: some silence after events, at once when flushed, at the latest when the poll is due. */
export class Debouncer {
  readonly #times: DebouncerTimes;
  readonly #events = new Cell<void>();
  /** Revision of the last event that has been looked at. */
  #seen = 0;
  /** Revision of the last flush; 0 for none. */
  #flushed = 0;

  constructor(times: DebouncerTimes) {
    this.#times = times;
  }

  /** Something may have changed. */
  note(): void {
    this.#events.set();
  }

  /** The next round is due now; or, in the middle of a burst, when that is over: it would see things half done. */
  flush(): void {
    if (this.#events.revision !== this.#seen) return;
    this.#events.set();
    this.#flushed = this.#events.revision;
  }

  /** Resolves when a round is due, or `signal` aborts. Events between two calls count. One caller at a time. */
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
