import { setMaxListeners } from 'node:events';

/** A span of time within another. */
export interface Scope {
  /** Aborts when the outer one does, or at the end. */
  readonly signal: AbortSignal;
  /** Ends it, and listens to the outer one no longer. Idempotent. */
  end(): void;
}

/** Begins a scope within `outer`, of which nothing is left once it has ended: `outer` may live as long as the process. */
export function scopeWithin(outer: AbortSignal): Scope {
  const inner = new AbortController();
  // Every question under way listens to it: many are meant, and no leak.
  setMaxListeners(0, inner.signal);
  outer.addEventListener('abort', end, { once: true });
  if (outer.aborted) end();
  return { signal: inner.signal, end };

  function end(): void {
    outer.removeEventListener('abort', end);
    inner.abort(outer.reason);
  }
}
