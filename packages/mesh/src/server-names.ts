// Server names (SNI) of the mesh. Names of services, subsets and nodes are free text and may contain dots, so server
// names are built and compared as a whole, never split.

/** A service as a Connect proxy addresses it. */
export interface ServiceTarget {
  /** Name of the service. */
  readonly service: string;
  /** A subset that a service-resolver defines; absent for the service without a subset. */
  readonly subset?: string;
  /** `default` when absent, as everywhere in Consul's community edition. */
  readonly namespace?: string;
  /** `default` when absent. */
  readonly partition?: string;
  /** Name of the datacenter. */
  readonly datacenter: string;
  /** `UUID.consul`. */
  readonly trustDomain: string;
}

/** A datacenter, or one partition of it, as mesh gateways address it. */
export interface DatacenterTarget {
  /** `default` when absent. */
  readonly partition?: string;
  /** Name of the datacenter. */
  readonly datacenter: string;
  /** `UUID.consul`. */
  readonly trustDomain: string;
}

/** A service that another cluster exports to this one. */
export interface PeeredServiceTarget {
  /** Name of the service. */
  readonly service: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** `default` when absent. This form always includes the partition, unlike the others. */
  readonly partition?: string;
  /** The exporting cluster's name for the importing cluster. */
  readonly peer: string;
  /** The trust domain of the exporting cluster. */
  readonly trustDomain: string;
}

/** The Consul servers of a datacenter, as other servers address them through gateways. */
export interface ServersTarget {
  /** Name of the datacenter. */
  readonly datacenter: string;
  /** The agent's DNS domain, with or without the trailing dot that the agent reports. This is not the trust domain. */
  readonly dnsDomain: string;
}

/**
 * Returns `db.default.dc1.internal.TRUST-DOMAIN`, prefixed with the subset; outside the default partition,
 * `internal-v1` and the partition.
 */
export function serviceServerName(target: ServiceTarget): string {
  const { service, subset, namespace, partition, datacenter, trustDomain } = target;
  const named = [...(subset ? [subset] : []), service, orDefault(namespace)];
  if (orDefault(partition) === DEFAULT) return joined(...named, datacenter, 'internal', trustDomain);
  return joined(...named, orDefault(partition), datacenter, 'internal-v1', trustDomain);
}

/**
 * Returns the suffix of a datacenter's service names: `dc1.internal.TRUST-DOMAIN`, or
 * `PARTITION.dc1.internal-v1.TRUST-DOMAIN`.
 */
export function datacenterServerName({ partition, datacenter, trustDomain }: DatacenterTarget): string {
  if (orDefault(partition) === DEFAULT) return joined(datacenter, 'internal', trustDomain);
  return joined(orDefault(partition), datacenter, 'internal-v1', trustDomain);
}

/** Returns the name of a prepared query as an upstream: `QUERY.default.dc1.query.TRUST-DOMAIN`. */
export function queryServerName(query: string, { datacenter, trustDomain }: DatacenterTarget): string {
  return joined(query, DEFAULT, datacenter, 'query', trustDomain);
}

/** Returns the name of a peer's service: `db.default.default.PEER.external.TRUST-DOMAIN`. */
export function peeredServiceServerName(target: PeeredServiceTarget): string {
  const { service, namespace, partition, peer, trustDomain } = target;
  return joined(service, orDefault(namespace), orDefault(partition), peer, 'external', trustDomain);
}

/** Returns the name of a datacenter's servers for the control plane of a peering: `server.dc1.peering.TRUST-DOMAIN`. */
export function peeringServersName({ datacenter, trustDomain }: DatacenterTarget): string {
  return joined('server', datacenter, 'peering', trustDomain);
}

/** Returns the name of any server of a datacenter (WAN federation): `server.dc1.consul`. */
export function serversName({ datacenter, dnsDomain }: ServersTarget): string {
  return joined('server', datacenter, dnsDomain.replace(/\.$/, ''));
}

/** Returns the name of one server of a datacenter (WAN federation): `NODE.server.dc1.consul`. */
export function serverName(node: string, target: ServersTarget): string {
  return joined(node, serversName(target));
}

/** Returns the pattern for all names below `suffix`; it does not match `suffix` itself. */
export function anyNameBelow(suffix: string): string {
  return `*.${suffix}`;
}

/**
 * Returns why no TLS client can send `name` as its SNI, or `undefined` if one can: a host name has at most 253 bytes,
 * in labels of 1 to 63 letters, digits, hyphens and underscores. Consul accepts any string as the name of a service.
 */
export function serverNameProblem(name: string): string | undefined {
  const host = name.startsWith('*.') ? name.slice(2) : name;
  const byte = /[^a-z0-9._-]/iu.exec(host)?.[0];
  if (byte !== undefined) return `expected letters, digits, hyphens and underscores, found ${JSON.stringify(byte)}`;
  const longest = host.split('.').reduce((most, label) => Math.max(most, label.length), 0);
  if (longest > MAX_LABEL) return `expected labels of at most ${MAX_LABEL} bytes, found one of ${longest}`;
  if (host.split('.').includes('')) return 'expected labels with at least one byte, found an empty one';
  return host.length > MAX_NAME ? `expected at most ${MAX_NAME} bytes, found ${host.length}` : undefined;
}

// RFC 1035, section 2.3.4: 255 octets, including the length bytes of the first and last labels.
const MAX_LABEL = 63;
const MAX_NAME = 253;

const DEFAULT = 'default';

function orDefault(name: string | undefined): string {
  return name === undefined || name === '' ? DEFAULT : name;
}

/** Returns lower case: server names are case-insensitive (RFC 6066, section 3), and routes are stored in lower case. */
function joined(...labels: readonly string[]): string {
  return labels.join('.').toLowerCase();
}
