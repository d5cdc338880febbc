import type { GatewayGroup } from './catalog.ts';

/** Where two accounts of the same gateways are known, the one with the newest registration in it is right; one without any is the oldest. */
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

/** How a datacenter is named in routes: with its partition in front, unless that is the default one. */
export function datacenterLabel({ datacenter, partition }: GatewayGroup): string {
  return partition === undefined || partition === 'default' ? datacenter : `${partition}/${datacenter}`;
}
