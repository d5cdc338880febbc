import type { GatewayGroup } from './catalog.ts';

/** Keeps, of several lists of the same gateways, the one with the newest registration; an empty list is the oldest. */
export function newestOfEach(groups: readonly GatewayGroup[]): readonly GatewayGroup[] {
  const newest = new Map<string, GatewayGroup>();
  for (const group of groups) {
    const key = datacenterLabel(group);
    const known = newest.get(key);
    if (known === undefined || newestIndex(group) > newestIndex(known)) newest.set(key, group);
  }
  return [...newest.values()];
}

function newestIndex({ gateways }: GatewayGroup): number {
  return Math.max(-1, ...gateways.map(({ modifyIndex }) => modifyIndex));
}

/** Returns a datacenter's name in routes, prefixed with its partition unless that is the default one. */
export function datacenterLabel({ datacenter, partition }: GatewayGroup): string {
  return partition === undefined || partition === 'default' ? datacenter : `${partition}/${datacenter}`;
}
