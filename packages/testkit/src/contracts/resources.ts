import { readdirSync } from 'node:fs';
import { eventually } from './deadline.ts';

/** Number of resources that keep the process alive, by kind: timers, sockets, watchers, requests. */
type Resources = ReadonlyMap<string, number>;

/**
 * Runs `round` once, so that per-process resources exist, and then several times: the number of resources that keep the
 * process alive must not grow, after everything has had time to close.
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

/** Returns the number of open descriptors of this process, or `undefined` if it is unknown. */
export function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

/** Resolves when at most `count` descriptors are open; at once if the number is unknown. */
export async function untilDescriptors(count: number | undefined): Promise<void> {
  await eventually(
    () => count === undefined || (openDescriptors() ?? 0) <= count,
    CLOSES_WITHIN_MS,
    () => `expected ${count} open descriptors as before, found ${openDescriptors()}`,
  );
}

// Enough rounds that an unrelated close cannot hide one leak per round.
const ROUNDS = 5;
// Closing takes a turn or two of the event loop, more on a busy machine.
const CLOSES_WITHIN_MS = 3_000;

function activeResources(): Resources {
  const counts = new Map<string, number>();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

function isMoreThan(before: Resources): (entry: readonly [string, number]) => boolean {
  return ([kind, count]) => count > (before.get(kind) ?? 0);
}
