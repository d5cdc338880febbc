import { settlesWithin } from '@meshgate/core/parts';

/**
 * Returns the result of `work`. Rejects when it has not settled within `ms`, with an error that states the time and
 * `why`; a later result is ignored.
 */
export async function settledWithin<T>(ms: number, work: () => Promise<T>, why: string): Promise<T> {
  const result = work();
  if (await settlesWithin(result, ms)) return result;
  throw new Error(`not done within ${ms / 1000} s: ${why}`);
}
