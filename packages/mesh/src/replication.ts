import { defined } from '@meshgate/core/parts';
import type { Catalog, CheckStatus, Instance } from './catalog.ts';
import { serviceIdentity } from './discovery-chain.ts';
import { peeredServiceServerName } from './server-names.ts';
import { formatSpiffeId } from './spiffe.ts';

/** A service, as a cluster exports it to one peer. */
export interface Export {
  /** Name of the service. */
  readonly service: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** The exporting cluster's name for the importing cluster. */
  readonly peer: string;
  /** Protocol of the discovery chain: `tcp`, `http`, `http2` or `grpc`. */
  readonly protocol: string;
  /** SPIFFE URIs of all targets in the discovery chain, including failover targets. */
  readonly targetIdentities: readonly string[];
}

/**
 * Returns the instances that a cluster replicates to a peer in place of an exported service's own: one per mesh
 * gateway, with its addresses, weights and health. The gateway's own identity is always accepted as well, so that a
 * service can change between tcp and http.
 */
export function replicated(
  { service, namespace, peer, protocol, targetIdentities }: Export,
  gateways: readonly Instance[],
  { datacenter, partition = 'default', trustDomain }: Pick<Catalog, 'datacenter' | 'partition' | 'trustDomain'>,
): readonly Instance[] {
  const location = { service, datacenter, partition, ...defined({ namespace }) };
  const own = serviceIdentity(location, trustDomain);
  const gateway = formatSpiffeId({ kind: 'mesh-gateway', trustDomain, partition, datacenter });
  const others = protocol === 'tcp' ? targetIdentities : [];
  const peerMeta = {
    serverNames: [peeredServiceServerName({ ...location, peer, trustDomain })],
    identities: [...new Set([own, gateway, ...others])],
    protocol,
  };
  return gateways.map((one, index): Instance => {
    const id = `${service}-sidecar-proxy-instance-${index}`;
    const checks = [{ id: `${id}:overall-check`, status: worst(one) }];
    return { ...one, id, service: `${service}-sidecar-proxy`, kind: 'connect-proxy', meta: {}, checks, peerMeta };
  });
}

function worst({ checks }: Instance): CheckStatus {
  return BY_SEVERITY.find((status) => checks.some((check) => check.status === status)) ?? 'passing';
}

const BY_SEVERITY: readonly CheckStatus[] = ['maintenance', 'critical', 'unknown', 'warning'];
