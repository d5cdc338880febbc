import { settlesInTime } from '../watch/scope.ts';

/** Something with a lifetime. An aborted signal always means "do not wait": `start` gives up, `stop` is forced. */
export interface Service {
  /** Name in error messages, events and metrics. */
  readonly name: string;
  /** Starts the service; resolves when others may rely on it. If it cannot start, it cleans up and rejects. */
  start(signal: AbortSignal): Promise<void>;
  /**
   * Announces the end while the proxy still accepts: deregister from load balancers and catalogs. Called at most once,
   * before `stop`. A failure is reported and does not stop the drain.
   */
  drain?(signal: AbortSignal): Promise<void>;
  /**
   * Finishes work in progress, takes no more, and resolves when nothing is left. Called once, after a successful
   * `start`.
   */
  stop(signal: AbortSignal): Promise<void>;
}

/**
 * A change that is ready to take effect: every step that may fail has succeeded, and nothing is in use yet. Call either
 * method, once.
 */
export interface PreparedChange {
  /** Puts the change into effect. Resolves when nothing of the former state is left. */
  commit(): Promise<void>;
  /** Discards the change: everything stays as it was. */
  discard(): Promise<void>;
}

// The daemon waits one second longer. A service that exceeds it is named in the error and abandoned.
const STOP_TIMEOUT_MS = 10_000;
const FORCED_TIMEOUT_MS = 2_000;

/**
 * Combines `services` into one: started in order, stopped in reverse. If one cannot start, or `signal` aborts, those
 * already started are stopped again. A service that does not settle within 2 s of an abort, or does not stop within 10
 * s, is abandoned: it does not keep the others from stopping.
 */
export function inOrder(name: string, services: readonly Service[]): Service {
  const running: Service[] = [];
  return { name, start, stop };

  async function start(signal: AbortSignal): Promise<void> {
    for (const service of services) {
      try {
        signal.throwIfAborted();
        await started(service, signal);
      } catch (reason) {
        await stop(AbortSignal.abort(reason));
        throw reason;
      }
      running.push(service);
    }
  }

  function stop(signal: AbortSignal): Promise<void> {
    return stopInReverse(name, running.splice(0), signal);
  }
}

/** Resolves when `service` has started. An abandoned one is stopped as soon as it has started. */
async function started(service: Service, signal: AbortSignal): Promise<void> {
  const starting = service.start(signal);
  if (await settlesInTime(starting, undefined, { signal, ms: FORCED_TIMEOUT_MS })) return starting;
  starting.then(() => service.stop(signal)).catch(() => undefined);
  throw new Error(`${service.name} did not give up its start in time`, { cause: signal.reason });
}

/**
 * Stops `services` in reverse order, each with the timeouts of {@link inOrder}.
 *
 * @throws AggregateError with every rejection, if some did not stop cleanly
 */
export async function stopInReverse(name: string, services: readonly Service[], signal: AbortSignal): Promise<void> {
  const failures: unknown[] = [];
  for (const service of services.toReversed()) {
    try {
      const stopped = service.stop(signal);
      if (await settlesInTime(stopped, STOP_TIMEOUT_MS, { signal, ms: FORCED_TIMEOUT_MS })) await stopped;
      else failures.push(new Error(`${service.name} did not stop in time`));
    } catch (reason) {
      // Flattens the error of a combined service: its services have already been named.
      const each: readonly unknown[] = reason instanceof AggregateError ? reason.errors : [reason];
      failures.push(...each);
    }
  }
  if (failures.length > 0)
    throw new AggregateError(failures, `${name}: ${failures.length} services did not stop cleanly`);
}
