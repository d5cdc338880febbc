import { setImmediate as nextTurn } from 'node:timers/promises';
import { backoff, RETRY_PAUSES } from './backoff.ts';
import type { BackoffOptions } from './backoff.ts';
import { errorOf } from '../errors.ts';
import { foundPart } from '../lifecycle/part-shape.ts';
import { aborted, pause, settlesWithin } from './scope.ts';

/** Callbacks of {@link follow}. */
export interface Follower<T> {
  /** Called for each value. An exception counts as a failure of the sequence. */
  onValue(value: T): void;
  /** Called when the sequence throws or ends by itself; it is restarted in `retryInMs` milliseconds. */
  onFailure(error: Error, retryInMs: number): void;
  /** Pauses between restarts; 250 ms to 30 s when absent. */
  readonly pauses?: BackoffOptions;
}

/** `ended`: the sequence ended in time. `left-behind`: it did not stop after its signal aborted, and was abandoned. */
export type FollowEnd = 'ended' | 'left-behind';

/**
 * A sequence that has run this long after its first value resets the back-off. A value alone does not: an agent without
 * servers responds from its cache and fails a moment later. Longer than a blocking query and its timeout together.
 */
const LASTING_MS = 60_000;

// Longest time without yielding to the event loop, for a sequence that yields without waiting.
const TURN_MS = 5;

/** Sources must return soon after the signal aborts: one that takes longer will not. */
export const STOP_MS = 2_000;

/**
 * Follows an endless sequence until `signal` aborts: restarts it, with back-off, whenever it throws or ends before
 * that. Yields to the event loop every 5 ms even if the sequence never waits.
 *
 * Resolves at most two seconds after the signal, whatever the sequence does. Never rejects.
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
      for await (const value of sequenceOf(watch(signal))) {
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

/** Plugins are JavaScript: an `async watch()`, or one that returns nothing, is a usual mistake. */
function sequenceOf<T>(watched: AsyncIterable<T>): AsyncIterable<T> {
  const isSequence = typeof watched === 'object' && watched !== null;
  if (isSequence && (Symbol.asyncIterator in watched || Symbol.iterator in watched)) return watched;
  throw new TypeError(
    `expected watch() to return an async iterable, as async *watch() does, found ${foundPart(watched)}`,
  );
}

/** An observer that throws must not stop `follow`. */
function report(follower: Follower<never>, error: Error, retryInMs: number): void {
  try {
    follower.onFailure(error, retryInMs);
  } catch {
    // Nothing else could report it.
  }
}
