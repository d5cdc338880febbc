/** Bounds of a growing pause, in milliseconds. */
export interface BackoffOptions {
  /** The first pause. */
  readonly firstMs: number;
  /** No pause is longer. */
  readonly maxMs: number;
}

/** A source that fails at once must not spin; one that has been away for an hour should be asked again within half a minute. */
export const RETRY_PAUSES: BackoffOptions = { firstMs: 250, maxMs: 30_000 };

/**
 * Pauses that double from `firstMs` to `maxMs`, each shortened at random by up to a half, so that many who failed together do
 * not come back together. Endless.
 */
export function* backoff(
  { firstMs, maxMs }: BackoffOptions,
  random: () => number = Math.random,
): Generator<number, never> {
  for (let ms = firstMs; ; ms = Math.min(maxMs, ms * 2)) yield ms * (1 - random() / 2);
}
