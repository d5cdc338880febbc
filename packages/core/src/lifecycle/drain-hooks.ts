import { errorOf } from '../errors.ts';
import type { Observer } from '../observe.ts';
import { pause } from '../watch/backoff.ts';
import type { Service } from './service.ts';

/** What the hooks of a drain are run under. */
export interface HookControl {
  /** Aborts when nobody waits politely any longer. */
  readonly force: AbortSignal;
  /** Told of hooks that fail. */
  readonly observer: Observer;
}

/** Calls `drain` of all `services` at once; resolves when each has settled, or has had its time. Never rejects. */
export async function runDrainHooks(services: readonly Service[], control: HookControl): Promise<void> {
  const hooks = services.filter((service) => service.drain !== undefined);
  await Promise.all(hooks.map((service) => runBounded(service.name, () => service.drain?.(control.force), control)));
}

/**
 * Runs one part of a drain: one that fails, or does not settle in time, is reported as `service.failed`, and keeps nobody else from
 * leaving. Never rejects.
 */
export async function runBounded(
  name: string,
  hook: () => Promise<void> | undefined,
  { force, observer }: HookControl,
): Promise<void> {
  const settled = new AbortController();
  try {
    const late = hookTimeout(force, settled.signal).then(() => LATE);
    if ((await Promise.race([hook(), late])) === LATE) throw new Error('its part of the drain did not settle in time');
  } catch (reason) {
    observer.observe({ type: 'service.failed', service: name, error: errorOf(reason) });
  } finally {
    settled.abort();
  }
}

async function hookTimeout(force: AbortSignal, settled: AbortSignal): Promise<void> {
  const first = new AbortController();
  const end = (): void => first.abort();
  const signals = [settled, force];
  for (const signal of signals) signal.addEventListener('abort', end, { once: true });
  await pause(force.aborted ? 0 : HOOK_TIMEOUT_MS, first.signal);
  for (const signal of signals) signal.removeEventListener('abort', end);
  // Told to hurry, by the same signal, a moment ago.
  if (force.aborted) await pause(FORCED_HOOK_TIMEOUT_MS, settled);
}

/** An agent that is asked to send nobody here answers within a second; an orchestrator waits for the sum of the drain and some 10 s. */
export const HOOK_TIMEOUT_MS = 5_000;
const FORCED_HOOK_TIMEOUT_MS = 1_000;
const LATE = Symbol('late');
