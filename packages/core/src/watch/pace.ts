import { pause } from './scope.ts';

/** A bound on how often something happens. */
export interface PaceOptions {
  /** How many may happen at once after a rest. */
  readonly burst: number;
  /** How many a second may happen in the long run. */
  readonly perSecond: number;
}

/** Lets through a burst, and after that so many a second (a token bucket). */
export class Pace {
  readonly #options: PaceOptions;
  readonly #now: () => number;
  #tokens: number;
  #filledAt: number;

  /** @param now monotonic milliseconds */
  constructor(options: PaceOptions, now: () => number = () => performance.now()) {
    this.#options = options;
    this.#now = now;
    this.#tokens = options.burst;
    this.#filledAt = now();
  }

  /** Takes the next place: how long to wait before going on, in milliseconds. */
  take(): number {
    const { burst, perSecond } = this.#options;
    const now = this.#now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) / 1_000) * perSecond) - 1;
    this.#filledAt = now;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / perSecond) * 1_000;
  }

  /** Waits for the next place, or until `signal` aborts. */
  async next(signal: AbortSignal): Promise<void> {
    const waitMs = this.take();
    if (waitMs > 0) await pause(waitMs, signal);
  }
}
