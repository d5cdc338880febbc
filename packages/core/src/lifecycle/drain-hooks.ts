import { errorOf } from '../errors.ts';
import type { Observer } from '../observe.ts';
import { settlesInTime } from '../watch/scope.ts';
import type { Service } from './service.ts';

/** Options of drain hooks. */
export interface HookControl {
  /** Aborts when the drain is forced. */
  readonly force: AbortSignal;
  /** Receives `service.failed` for each hook that fails. */
  readonly observer: Observer;
}

/** Calls `drain` of all `services` concurrently; resolves when each has settled or timed out. Never rejects. */
export async function runDrainHooks(services: readonly Service[], control: HookControl): Promise<void> {
  await Promise.all(services.map((service) => runBounded(service.name, () => service.drain?.(control.force), control)));
}

/**
 * Runs one part of a drain. A failure, or a timeout after 5 s (1 s once the drain is forced), is reported as
 * `service.failed` and does not stop the other parts. Never rejects.
 */
export async function runBounded(
  name: string,
  hook: () => Promise<void> | undefined,
  { force, observer }: HookControl,
): Promise<void> {
  const work = Promise.resolve().then(hook);
  // The hook has the same signal.
  const forced = { signal: force, ms: FORCED_HOOK_TIMEOUT_MS };
  try {
    if (!(await settlesInTime(work, HOOK_TIMEOUT_MS, forced)))
      throw new Error('its part of the drain did not settle in time');
    await work;
  } catch (reason) {
    observer.observe({ type: 'service.failed', service: name, error: errorOf(reason) });
  }
}

/** A deregistration takes less than a second; an orchestrator waits for the sum of the drain's times and about 10 s. */
export const HOOK_TIMEOUT_MS = 5_000;
const FORCED_HOOK_TIMEOUT_MS = 1_000;
