import { pause } from './scope.ts';

/** A rate limit. */
export interface PaceOptions {
  /** Number of events allowed at once after a quiet period. */
  readonly burst: number;
  /** Long-term rate, in events per second. */
  readonly perSecond: number;
}

/** A token bucket: allows a burst, then a constant rate. */
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

  /** Takes a token. @returns how long to wait for it, in milliseconds */
  take(): number {
    const { burst, perSecond } = this.#options;
    const now = this.#now();
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) / 1_000) * perSecond) - 1;
    this.#filledAt = now;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / perSecond) * 1_000;
  }

  /** Waits for a token, or until `signal` aborts. */
  async next(signal: AbortSignal): Promise<void> {
    const waitMs = this.take();
    if (waitMs > 0) await pause(waitMs, signal);
  }
}
