import { settlesWithin } from '@meshgate/core/parts';

/**
 * What `work` gives. Rejects when it has not settled within `ms`, with an error that says how long that was, and `why`: what it gives later
 * is dropped.
 */
export async function settledWithin<T>(ms: number, work: () => Promise<T>, why: string): Promise<T> {
  const result = work();
  if (await settlesWithin(result, ms)) return result;
  throw new Error(`not done within ${ms / 1000} s: ${why}`);
}
