import type { Check, CheckStatus, Instance } from './catalog.ts';

/** The weight of an instance in load balancing, and whether it receives connections. */
export interface InstanceHealth {
  /** True when no check has failed and the weight is at least 1. */
  readonly healthy: boolean;
  /** 1 to 128. */
  readonly weight: number;
  /** The checks that make the instance unhealthy; empty when it is healthy, or unhealthy only by its weight of 0. */
  readonly against: readonly string[];
}

/**
 * Computes an instance's health and weight from all its checks, including those of its node, as Consul does for Envoy.
 *
 * One critical check makes it unhealthy; with `onlyPassing`, so does any status other than passing. A warning check
 * selects the warning weight, if the registration has weights. A weight below 1 makes the instance unhealthy and
 * becomes 1; a weight above 128 becomes 128.
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

/**
 * Maintenance of a peer's gateway counts as a failure, as its operator intends; Consul's own proxies keep using such a
 * gateway.
 */
function isAgainst(status: CheckStatus): boolean {
  return status === 'critical' || status === 'maintenance';
}

const MIN_WEIGHT = 1;
// Envoy rejects higher weights and Consul caps them at 128; the same cap keeps the same distribution.
const MAX_WEIGHT = 128;

function warned(checks: readonly Check[]): boolean {
  return checks.some(({ status }) => status === 'warning');
}
