import type { Check, CheckStatus, Instance } from './catalog.ts';

/** How an instance takes part in balancing. */
export interface InstanceHealth {
  /** No check speaks against it, and its weight is not below 1. */
  readonly healthy: boolean;
  /** 1 to 128. */
  readonly weight: number;
  /** The checks that make it unhealthy, for people; empty when healthy, or when only its weight of 0 keeps it out. */
  readonly against: readonly string[];
}

/**
 * Health and weight of an instance by all its checks, those of its node included: what Consul computes for Envoy.
 *
 * One critical check makes it unhealthy; with `onlyPassing` every other status than passing does. A warning check selects the
 * warning weight, where weights are registered. A weight below 1 takes the instance out and becomes 1; above 128 it becomes 128.
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

/** Consul's own proxies go on using a gateway of a peer that is in maintenance; it is taken out of use here, as its operator meant. */
function isAgainst(status: CheckStatus): boolean {
  return status === 'critical' || status === 'maintenance';
}

const MIN_WEIGHT = 1;
// Envoy refuses more, and Consul cuts to it: kept, so that shares stay what they are today.
const MAX_WEIGHT = 128;

function warned(checks: readonly Check[]): boolean {
  return checks.some(({ status }) => status === 'warning');
}
