import type { Check, CheckStatus, Instance } from './catalog.ts';

/** How an instance takes part in load balancing. */
export interface InstanceHealth {
  /** No check failed, and its weight is at least 1. */
  readonly healthy: boolean;
  /** 1 to 128. */
  readonly weight: number;
  /** The checks that make it unhealthy; empty when healthy, or when only its weight of 0 takes it out. */
  readonly against: readonly string[];
}

/**
 * Health and weight of an instance from all its checks, including those of its node: what Consul computes for Envoy.
 *
 * One critical check makes it unhealthy; with `onlyPassing` so does any status but passing. A warning check selects the warning
 * weight, where weights are registered. A weight below 1 takes the instance out and becomes 1; above 128 it becomes 128.
 */
export function instanceHealth({ checks, weights }: Instance, onlyPassing: boolean): InstanceHealth {
  const against = checks.filter(({ status }) => isAgainst(status) || (onlyPassing && status !== 'passing'));
  const registered = weights === undefined ? 1 : weights[warned(checks) ? 'warning' : 'passing'];
  return {
    healthy: against.length === 0 && registered >= MIN_WEIGHT,
    weight: Math.min(Math.max(Math.trunc(registered), MIN_WEIGHT), MAX_WEIGHT),
    against: against.map(({ id, status }) => `${id} ${status}`),
  };
}

/** Consul's own proxies keep using a gateway of a peer in maintenance; here it is taken out of use, as its operator intended. */
function isAgainst(status: CheckStatus): boolean {
  return status === 'critical' || status === 'maintenance';
}

const MIN_WEIGHT = 1;
// Envoy rejects more, and Consul caps at it: kept, so that the distribution does not change.
const MAX_WEIGHT = 128;

function warned(checks: readonly Check[]): boolean {
  return checks.some(({ status }) => status === 'warning');
}
