import { readdirSync } from 'node:fs';
import { eventually } from './deadline.ts';

/** What keeps the process alive, by kind: timers, sockets, watchers, requests. */
type Resources = ReadonlyMap<string, number>;

/**
 * Runs `round` once, so that what is made once a process is there, and then some more times: nothing that keeps the process
 * alive may have become more, once everything has had its time to close.
 */
export async function leavesNothingBehind(round: () => Promise<void>): Promise<void> {
  await round();
  const before = activeResources();
  for (let count = 0; count < ROUNDS; count += 1) await round();
  const more = (): readonly string[] => [...activeResources()].filter(isMoreThan(before)).map(([kind]) => kind);
  await eventually(
    () => more().length === 0,
    CLOSES_WITHIN_MS,
    () => `expected nothing to be left behind, found more of ${more().join(', ')} than before ${ROUNDS} rounds`,
  );
}

/** Descriptors that this process has open; `undefined` where the system does not tell. */
export function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

/** Resolves once no more than `count` descriptors are open; at once where the system does not tell. */
export async function untilDescriptors(count: number | undefined): Promise<void> {
  await eventually(
    () => count === undefined || (openDescriptors() ?? 0) <= count,
    CLOSES_WITHIN_MS,
    () => `expected ${count} open descriptors as before, found ${openDescriptors()}`,
  );
}

// More than chance: one leak a round cannot hide behind something else that happens to close.
const ROUNDS = 5;
// Closing takes a turn or two of the event loop; a busy machine makes more of it.
const CLOSES_WITHIN_MS = 3_000;

function activeResources(): Resources {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

function isMoreThan(before: Resources): (entry: readonly [string, number]) => boolean {
  return ([kind, count]) => count > (before.get(kind) ?? 0);
}
