import type { Reading } from '@meshgate/core/parts';
import { pathTo } from '@meshgate/mesh';
import type { Catalog, ChainTarget, GatewayGroup, Instance } from '@meshgate/mesh';

/** A service of mesh gateways, whose health decides which gateway is dialled. */
export interface GatewayService {
  readonly datacenter: string;
  readonly service: string;
}

/** Returns the services of the gateways through which any of `targets` is reached. */
export function gatewaysInUse(
  targets: readonly ChainTarget[],
  { datacenter, gateways }: Pick<Catalog, 'datacenter' | 'gateways'>,
): readonly GatewayService[] {
  const where = new Set(targets.map((target) => gatewaysFor(target, datacenter)));
  return gateways.filter((group) => where.has(group.datacenter)).flatMap(servicesOf);
}

/**
 * Returns `groups`, with the health of each gateway from its own datacenter when that responds. Federation states are
 * less current: each datacenter writes them every few seconds, and they are replicated with a delay.
 */
export function withCurrentHealth(
  groups: readonly GatewayGroup[],
  respond: (service: GatewayService) => Reading<readonly Instance[]> | undefined,
): readonly GatewayGroup[] {
  return groups.map((group) => {
    const gateways = servicesOf(group).flatMap((gateway) => {
      const { value, error } = respond(gateway) ?? {};
      if (value !== undefined && error === undefined) return value.filter(({ kind }) => kind === 'mesh-gateway');
      return group.gateways.filter(({ service }) => service === gateway.service);
    });
    return { ...group, gateways };
  });
}

function gatewaysFor(target: ChainTarget, datacenter: string): string | undefined {
  const path = pathTo(target, { datacenter });
  if (path === 'local-gateway') return datacenter;
  return path === 'remote-gateway' && target.peer === undefined ? target.datacenter : undefined;
}

function servicesOf({ datacenter, gateways }: GatewayGroup): readonly GatewayService[] {
  return Array.from(new Set(gateways.map(({ service }) => service)), (service) => ({ datacenter, service }));
}
