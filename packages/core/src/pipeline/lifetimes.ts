import type { Route } from '../routes/route.ts';
import type { Limits } from './limits.ts';

/** How long a connection that has reached its backend may go on. */
export type Lifetimes = Pick<Limits, 'idleTimeoutMs' | 'halfCloseTimeoutMs' | 'maxAgeMs'>;

/** Those of the proxy, and in place of them what `route` says. */
export function lifetimes(limits: Lifetimes, route: Route | undefined): Lifetimes {
  // The usual case, and nothing is made for it.
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
