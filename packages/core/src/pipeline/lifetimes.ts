import type { Route } from '../routes/route.ts';
import type { Limits } from './limits.ts';

/** Limits on the lifetime of a connection from its connect on. */
export type Lifetimes = Pick<Limits, 'idleTimeoutMs' | 'halfCloseTimeoutMs' | 'maxAgeMs'>;

/** Returns the limits of the proxy, with the overrides of `route`. */
export function lifetimes(limits: Lifetimes, route: Route | undefined): Lifetimes {
  // The usual case: no allocation.
  if (route?.limits === undefined) return limits;
  const { idleTimeoutMs, halfCloseTimeoutMs, maxAgeMs } = limits;
  const own = route.limits;
  const age = own.maxAgeMs ?? maxAgeMs;
  return {
    idleTimeoutMs: own.idleTimeoutMs ?? idleTimeoutMs,
    halfCloseTimeoutMs: own.halfCloseTimeoutMs ?? halfCloseTimeoutMs,
    ...(age !== undefined && { maxAgeMs: age }),
  };
}
