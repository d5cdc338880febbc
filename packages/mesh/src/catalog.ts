/**
 * The status of one health check. `maintenance` is reported by peers only: within a cluster, maintenance is a critical check. Any
 * status that Consul may add later counts as neither passing, warning nor critical.
 */
export type CheckStatus = 'passing' | 'warning' | 'critical' | 'maintenance' | 'unknown';

/** One health check, of a node or of a service instance. */
export interface Check {
  /** Shown by `explain`: `serfHealth`, `service:db-sidecar-proxy:1`. */
  readonly id: string;
  /** As the agent or the check itself last reported it. */
  readonly status: CheckStatus;
}

/** An address under a tag (`lan`, `wan`). */
export interface TaggedAddress {
  /** An IP address or a DNS name. */
  readonly address: string;
  /** 0 or absent: the port of the service. */
  readonly port?: number;
}

/** One registered instance with its node and its checks: what Consul calls a CheckServiceNode. */
export interface Instance {
  /** The service id, unique on its node. */
  readonly id: string;
  /** The registered name: a sidecar has its own (`db-sidecar-proxy`), not that of its application. */
  readonly service: string;
  /** `''` for an ordinary service, `connect-proxy`, `terminating-gateway`, `mesh-gateway` … */
  readonly kind: string;
  /** Name of the node on which it is registered. */
  readonly node: string;
  /** The node's own address: used when the instance has none. */
  readonly nodeAddress: string;
  /** The node's addresses by tag; only `wan` is ever used. */
  readonly nodeTaggedAddresses: Readonly<Record<string, string>>;
  /** Empty when the instance is registered without an address: the node's is used. */
  readonly address: string;
  /** 0: registered without a port, so it cannot be dialled. */
  readonly port: number;
  /** The instance's addresses by tag; only `wan` is ever used. */
  readonly taggedAddresses: Readonly<Record<string, TaggedAddress>>;
  /** Absent when the registration has none. */
  readonly weights?: { readonly passing: number; readonly warning: number };
  /** Metadata of the registration, including the mark for WAN federation of a gateway. */
  readonly meta: Readonly<Record<string, string>>;
  /** Raft index of the registration's last change: tells which of two lists of the same gateways is newer. */
  readonly modifyIndex: number;
  /** Node checks and service checks together. */
  readonly checks: readonly Check[];
  /** Set for a service that a peer exports; absent for an instance of this cluster or federation. */
  readonly peerMeta?: PeerMeta;
}

/** How an exported service is addressed and identified (`Connect.PeerMeta` of a replicated instance). */
export interface PeerMeta {
  /** The names to send as SNI; Consul gives one. */
  readonly serverNames: readonly string[];
  /** SPIFFE URIs; the server's certificate must have one of them: the service's own first, then the peer's gateway. */
  readonly identities: readonly string[];
  /** `tcp`, `http`, `http2` or `grpc`. */
  readonly protocol: string;
}

/** The definition of one subset in a service-resolver. */
export interface Subset {
  /** Consul's filter expression over instances; empty selects all. Evaluated by the creator of the catalog. */
  readonly filter: string;
  /** Only instances whose checks all pass count as healthy. */
  readonly onlyPassing: boolean;
}

/** The parts of a service-resolver that a gateway applies. Redirects and failover are the dialling proxy's. */
export interface GatewayResolver {
  /** Milliseconds, above 0; absent when not set. */
  readonly connectTimeoutMs?: number;
  /** The subset that the service's unnamed name selects. */
  readonly defaultSubset?: string;
  /** By name. */
  readonly subsets: Readonly<Record<string, Subset>>;
  /** The policy as written: `round_robin`, `least_request`, `random`, `ring_hash`, `maglev`. */
  readonly loadBalancer?: string;
}

/** The instances that a subset selects. */
export type Selection =
  | { readonly kind: 'selected'; readonly instances: readonly Instance[] }
  /** The reason why the filter cannot be evaluated. */
  | { readonly kind: 'refused'; readonly reason: string };

/** A service of the local datacenter with the instances that are reachable over Connect. */
export interface CatalogService {
  readonly name: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** Sidecars, connect-native instances and terminating gateways, regardless of health. Without any the service gets no route. */
  readonly instances: readonly Instance[];
  /** Its `service-resolver`; absent when there is none. */
  readonly resolver?: GatewayResolver;
  /** One for each of the resolver's subsets. */
  readonly selections: Readonly<Record<string, Selection>>;
}

