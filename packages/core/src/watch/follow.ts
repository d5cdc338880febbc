import { setImmediate as nextTurn } from 'node:timers/promises';
import { backoff, RETRY_PAUSES } from './backoff.ts';
import type { BackoffOptions } from './backoff.ts';
import { errorOf } from '../errors.ts';
import { aborted, pause, settlesWithin } from './scope.ts';

/** What {@link follow} reports of the sequence it follows. */
export interface Follower<T> {
  /** The sequence has yielded. What this throws counts as a failure of the sequence. */
  onValue(value: T): void;
  /** The sequence threw, or ended by itself; it is started again in `retryInMs` milliseconds. */
  onFailure(error: Error, retryInMs: number): void;
  /** Pauses between tries; 250 ms to 30 s when absent. */
  readonly pauses?: BackoffOptions;
}

/** How following ended: in time, or by abandoning a sequence that did not stop after its signal had aborted. */
export type FollowEnd = 'ended' | 'left-behind';

/**
 * A sequence that has run this long after its first value was a success: the next failure starts the back-off anew. A value
 * alone is none: an agent without servers answers from its cache, and fails a moment later. Longer than a blocking query and its
 * time-out together.
 */
const LASTING_MS = 60_000;

// The longest that a sequence which yields without ever waiting may keep the event loop.
const TURN_MS = 5;

/** Sources promise to return at once after the signal: one that takes longer than this will not. */
const STOP_MS = 2_000;

/**
 * Follows an endless sequence until `signal` aborts: restarted after a growing pause whenever it throws, or ends before the
 * signal aborts. A sequence that yields without ever waiting yields the event loop every 5 ms all the same.
 *
 * Resolves two seconds after the signal at the latest, whatever the sequence does. Never rejects.
 */
export async function follow<T>(
  watch: (signal: AbortSignal) => AsyncIterable<T>,
  signal: AbortSignal,
  follower: Follower<T>,
): Promise<FollowEnd> {
  const following = followUntil(watch, signal, follower);
  await aborted(signal);
  return (await settlesWithin(following, STOP_MS)) ? 'ended' : 'left-behind';
}

async function followUntil<T>(
  watch: (signal: AbortSignal) => AsyncIterable<T>,
  signal: AbortSignal,
  follower: Follower<T>,
): Promise<void> {
  const { pauses = RETRY_PAUSES } = follower;
  let pausesMs = backoff(pauses);
  while (!signal.aborted) {
    let firstAt: number | undefined;
    let turnEndsAt = performance.now() + TURN_MS;
    try {
      for await (const value of watch(signal)) {
        if (signal.aborted) return;
        firstAt ??= performance.now();
        follower.onValue(value);
        if (performance.now() < turnEndsAt) continue;
        await nextTurn();
        turnEndsAt = performance.now() + TURN_MS;
      }
      if (signal.aborted) return;
      throw new Error('ended although its signal had not aborted');
    } catch (reason) {
      if (signal.aborted) return;
      if (firstAt !== undefined && performance.now() - firstAt >= LASTING_MS) pausesMs = backoff(pauses);
      const retryInMs = pausesMs.next().value;
      report(follower, errorOf(reason), retryInMs);
      await pause(retryInMs, signal);
    }
  }
}

/** An observer that throws must not end the following. */
function report(follower: Follower<never>, error: Error, retryInMs: number): void {
  try {
    follower.onFailure(error, retryInMs);
  } catch {
    // There is nobody else to report this to.
  }
}
