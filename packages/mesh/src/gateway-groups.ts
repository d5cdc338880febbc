import type { GatewayGroup } from './catalog.ts';

/** Of two lists of the same gateways, the one with the newest registration is current; a list without any is the oldest. */
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

/** The name of a datacenter in routes: prefixed with its partition, unless that is the default. */
export function datacenterLabel({ datacenter, partition }: GatewayGroup): string {
  return partition === undefined || partition === 'default' ? datacenter : `${partition}/${datacenter}`;
}
