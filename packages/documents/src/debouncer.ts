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
  #timer: NodeJS.Timeout | undefined;
  #burstSince: number | undefined;
  #due = false;
  #wake: () => void = nothing;

  constructor(times: DebouncerTimes) {
    this.#times = times;
  }

  /** Something may have changed. */
  note(): void {
    const now = performance.now();
    this.#burstSince ??= now;
    const leftMs = this.#burstSince + this.#times.burstMs - now;
    this.#arm(Math.max(0, Math.min(this.#times.quietMs, leftMs)));
  }

  /** The next round is due now; or, in the middle of a burst, when that is over: it would see things half done. */
  flush(): void {
    if (this.#burstSince === undefined) this.#fire();
  }

  /** Resolves when a round is due. What happened while nobody waited counts. One caller at a time. */
  async next(): Promise<void> {
    if (!this.#due) {
      if (this.#burstSince === undefined && this.#times.pollMs > 0) this.#arm(this.#times.pollMs);
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    this.#due = false;
    this.#wake = nothing;
  }

  /** Leaves no timer behind. Whoever waits in {@link next} is let go. */
  close(): void {
    this.#fire();
  }

  #fire(): void {
    clearTimeout(this.#timer);
    this.#burstSince = undefined;
    this.#due = true;
    this.#wake();
  }

  #arm(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#fire(), ms);
  }
}

function nothing(): void {}
