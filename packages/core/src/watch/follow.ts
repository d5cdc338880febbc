import { backoff, pause } from './backoff.ts';
import type { BackoffOptions } from './backoff.ts';

/** What {@link follow} tells of the source it follows. */
export interface Follower<T> {
  /** The sequence has yielded. What this throws counts as its failure. */
  onValue(value: T): void;
  /** The sequence threw, or ended by itself; it is started again in `retryInMs` milliseconds. Must not throw: following would end. */
  onFailure(error: Error, retryInMs: number): void;
}

// A source that fails at once must not spin; one that has been away for an hour should be asked again within half a minute.
const PAUSES: BackoffOptions = { firstMs: 250, maxMs: 30_000 };

/**
 * Follows an endless sequence until `signal` aborts: started anew after a growing pause whenever it throws, or ends although
 * nobody asked it to. A value makes the pauses short again.
 */
export async function follow<T>(
  watch: (signal: AbortSignal) => AsyncIterable<T>,
  signal: AbortSignal,
  follower: Follower<T>,
): Promise<void> {
  let pauses = backoff(PAUSES);
  while (!signal.aborted) {
    try {
      for await (const value of watch(signal)) {
        if (signal.aborted) return;
        pauses = backoff(PAUSES);
        follower.onValue(value);
      }
      if (signal.aborted) return;
      throw new Error('ended although it should go on for as long as it is watched');
    } catch (reason) {
      if (signal.aborted) return;
      const retryInMs = pauses.next().value;
      follower.onFailure(reason instanceof Error ? reason : new Error(String(reason)), retryInMs);
      await pause(retryInMs, signal);
    }
  }
}
