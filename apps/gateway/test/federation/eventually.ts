import { setTimeout as pause } from 'node:timers/promises';

/**
 * The first outcome of `attempt` that is not `undefined`. An attempt that rejects is retried.
 *
 * @param what the expectation: a clause for the error message
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