/** One list of a datacenter's mesh gateways. */
export interface GatewayGroup {
  /** The datacenter of the gateways. */
  readonly datacenter: string;
  /** `default` when absent. */
  readonly partition?: string;
  /** Their registrations, regardless of health. Empty: a datacenter of the federation without a known gateway. */
  readonly gateways: readonly Instance[];
  /** Why no gateway is known, when a query failed. */
  readonly problem?: string;
}

/** Another cluster that this one exchanges services with. */
export interface ClusterPeer {
  /** The local name of the peer. */
  readonly name: string;
  /** As Consul reports it: `PENDING`, `ESTABLISHING`, `ACTIVE`, `FAILING`, `TERMINATED` … */
  readonly state: string;
  /** It is being deleted; `state` may still be `ACTIVE`. */
  readonly isDeleted: boolean;
  /** The server name of its servers (`server.dc1.peering.TRUST-DOMAIN`); absent where this cluster does not dial. */
  readonly serverName?: string;
  /** `HOST:PORT` of each of its servers, which this cluster dials. */
  readonly serverAddresses: readonly string[];
  /** Its certificate authorities, in PEM; empty when not known. */
  readonly roots: readonly string[];
  /** Raft index of the last change: of two peerings with the same server name the newer one is used. */
  readonly modifyIndex: number;
}

/** A service that this cluster exports. */
export interface ExportedService {
  readonly name: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** The peers that may use it, by their local names. */
  readonly peers: readonly string[];
  /** Absent: not known, so nothing is forwarded. */
  readonly chain?: ExportChain;
}

/** The parts of an exported service's discovery chain that a gateway needs. */
export interface ExportChain {
  /** `tcp`, `http`, `http2` or `grpc`. */
  readonly protocol: string;
  /** The start of the chain. Absent when it starts with a router or a splitter, which decide per request. */
  readonly target?: ExportTarget;
  /** The failover targets of the start, in their order; none when absent. */
  readonly failover?: readonly ExportTarget[];
}

/** The destination of an exported name. */
export interface ExportTarget {
  /** Name of the service, after redirects. */
  readonly service: string;
  /** All instances when absent, or those of the default subset. */
  readonly subset?: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** `default` when absent. */
  readonly partition?: string;
  /** Name of the datacenter. */
  readonly datacenter: string;
  /** Absent for a service of this cluster or federation. */
  readonly peer?: string;
}

/** A service that a peer exports to this cluster. */
export interface ImportedService {
  readonly name: string;
  /** The local name of the peer. */
  readonly peer: string;
  /** One for each mesh gateway of the peer, with the gateway's addresses and health. */
  readonly instances: readonly Instance[];
  /** The peer sent proxies and no instance of the service itself: no route, as in Consul. False when absent. */
  readonly proxiesOnly?: boolean;
}

/** Cluster peering as this cluster's servers describe it. */
export interface PeeringCatalog {
  /** All peers, including those being deleted. */
  readonly peers: readonly ClusterPeer[];
  /** Exports to peers that are not in `peers` have no route. */
  readonly exports: readonly ExportedService[];
  /** Services that peers export to this cluster. */
  readonly imports: readonly ImportedService[];
  /** The servers connect to each other through the mesh gateways (`mesh` entry, `Peering.PeerThroughMeshGateways`). */
  readonly throughGateways: boolean;
}

/** The mesh at one moment, from Consul or a folder of mesh files: everything that routes are derived from. */
export interface Catalog {
  /** The local datacenter. */
  readonly datacenter: string;
  /** The partition whose services are listed; `default` when absent. */
  readonly partition?: string;
  /** `UUID.consul`: shared by the whole federation. */
  readonly trustDomain: string;
  /** The DNS domain of the agents, `consul` by default. */
  readonly dnsDomain: string;
  /** All services of the local datacenter, in every namespace and partition. */
  readonly services: readonly CatalogService[];
  /** Gateways of all datacenters; the local one is ignored. Of two lists for one datacenter the newer one is used. */
  readonly gateways: readonly GatewayGroup[];
  /** The Consul servers of the local datacenter; used for WAN federation and for the control plane of peerings. */
  readonly servers: readonly Instance[];
  /** Absent when the cluster has no peering, or it cannot be read. */
  readonly peering?: PeeringCatalog;
}
