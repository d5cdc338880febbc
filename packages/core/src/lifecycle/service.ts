import { settlesInTime } from '../watch/scope.ts';

/**
 * Something with a lifetime. The signal always means "do not wait any longer": in `start` give up, in `stop` force it.
 */
export interface Service {
  readonly name: string;
  /** Resolves when others may rely on it. Rejects, having cleaned up after itself, when it cannot start. */
  start(signal: AbortSignal): Promise<void>;
  /**
   * The proxy is about to leave and still accepts: deregister from load balancers and catalogs. Called at most once, before `stop`.
   * A failure is reported and does not keep the drain from going on.
   */
  drain?(signal: AbortSignal): Promise<void>;
  /** Takes no new work, finishes what is in flight, resolves when nothing is left. Called once, after `start` resolved. */
  stop(signal: AbortSignal): Promise<void>;
}

/** A change that can be put into use at once: everything that may fail has been done, and nothing of it is in use yet. Either, once. */
export interface PreparedChange {
  /** Puts it into use. Resolves when nothing is left of what was in use before. */
  commit(): Promise<void>;
  /** Gives it up: everything stays as it was. */
  discard(): Promise<void>;
}

// The daemon waits one second longer than this. A service that needs more is named in the error, and left behind.
const STOP_TIMEOUT_MS = 10_000;
const FORCED_STOP_TIMEOUT_MS = 2_000;

/**
 * `services` as one: started in order, stopped in reverse. When one cannot start, or `signal` aborts, those before it are
 * stopped again. One that does not stop within 10 s, or within 2 s of an abort, does not keep the others from stopping.
 */
export function inOrder(name: string, services: readonly Service[]): Service {
  const started: Service[] = [];
  return { name, start, stop };

  async function start(signal: AbortSignal): Promise<void> {
    for (const service of services) {
      try {
        signal.throwIfAborted();
        await service.start(signal);
      } catch (reason) {
        await stop(AbortSignal.abort(reason));
        throw reason;
      }
      started.push(service);
    }
  }

  function stop(signal: AbortSignal): Promise<void> {
    return stopInReverse(name, started.splice(0), signal);
  }
}

/**
 * Stops `services`, the last one first, each within the same time as {@link inOrder} gives it.
 *
 * @throws AggregateError when some did not stop cleanly, with what each of them rejected with
 */
export async function stopInReverse(name: string, services: readonly Service[], signal: AbortSignal): Promise<void> {
  const failures: unknown[] = [];
  for (const service of services.toReversed()) {
    try {
      const stopped = service.stop(signal);
      if (await settlesInTime(stopped, STOP_TIMEOUT_MS, { signal, ms: FORCED_STOP_TIMEOUT_MS })) await stopped;
      else failures.push(new Error(`${service.name} did not stop in time`));
    } catch (reason) {
      // One that is made of several, which have each been named.
      const each: readonly unknown[] = reason instanceof AggregateError ? reason.errors : [reason];
      failures.push(...each);
    }
  }
  if (failures.length > 0)
    throw new AggregateError(failures, `${name}: ${failures.length} services did not stop cleanly`);
}
