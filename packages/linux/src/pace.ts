/**
 * Recent history of a direction; below {@link BULK} it is copied. Large reads count up, small ones down, so that the
 * first full buffer promotes a stream, and only a majority of small messages demotes it.
 */
export type KernelPace = number;

/** Initial value. */
export const SMALL: KernelPace = 0;
/** From this value on, a direction is spliced. */
export const BULK: KernelPace = 4;
const BULKIEST: KernelPace = 8;
/** Value of a socket that cannot be spliced. */
export const NEVER_BULK: KernelPace = Number.NEGATIVE_INFINITY;

/** Returns the value after a read. @param large whether the read filled its buffer */
export function paceAfter(pace: KernelPace, large: boolean): KernelPace {
  if (pace === NEVER_BULK) return pace;
  if (large) return Math.min(BULKIEST, Math.max(pace, SMALL) + BULK);
  return pace > SMALL ? pace - 1 : pace;
}
