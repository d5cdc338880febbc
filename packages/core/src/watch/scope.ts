import { setMaxListeners } from 'node:events';

/** A lifetime: what is started within it gets its signal, which aborts when the scope ends. */
export interface Scope {
  /** Aborts when this scope or the outer one ends. Any number of listeners may be added. */
  readonly signal: AbortSignal;
  /** Ends it, and stops listening to the outer scope. Idempotent. `reason` becomes the signal's reason. */
  end(reason?: unknown): void;
}

/**
 * Begins a scope, within `outer` when that is given. Once ended it leaves no listener behind: `outer` may live as long as the
 * process.
 */
export function openScope(outer?: AbortSignal): Scope {
  const inner = new AbortController();
  // Each query under way listens to it: many listeners are intended, and no leak.
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
 * Calls `listener` when `signal` aborts: at once when it has already.
 *
 * @returns stops listening
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
 * Whether `work` settles within `ms`, resolved or rejected: the caller still awaits `work` for its value or error. `false` early when `signal` aborts.
 * Leaves no timer behind.
 *
 * @param ms no limit when `undefined`
 */
export function settlesWithin(work: Promise<unknown>, ms: number | undefined, signal?: AbortSignal): Promise<boolean> {
  return endsWithin(
    (end) => {
      work.then(end, end);
      return nothing;
    },
    ms,
    signal,
  );
}

/** The result of `work`. Rejects with the reason of `signal` when that aborts first; a later result is dropped. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (await settlesWithin(work, undefined, signal)) return work;
  throw signal.reason;
}

/** Whether `work` settles within `ms`; once `force` has aborted, within `forcedMs` of that, which is never the longer time. */
export async function settlesInTime(
  work: Promise<unknown>,
  ms: number,
  { signal, ms: forcedMs }: { readonly signal: AbortSignal; readonly ms: number },
): Promise<boolean> {
  return (await settlesWithin(work, ms, signal)) || (signal.aborted && settlesWithin(work, forcedMs));
}

/** Waits `ms`, or until `signal` aborts: then it resolves early rather than rejects, and leaves no timer behind. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await endsWithin(() => nothing, ms, signal);
}

/**
 * Whether what `begin` starts ends within `ms`, and before `signal` aborts. Leaves no timer behind.
 *
 * @param begin gets what to call at the end, later than it returns; what it returns is called at the end, whichever it was
 * @param ms no limit when `undefined`
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
    const timer = ms === undefined ? undefined : setTimeout(end, ms, false);
    const stop = begin(() => end(true));
    if (signal !== undefined) release = onAbort(signal, () => end(false));
  });
}

function nothing(): void {}
