/** Bounds of the pauses of a back-off, in milliseconds. */
export interface BackoffOptions {
  /** The first pause. */
  readonly firstMs: number;
  /** The longest pause. */
  readonly maxMs: number;
}

/** Keeps a source that fails at once from spinning, and retries one that was away for an hour within half a minute. */
export const RETRY_PAUSES: BackoffOptions = { firstMs: 250, maxMs: 30_000 };

/**
 * Generates pauses in milliseconds that double from `firstMs` to `maxMs`, each shortened at random by up to half, so
 * that clients that failed together do not retry together. Endless.
 */
export function* backoff(
  { firstMs, maxMs }: BackoffOptions,
  random: () => number = Math.random,
): Generator<number, never> {
  for (let ms = firstMs; ; ms = Math.min(maxMs, ms * 2)) yield ms * (1 - random() / 2);
}
