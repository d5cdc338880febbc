import type { Backend, Balance, Problem } from '@meshgate/core';
import { dialAddress } from './address.ts';
import type { Reach } from './address.ts';
import type { GatewayResolver, Instance } from './catalog.ts';
import { instanceHealth } from './health.ts';
import { compare } from './order.ts';

/** Backends, a summary of their health, and the instances that cannot be backends. */
export interface Backends {
  readonly list: readonly Backend[];
  readonly facts: { readonly health: string; readonly unhealthy?: string };
  readonly problems: readonly Problem[];
}

/**
 * Converts instances to backends with health and weight, sorted by address. Reports a problem at `path` for each
 * instance that cannot be dialled.
 */
export function backendsOf(
  instances: readonly Instance[],
  reach: Reach,
  onlyPassing: boolean,
  path: readonly string[],
): Backends {
  const list: Backend[] = [];
  const unhealthy: string[] = [];
  const problems: Problem[] = [];
  for (const instance of instances) {
    const address = dialAddress(instance, reach);
    if (address === undefined) {
      const found = JSON.stringify(`${instance.address || instance.nodeAddress}:${instance.port}`);
      const message = `instance ${instance.id} on node ${instance.node} has no address and port that can be dialled, found ${found}`;
      problems.push({ path, message });
      continue;
    }
    const { healthy, weight, against } = instanceHealth(instance, onlyPassing);
    list.push({ address, weight, healthy });
    if (!healthy) unhealthy.push(`${instance.id} on ${instance.node} (${against.join(', ') || 'weight 0'})`);
  }
  const health = `${list.length - unhealthy.length} of ${list.length} healthy`;
  const facts = unhealthy.length === 0 ? { health } : { health, unhealthy: unhealthy.toSorted().join('; ') };
  return { list: list.toSorted(byAddress), facts, problems };
}

/**
 * Orders backends by all their fields, since gateways behind a load balancer share its address: equal catalogs give
 * equal lists, whatever the order of their instances.
 */
function byAddress(a: Backend, b: Backend): number {
  const byPosition = compare(a.address.host, b.address.host) || a.address.port - b.address.port;
  return byPosition || Number(b.healthy) - Number(a.healthy) || a.weight - b.weight;
}

/**
 * Returns the balancing policy. Hash policies need a request, which a gateway does not see: like Consul, it ignores
 * them.
 */
export function balanceOf(resolver: GatewayResolver | undefined): Balance | undefined {
  switch (resolver?.loadBalancer) {
    case 'least_request':
      return 'least_connections';
    case 'round_robin':
    case 'random':
      return resolver.loadBalancer;
    default:
      return undefined;
  }
}
