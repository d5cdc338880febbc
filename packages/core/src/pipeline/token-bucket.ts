import { formatDuration } from '../duration.ts';
import type { Rate } from '../routes/route.ts';

/**
 * A token bucket in one number and without a timer: the time at which it would be full again. To take a token moves that time on by what one
 * token takes to come back (the "generic cell rate algorithm" of ATM, ITU-T I.371).
 */
export class TokenBucket {
  readonly #rate: Rate;
  /** What one token takes to come back, in milliseconds. */
  readonly #tokenMs: number;
  /** What all of them take. */
  readonly #fullMs: number;

  constructor(rate: Rate) {
    const { count, perMs } = rate;
    this.#rate = rate;
    this.#tokenMs = perMs / count;
    // Of less than one token in the time, as a small rate over many processes has, one can be taken at a time.
    this.#fullMs = Math.max(perMs, this.#tokenMs);
  }

  /** Whether that is its rate. */
  hasRate({ count, perMs }: Rate): boolean {
    return this.#rate.count === count && this.#rate.perMs === perMs;
  }

  /**
   * When a bucket will be full again that takes the place of one of another rate: what was spent is spent, at most everything.
   *
   * @param fullAtMs when the other one would have been full
   */
  fullAtAfter(other: TokenBucket, fullAtMs: number, nowMs: number): number {
    const spent = Math.max(0, fullAtMs - nowMs) / other.#tokenMs;
    return nowMs + Math.min(spent * this.#tokenMs, this.#fullMs);
  }

  /**
   * When a bucket will be full again from which a token has been taken; `undefined` when there is none to take.
   *
   * @param fullAtMs when it would have been full without that; in the past when it is
   */
  fullAtAfterTake(fullAtMs: number, nowMs: number): number | undefined {
    const fullAt = Math.max(fullAtMs, nowMs) + this.#tokenMs;
    return fullAt - nowMs <= this.#fullMs + ROUNDING_MS ? fullAt : undefined;
  }
}

/** Sums of fractions come out a little above: less than any clock tells apart. */
const ROUNDING_MS = 1e-6;

/** A rate as an operator writes it: `100/s`. */
export function formatRate({ count, perMs }: Rate): string {
  const unit = UNITS.find(([, ms]) => ms === perMs)?.[0] ?? formatDuration(perMs);
  return `${Math.round(count * 100) / 100}/${unit}`;
}

const UNITS = [
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
] as const;
