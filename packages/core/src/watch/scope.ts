import { setMaxListeners } from 'node:events';

/** Node's timers fire at once if the delay is longer: 24.8 days. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** Limits `ms` to the longest delay of a Node timer: callers with a longer wait check again then. */
export function timerMs(ms: number): number {
  return Math.min(ms, LONGEST_TIMER_MS);
}

/** A lifetime: work started within it gets its signal, which aborts when the scope ends. */
export interface Scope {
  /** Aborts when this scope or the outer one ends. Any number of listeners may be added. */
  readonly signal: AbortSignal;
  /** Ends the scope, and removes its listener from the outer one. Idempotent. `reason` becomes the signal's reason. */
  end(reason?: unknown): void;
}

/**
 * Opens a scope, within `outer` if it is given. A scope that has ended leaves no listener on `outer`, which may live as
 * long as the process.
 */
export function openScope(outer?: AbortSignal): Scope {
  const inner = new AbortController();
  // Each pending query listens to the signal: many listeners are intended, not a leak.
  setMaxListeners(0, inner.signal);
  let release = nothing;
  if (outer !== undefined) release = onAbort(outer, () => end(outer.reason));
  return { signal: inner.signal, end };

  function end(reason?: unknown): void {
    release();
    inner.abort(reason);
  }
}

/**
 * Calls `listener` when `signal` aborts, or at once if it already has.
 *
 * @returns a function that removes the listener
 */
export function onAbort(signal: AbortSignal, listener: () => void): () => void {
  if (signal.aborted) {
    listener();
    return nothing;
  }
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/** Resolves when `signal` aborts. Only for signals that will abort: the listener stays until then. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => void onAbort(signal, resolve));
}

/**
 * Resolves with whether `work` settles within `ms`, resolved or rejected; await `work` for its value or error. Resolves
 * with `false` early if `signal` aborts. Leaves no timer behind.
 *
 * @param ms no limit if `undefined`
 */
export function settlesWithin(work: Promise<unknown>, ms: number | undefined, signal?: AbortSignal): Promise<boolean> {
  return endsWithin(
    (end) => {
      // Plugins may be plain JavaScript: `work` may be another thenable, or no promise at all.
      Promise.resolve(work).then(end, end);
      return nothing;
    },
    ms,
    signal,
  );
}

/** Resolves with the result of `work`, or rejects with the reason of `signal` if that aborts first. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (await settlesWithin(work, undefined, signal)) return work;
  throw signal.reason;
}

/**
 * Resolves with whether `work` settles within `ms`, if defined, or within `forcedMs` (not longer than `ms`) after
 * `signal` has aborted.
 */
export async function settlesInTime(
  work: Promise<unknown>,
  ms: number | undefined,
  { signal, ms: forcedMs }: { readonly signal: AbortSignal; readonly ms: number },
): Promise<boolean> {
  return (await settlesWithin(work, ms, signal)) || (signal.aborted && settlesWithin(work, forcedMs));
}

/** Resolves after `ms` milliseconds, or early if `signal` aborts. Never rejects, and leaves no timer behind. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await endsWithin(() => nothing, ms, signal);
}

/**
 * Resolves with whether the work started by `begin` ends within `ms` and before `signal` aborts. Leaves no timer
 * behind.
 *
 * @param begin gets a callback to call at the end of the work, not before `begin` returns; returns a clean-up function,
 * called in any case
 * @param ms no limit if `undefined`; at most 24.8 days
 */
export function endsWithin(
  begin: (end: () => void) => () => void,
  ms: number | undefined,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  return new Promise((resolve) => {
    let release = nothing;
    const end = (isInTime: boolean): void => {
      clearTimeout(timer);
      release();
      stop();
      resolve(isInTime);
    };
    const stop = begin(() => end(true));
    const timer = ms === undefined ? undefined : setTimeout(end, timerMs(ms), false);
    if (signal !== undefined) release = onAbort(signal, () => end(false));
  });
}

function nothing(): void {}
