/**
 * How a direction has been going: below {@link BULK} it is copied. Each large read counts up, each small one down, so that a
 * stream is promoted by its first full buffer and demoted only when small messages have become the rule.
 */
export type KernelPace = number;

/** How every direction begins. */
export const SMALL: KernelPace = 0;
/** From here on a direction is spliced. */
export const BULK: KernelPace = 4;
const BULKIEST: KernelPace = 8;
/** The socket cannot be spliced. */
export const NEVER_BULK: KernelPace = Number.NEGATIVE_INFINITY;

/** @param large the last read filled its buffer */
export function paceAfter(pace: KernelPace, large: boolean): KernelPace {
  if (pace === NEVER_BULK) return pace;
  if (large) return Math.min(BULKIEST, Math.max(pace, SMALL) + BULK);
  return pace > SMALL ? pace - 1 : pace;
}
