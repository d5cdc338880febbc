/**
 * The status of one health check. Only peers report `maintenance`: within a cluster, maintenance is a critical check.
 * Any status that a later Consul release adds is `unknown`: neither passing, warning nor critical.
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
  /** The port of the service when 0 or absent. */
  readonly port?: number;
}

/** One registered instance with its node and its checks: what Consul calls a CheckServiceNode. */
export interface Instance {
  /** The service id, unique on its node. */
  readonly id: string;
  /** The registered name: a sidecar has its own (`db-sidecar-proxy`), not the name of its application. */
  readonly service: string;
  /** `''` for an ordinary service, `connect-proxy`, `terminating-gateway`, `mesh-gateway` … */
  readonly kind: string;
  /** Name of the node on which it is registered. */
  readonly node: string;
  /** The node's own address, used when the instance has none. */
  readonly nodeAddress: string;
  /** The node's addresses by tag; only `wan` is ever used. */
  readonly nodeTaggedAddresses: Readonly<Record<string, string>>;
  /** Empty when the instance was registered without an address: the node's address is used. */
  readonly address: string;
  /** 0 when the instance was registered without a port: it cannot be dialled. */
  readonly port: number;
  /** The instance's addresses by tag; only `wan` is ever used. */
  readonly taggedAddresses: Readonly<Record<string, TaggedAddress>>;
  /** Load-balancing weights by health; absent when the registration has none. */
  readonly weights?: { readonly passing: number; readonly warning: number };
  /** Metadata of the registration, including a gateway's `consul-wan-federation`. */
  readonly meta: Readonly<Record<string, string>>;
  /**
   * Raft index at which the registration last changed; the higher one is the newer of two lists of the same gateways.
   */
  readonly modifyIndex: number;
  /** Node checks and service checks together. */
  readonly checks: readonly Check[];
  /** Set when a peer exports the service; absent for an instance of this cluster or federation. */
  readonly peerMeta?: PeerMeta;
}

/** The server name and identity of an exported service (`Connect.PeerMeta` of a replicated instance). */
export interface PeerMeta {
  /** The names to send as SNI; Consul gives one. */
  readonly serverNames: readonly string[];
  /** SPIFFE URIs, the service's own first, then the peer's gateway: the server's certificate must have one of them. */
  readonly identities: readonly string[];
  /** `tcp`, `http`, `http2` or `grpc`. */
  readonly protocol: string;
}

/** The definition of one subset in a service-resolver. */
export interface Subset {
  /** Consul's filter expression over instances; empty selects all. The catalog's creator evaluates it. */
  readonly filter: string;
  /** Only instances whose checks all pass count as healthy. */
  readonly onlyPassing: boolean;
}

/** The parts of a service-resolver that a gateway applies; the dialling proxy applies redirects and failover. */
export interface GatewayResolver {
  /** Milliseconds, above 0; absent when not set. */
  readonly connectTimeoutMs?: number;
  /** The subset that the service's name without a subset selects. */
  readonly defaultSubset?: string;
  /** Subsets by name. */
  readonly subsets: Readonly<Record<string, Subset>>;
  /** The policy as written: `round_robin`, `least_request`, `random`, `ring_hash`, `maglev`. */
  readonly loadBalancer?: string;
}

/** The instances that a subset selects. */
export type Selection =
  | { readonly kind: 'selected'; readonly instances: readonly Instance[] }
  /** The filter cannot be evaluated, for this reason. */
  | { readonly kind: 'refused'; readonly reason: string };

/** A service of the local datacenter, with its instances that are reachable over Connect. */
export interface CatalogService {
  readonly name: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /**
   * Sidecars, connect-native instances and terminating gateways, regardless of health. A service without any gets no
   * route.
   */
  readonly instances: readonly Instance[];
  /** Its `service-resolver`; absent when there is none. */
  readonly resolver?: GatewayResolver;
  /** One for each subset of the resolver, by name. */
  readonly selections: Readonly<Record<string, Selection>>;
}

/** A list of the mesh gateways of one datacenter. */
export interface GatewayGroup {
  /** The datacenter of the gateways. */
  readonly datacenter: string;
  /** `default` when absent. */
  readonly partition?: string;
  /** Registrations of the gateways, regardless of health. Empty when no gateway of the datacenter is known. */
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
  /** The peering is being deleted; `state` may still be `ACTIVE`. */
  readonly isDeleted: boolean;
  /** Name of the peer's datacenter; absent until the peering is established. */
  readonly datacenter?: string;
  /** SNI of the peer's servers (`server.dc1.peering.TRUST-DOMAIN`); absent where this cluster does not dial. */
  readonly serverName?: string;
  /** `HOST:PORT` of each of the peer's servers; empty where this cluster does not dial. */
  readonly serverAddresses: readonly string[];
  /** Certificate authorities of the peer, in PEM; empty when not known. */
  readonly roots: readonly string[];
  /** Raft index of the last change: of two peerings with the same server name, the newer one is used. */
  readonly modifyIndex: number;
}

/** A service that this cluster exports. */
export interface ExportedService {
  readonly name: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** The peers that may use it, by their local names. */
  readonly peers: readonly string[];
  /** The discovery chain of the service; while it is absent (not known), no connection is forwarded. */
  readonly chain?: ExportChain;
}

/** The parts of an exported service's discovery chain that a gateway needs. */
export interface ExportChain {
  /** `tcp`, `http`, `http2` or `grpc`. */
  readonly protocol: string;
  /** The start of the chain. Absent when the chain starts with a router or a splitter, which decide per request. */
  readonly target?: ExportTarget;
  /** Failover targets of the start, in order of preference; none when absent. */
  readonly failover?: readonly ExportTarget[];
}

/** The destination of an exported name. */
export interface ExportTarget {
  /** Name of the service, after redirects. */
  readonly service: string;
  /** The default subset when absent, or all instances when there is none. */
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
  /**
   * True when the peer sent proxies but no instance of the service itself, which then gets no route (as in Consul).
   * False when absent.
   */
  readonly proxiesOnly?: boolean;
}

/** Cluster peering, as the servers of this cluster describe it. */
export interface PeeringCatalog {
  /** All peers, including those that are being deleted. */
  readonly peers: readonly ClusterPeer[];
  /** Services that this cluster exports. An export to a peer that is not in `peers` gets no route. */
  readonly exports: readonly ExportedService[];
  /** Services that peers export to this cluster. */
  readonly imports: readonly ImportedService[];
  /** Servers of peered clusters connect through the mesh gateways (`mesh` entry, `Peering.PeerThroughMeshGateways`). */
  readonly throughGateways: boolean;
}

/** The mesh at one moment, from Consul or a folder of mesh files: the whole input of route derivation. */
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
  /**
   * Gateways of all datacenters; those of the local one are ignored. Of two lists for one datacenter, the newer one is
   * used.
   */
  readonly gateways: readonly GatewayGroup[];
  /** The Consul servers of the local datacenter, for WAN federation and for the control plane of peerings. */
  readonly servers: readonly Instance[];
  /** Absent when the cluster has no peering, or when the peerings cannot be read. */
  readonly peering?: PeeringCatalog;
}
