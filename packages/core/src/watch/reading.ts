/**
 * State of the value in use. `waiting`: no response yet. `current`: the last response is in use. `restored`: no
 * response since the process started; a stored one is in use. `stale`: the last response is unusable; an earlier one is
 * in use. `failing`: the last attempt failed; the former value, if any, stays in use.
 */
export type Freshness = 'waiting' | 'current' | 'restored' | 'stale' | 'failing';

/**
 * The last response of something that is queried repeatedly. The policy is the same everywhere: a response replaces the
 * one before; a failure replaces nothing, and is reported next to the response in use.
 */
export interface Reading<T> {
  /** State of `value`. */
  readonly state: Freshness;
  /** The last good response; absent if there has been none. */
  readonly value?: T;
  /** Time at which `value` was last known to be correct. */
  readonly asOf?: Date;
  /** Why there is no newer response; present while `failing`. */
  readonly error?: Error;
  /** Whether there has been a current response in this process: an older one is then `stale` instead of `restored`. */
  readonly hasBeenCurrent: boolean;
}

/** The reading before the first response. */
export const NO_READING: Reading<never> = { state: 'waiting', hasBeenCurrent: false };

/**
 * Returns the reading after a response.
 *
 * @param asOf time at which the value was correct, if not now
 */
export function answered<T>(before: Reading<T>, value: T, asOf?: Date): Reading<T> {
  if (asOf === undefined) return { state: 'current', value, asOf: new Date(), hasBeenCurrent: true };
  const { hasBeenCurrent } = before;
  return { state: hasBeenCurrent ? 'stale' : 'restored', value, asOf, hasBeenCurrent };
}

/** Returns the reading after a failed attempt. */
export function failed<T>(before: Reading<T>, error: Error): Reading<T> {
  return { ...before, state: 'failing', error };
}
