import { formatDuration } from './duration.ts';
import type { Rate } from './routes/route.ts';

/**
 * A token bucket as a single number, without a timer: the time at which it will be full again. Taking a token moves
 * that time by the refill time of one token (the "generic cell rate algorithm" of ATM, ITU-T I.371).
 */
export class TokenBucket {
  readonly #rate: Rate;
  /** Refill time of one token, in milliseconds. */
  readonly #tokenMs: number;
  /** Refill time of all tokens, in milliseconds. */
  readonly #fullMs: number;

  constructor(rate: Rate) {
    const { count, perMs } = rate;
    this.#rate = rate;
    this.#tokenMs = perMs / count;
    // A small rate shared by many processes may be less than one token: one can still be taken at a time.
    this.#fullMs = Math.max(perMs, this.#tokenMs);
  }

  /** Whether the bucket has this rate. */
  hasRate({ count, perMs }: Rate): boolean {
    return this.#rate.count === count && this.#rate.perMs === perMs;
  }

  /**
   * Returns when this bucket will be full if it replaces `other`, which has another rate: spent tokens stay spent, up
   * to all of them.
   *
   * @param fullAtMs time at which `other` would have been full
   */
  fullAtAfter(other: TokenBucket, fullAtMs: number, nowMs: number): number {
    const spent = Math.max(0, fullAtMs - nowMs) / other.#tokenMs;
    return nowMs + Math.min(spent * this.#tokenMs, this.#fullMs);
  }

  /**
   * Returns when the bucket will be full after a token is taken, or `undefined` if it is empty.
   *
   * @param fullAtMs time at which it would have been full otherwise; in the past if it is full
   */
  fullAtAfterTake(fullAtMs: number, nowMs: number): number | undefined {
    const fullAt = this.fullAtAfterOwing(fullAtMs, nowMs);
    return this.waitMs(fullAt, nowMs) <= ROUNDING_MS ? fullAt : undefined;
  }

  /** Like {@link fullAtAfterTake}, but an empty bucket owes the token: it may be used after {@link waitMs}. */
  fullAtAfterOwing(fullAtMs: number, nowMs: number): number {
    return Math.max(fullAtMs, nowMs) + this.#tokenMs;
  }

  /** Returns how long a bucket owes tokens, in milliseconds; 0 if it owes none. @param fullAtMs when it will be full */
  waitMs(fullAtMs: number, nowMs: number): number {
    return Math.max(0, fullAtMs - nowMs - this.#fullMs);
  }
}

/** Tolerance for rounding errors in sums: below the resolution of any clock. */
const ROUNDING_MS = 1e-6;

/** Formats a rate in the notation of the configuration: `100/s`. */
export function formatRate({ count, perMs }: Rate): string {
  const unit = UNITS.find(([, ms]) => ms === perMs)?.[0] ?? formatDuration(perMs);
  return `${Math.round(count * 100) / 100}/${unit}`;
}

const UNITS = [
  ['s', 1_000],
  ['m', 60_000],
  ['h', 3_600_000],
] as const;
