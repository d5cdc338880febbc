import { setTimeout as pause } from 'node:timers/promises';

/** Result of an attempt: done, or what is still missing, as a clause for people. */
export type Attempt<T> = { readonly done: T } | { readonly missing: string };

/**
 * Retries until it is done. An attempt that rejects is retried.
 *
 * @param what for the error message: `a leader`
 * @param withinMs timeout
 */
export async function eventually<T>(
  what: string,
  withinMs: number,
  signal: AbortSignal,
  attempt: () => Promise<Attempt<T>>,
): Promise<T> {
  const endsAt = performance.now() + withinMs;
  for (;;) {
    const outcome = await attempt().catch((reason: unknown) => ({
      missing: reason instanceof Error ? reason.message : String(reason),
    }));
    if ('done' in outcome) return outcome.done;
    if (performance.now() > endsAt)
      throw new Error(`expected ${what} within ${withinMs / 1000} s, found: ${outcome.missing}`);
    await pause(POLL_MS, undefined, { signal });
  }
}

const POLL_MS = 50;
