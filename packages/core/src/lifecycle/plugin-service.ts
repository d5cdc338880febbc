import { errorOf } from '../errors.ts';
import { settlesInTime } from '../watch/scope.ts';
import type { Service } from './service.ts';

/**
 * Wraps a plugin's service: if its start fails, or does not settle in time, the error names service and plugin. A
 * service that starts after that is stopped again.
 */
export function pluginService(service: Service, plugin: string): Service {
  const { name } = service;
  const who = `service ${JSON.stringify(name)} of the plugin ${JSON.stringify(plugin)}`;
  return {
    name,
    start,
    ...(service.drain !== undefined && { drain: (signal: AbortSignal) => Promise.resolve(service.drain?.(signal)) }),
    stop: async (signal) => service.stop(signal),
  };

  async function start(signal: AbortSignal): Promise<void> {
    const started = Promise.resolve().then(() => service.start(signal));
    const inTime = await settlesInTime(started, START_TIMEOUT_MS, { signal, ms: FORCED_START_TIMEOUT_MS });
    if (!inTime) {
      started.then(() => service.stop(AbortSignal.abort())).catch(() => undefined);
      throw new Error(`${who} did not start within ${START_TIMEOUT_MS / 1000} s`);
    }
    try {
      await started;
    } catch (reason) {
      throw new Error(`${who}: ${errorOf(reason).message}`, { cause: reason });
    }
  }
}

/** The same as for the installation of a plugin: an operator waits, and a service manager may not wait much longer. */
const START_TIMEOUT_MS = 10_000;
const FORCED_START_TIMEOUT_MS = 2_000;
