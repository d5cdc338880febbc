import { setTimeout as pause } from 'node:timers/promises';

/**
 * The first outcome of `attempt` that is not `undefined`. Attempts that reject are failed ones.
 *
 * @param what is waited for: a clause for the failure
 */
export async function eventually<T>(what: string, attempt: () => Promise<T | undefined>, withinMs: number): Promise<T> {
  const endsAt = performance.now() + withinMs;
  for (let last = 'nothing yet'; ; await pause(POLL_MS)) {
    const outcome = await attempt().catch((reason: unknown) => {
      last = String(reason);
      return undefined;
    });
    if (outcome !== undefined) return outcome;
    if (performance.now() > endsAt) throw new Error(`expected ${what} within ${withinMs} ms, found: ${last}`);
  }
}

const POLL_MS = 50;
