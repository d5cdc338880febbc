/**
 * How current the value in use is. `waiting`: there is no response yet. `current`: the last response is in use. `restored`: there has been
 * no response since the process started, a stored one is in use. `stale`: the last response is unusable, an earlier one is in use.
 * `failing`: the last attempt failed; the value that was in use before, if any, still is.
 */
export type Freshness = 'waiting' | 'current' | 'restored' | 'stale' | 'failing';

/**
 * The last response of something that is queried again and again. One policy for all of them: a response replaces the one before; a
 * failure replaces nothing, and is reported beside the response that stays in use.
 */
export interface Reading<T> {
  /** Whether the value is current. */
  readonly state: Freshness;
  /** The last good answer; absent when there has been none. */
  readonly value?: T;
  /** When `value` was last known to be correct. */
  readonly asOf?: Date;
  /** Why there is no newer response; present while `failing`. */
  readonly error?: Error;
  /** There has been a current answer since the process started: an older one is then `stale`, not `restored`. */
  readonly hasBeenCurrent: boolean;
}

/** There is no response yet. */
export const NO_READING: Reading<never> = { state: 'waiting', hasBeenCurrent: false };

/**
 * There is a response.
 *
 * @param asOf when it was correct, if that is not now
 */
export function answered<T>(before: Reading<T>, value: T, asOf?: Date): Reading<T> {
  if (asOf === undefined) return { state: 'current', value, asOf: new Date(), hasBeenCurrent: true };
  const { hasBeenCurrent } = before;
  return { state: hasBeenCurrent ? 'stale' : 'restored', value, asOf, hasBeenCurrent };
}

/** An attempt has failed. */
export function failed<T>(before: Reading<T>, error: Error): Reading<T> {
  return { ...before, state: 'failing', error };
}
