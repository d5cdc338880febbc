/**
 * How far what is in use can be trusted. `waiting`: nothing has come yet. `current`: the last answer is in use. `restored`: nothing
 * has come since the process started, what an earlier one kept is in use. `stale`: the present answer is of no use, an earlier one is
 * in use. `failing`: the last try failed; what was in use before, if anything, still is.
 */
export type Freshness = 'waiting' | 'current' | 'restored' | 'stale' | 'failing';

/**
 * What is known of something that is asked for again and again. One policy for all of them: an answer replaces the one before; a
 * failure replaces nothing, and is shown beside the answer that stays in use.
 */
export interface Reading<T> {
  /** Whether the value is current. */
  readonly state: Freshness;
  /** The last good answer; absent when there has been none. */
  readonly value?: T;
  /** When `value` was last known to be right. */
  readonly asOf?: Date;
  /** Why there is no newer answer; present while `failing`. */
  readonly error?: Error;
  /** An answer that was right at its time has come since the process started: an older one is `stale` then, not `restored`. */
  readonly hasBeenCurrent: boolean;
}

/** Nothing is known yet. */
export const NO_READING: Reading<never> = { state: 'waiting', hasBeenCurrent: false };

/**
 * An answer has come.
 *
 * @param asOf when it was right, if that is not now
 */
export function answered<T>(before: Reading<T>, value: T, asOf?: Date): Reading<T> {
  if (asOf === undefined) return { state: 'current', value, asOf: new Date(), hasBeenCurrent: true };
  const { hasBeenCurrent } = before;
  return { state: hasBeenCurrent ? 'stale' : 'restored', value, asOf, hasBeenCurrent };
}

/** A try has failed. */
export function failed<T>(before: Reading<T>, error: Error): Reading<T> {
  return { ...before, state: 'failing', error };
}
