import { pause } from '@meshgate/core';
import type { DrainProgress } from '@meshgate/core';
import type { AdminClient } from '../admin/client.ts';

/**
 * Starts a drain, and tells each progress until it is over: the gateway has drained, or does not answer any more, which is how it ends.
 *
 * @returns the last progress known
 */
export async function drainAndWait(
  gateway: AdminClient,
  onProgress: (progress: DrainProgress) => void,
): Promise<DrainProgress> {
  let last = (await gateway.change('POST', '/drain')) as DrainProgress;
  onProgress(last);
  while (last.state !== 'drained') {
    await pause(POLL_MS, NEVER);
    const next = (await gateway.get('/drain').catch(() => undefined)) as DrainProgress | undefined;
    if (next === undefined) break;
    if (next.state !== last.state || next.remaining !== last.remaining) onProgress(next);
    last = next;
  }
  return last;
}

/** For people. */
export function drainText({ state, remaining, finished, cut, remainingMs }: DrainProgress): string {
  const rest = state === 'drained' ? '' : `, ${Math.ceil(remainingMs / 1_000)} s left at most`;
  return `${state}: ${remaining} connections left, ${finished} finished, ${cut} cut${rest}\n`;
}

const POLL_MS = 250;
const NEVER = new AbortController().signal;
