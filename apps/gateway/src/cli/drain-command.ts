import { pause } from '@meshgate/core';
import type { DrainProgress } from '@meshgate/core';
import type { AdminClient } from '../admin/client.ts';
import { counted } from '../log/messages.ts';

/**
 * Starts a drain, and reports its progress until the end.
 *
 * @returns the result
 * @throws Error when the gateway exits before it has reported the end, so that the number of cut connections is not
 * known
 */
export async function drainAndWait(
  gateway: AdminClient,
  onProgress: (progress: DrainProgress) => void,
): Promise<DrainProgress> {
  let last: DrainProgress | undefined;
  const update = (next: DrainProgress): void => {
    if (next.state !== last?.state || next.remaining !== last.remaining) onProgress(next);
    last = next;
  };
  // Keeps one request pending, to which the gateway responds before it exits.
  let held = gateway.change('POST', `/drain${HELD}`, HELD_MS) as Promise<DrainProgress>;
  try {
    for (;;) {
      const response = await Promise.race([held, pause(POLL_MS, NEVER)]);
      update(response ?? (await progressOf(gateway)) ?? (await held));
      if (last?.state === 'drained') return last;
      if (response !== undefined) held = gateway.get(`/drain${HELD}`) as Promise<DrainProgress>;
    }
  } catch (reason) {
    if (last === undefined) throw reason;
    throw new Error(`${GONE}: ${drainText(last).trim()}`, { cause: reason });
  }
}

async function progressOf(gateway: AdminClient): Promise<DrainProgress | undefined> {
  return (await gateway.get('/drain').catch(() => undefined)) as DrainProgress | undefined;
}

/** Formats the progress of a drain. */
export function drainText({ state, remaining, finished, cut, remainingMs }: DrainProgress): string {
  const rest = state === 'drained' ? '' : `, at most ${Math.ceil(remainingMs / 1_000)} s left`;
  return `${state}: ${counted(remaining, 'connection')} left, ${finished} finished, ${cut} cut${rest}\n`;
}

const POLL_MS = 500;
/** The gateway responds within ten seconds, and at once when it has drained. */
const HELD = '?wait=5s';
const HELD_MS = 15_000;
const NEVER = new AbortController().signal;
const GONE = 'the gateway exited before it reported the end of its drain; see its log and exit status; last progress';
