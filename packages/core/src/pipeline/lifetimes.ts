import type { Route } from '../routes/route.ts';
import type { Limits } from './limits.ts';

/** Limits on the lifetime of a connection from its connect on. */
export type Lifetimes = Pick<Limits, 'idleTimeoutMs' | 'halfCloseTimeoutMs' | 'maxAgeMs'>;

/** Returns the limits of the proxy, with the overrides of `route`. */
export function lifetimes(limits: Lifetimes, route: Route | undefined): Lifetimes {
  // The usual case: no allocation.
  if (route?.limits === undefined) return limits;
  const own = route.limits;
  const age = isTime(own.maxAgeMs) ? own.maxAgeMs : limits.maxAgeMs;
  return {
    idleTimeoutMs: isTime(own.idleTimeoutMs) ? own.idleTimeoutMs : limits.idleTimeoutMs,
    halfCloseTimeoutMs: isTime(own.halfCloseTimeoutMs) ? own.halfCloseTimeoutMs : limits.halfCloseTimeoutMs,
    ...(age !== undefined && { maxAgeMs: age }),
  };
}

/** A route's own time is not validated if a resolver returned the route. */
function isTime(ms: number | undefined): ms is number {
  return typeof ms === 'number' && ms > 0;
}
