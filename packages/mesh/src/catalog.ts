/**
 * The state of one health check. `maintenance` arrives only from a peer: within a cluster, maintenance shows as a critical check.
 * Anything that Consul may add later counts as neither passing, warning nor critical.
 */
export type CheckStatus = 'passing' | 'warning' | 'critical' | 'maintenance' | 'unknown';

/** One health check, of a node or of a service instance. */
export interface Check {
  /** For people, in `explain`: `serfHealth`, `service:db-sidecar-proxy:1`. */
  readonly id: string;
  /** As the agent or the check itself reported it last. */
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
  /** The name under which it is registered: for a sidecar its own (`db-sidecar-proxy`), not that of its application. */
  readonly service: string;
  /** `''` for an ordinary service, `connect-proxy`, `terminating-gateway`, `mesh-gateway` … */
  readonly kind: string;
  /** Name of the node on which it is registered. */
  readonly node: string;
  /** The node's own address: meant where the instance has none. */
  readonly nodeAddress: string;
  /** The node's addresses by tag; only `wan` is ever used. */
  readonly nodeTaggedAddresses: Readonly<Record<string, string>>;
  /** Empty when the instance is registered without one: the node's is then meant. */
  readonly address: string;
  /** 0: it is registered without a port, and cannot be dialled. */
  readonly port: number;
  /** The instance's addresses by tag; only `wan` is ever used. */
  readonly taggedAddresses: Readonly<Record<string, TaggedAddress>>;
  /** Absent when the registration has none. */
  readonly weights?: { readonly passing: number; readonly warning: number };
  /** Metadata of the registration; a gateway's federation marks are among them. */
  readonly meta: Readonly<Record<string, string>>;
  /** Raft index of the registration's last change: tells which of two accounts of the same gateways is newer. */
  readonly modifyIndex: number;
  /** Node checks and service checks together. */
  readonly checks: readonly Check[];
  /** What a peer says of a service that it exports; absent for an instance of this cluster or federation. */
  readonly peerMeta?: PeerMeta;
}

/** How an exported service is asked for and recognised (`Connect.PeerMeta` of a replicated instance). */
export interface PeerMeta {
  /** The names to send as SNI; Consul gives one. */
  readonly serverNames: readonly string[];
  /** SPIFFE URIs, one of which the server's certificate must carry: the service's own first, then the peer's gateway. */
  readonly identities: readonly string[];
  /** `tcp`, `http`, `http2` or `grpc`. */
  readonly protocol: string;
}

/** What a service-resolver says of one subset. */
export interface Subset {
  /** Consul's filter expression over an instance; empty for all of them. Evaluated by whoever makes the catalog. */
  readonly filter: string;
  /** Only instances whose checks all pass count as healthy. */
  readonly onlyPassing: boolean;
}

/** The parts of a service-resolver that a gateway honours. Redirect and failover are the dialling proxy's. */
export interface GatewayResolver {
  /** Milliseconds, above 0; absent when the resolver sets none. */
  readonly connectTimeoutMs?: number;
  /** The subset for which the service's unnamed name stands. */
  readonly defaultSubset?: string;
  /** By name. */
  readonly subsets: Readonly<Record<string, Subset>>;
  /** The policy as written: `round_robin`, `least_request`, `random`, `ring_hash`, `maglev`. */
  readonly loadBalancer?: string;
}

/** Which instances a subset selects. */
export type Selection =
  | { readonly kind: 'selected'; readonly instances: readonly Instance[] }
  /** The filter cannot be evaluated, and why. */
  | { readonly kind: 'refused'; readonly reason: string };

/** A service of the local datacenter with the instances that can be reached over Connect. */
export interface CatalogService {
  readonly name: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** Sidecars, connect-native instances and terminating gateways, whatever their health. None: the service gets no route. */
  readonly instances: readonly Instance[];
  /** Its `service-resolver`; absent when there is none. */
  readonly resolver?: GatewayResolver;
  /** One for each of the resolver's subsets. */
  readonly selections: Readonly<Record<string, Selection>>;
}

/** One account of the mesh gateways of a datacenter. */
export interface GatewayGroup {
  /** Where the gateways are. */
  readonly datacenter: string;
  /** `default` when absent. */
  readonly partition?: string;
  /** Their registrations, whatever their health. None: a datacenter of the federation in which nobody knows of a gateway. */
  readonly gateways: readonly Instance[];
  /** Why none is known, where that is for want of an answer, in words. */
  readonly problem?: string;
}

/** Another cluster with which this one exchanges services. */
export interface ClusterPeer {
  /** The name that this cluster gives to it. */
  readonly name: string;
  /** As Consul reports it: `PENDING`, `ESTABLISHING`, `ACTIVE`, `FAILING`, `TERMINATED` … */
  readonly state: string;
  /** Its deletion has begun; `state` may still say `ACTIVE`. */
  readonly isDeleted: boolean;
  /** The name of its servers (`server.dc1.peering.TRUST-DOMAIN`); absent where this cluster does not dial. */
  readonly serverName?: string;
  /** `HOST:PORT` each: where this cluster dials its servers. */
  readonly serverAddresses: readonly string[];
  /** Its certificate authorities, in PEM; empty where they are not known. */
  readonly roots: readonly string[];
  /** Raft index of the last change: of two peerings with the same server name the newer one counts. */
  readonly modifyIndex: number;
}

/** A service that this cluster exports. */
export interface ExportedService {
  readonly name: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** The peers that may use it, by the names this cluster gives to them. */
  readonly peers: readonly string[];
  /** Absent: not known, so that nothing is passed on. */
  readonly chain?: ExportChain;
}

/** What a gateway has to know of the discovery chain of an exported service. */
export interface ExportChain {
  /** `tcp`, `http`, `http2` or `grpc`. */
  readonly protocol: string;
  /** Where the chain begins. Absent where a router or a splitter comes first, which chooses by request. */
  readonly target?: ExportTarget;
}

/** The place to which an exported name leads. */
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
  /** The name that this cluster gives to the peer. */
  readonly peer: string;
  /** One for each mesh gateway of the peer, with its addresses and its health. */
  readonly instances: readonly Instance[];
}

/** Cluster peering as this cluster's servers describe it. */
export interface PeeringCatalog {
  /** All of them, those under deletion too. */
  readonly peers: readonly ClusterPeer[];
  /** What is exported to peers that are not in `peers` has no route. */
  readonly exports: readonly ExportedService[];
  /** Services that peers offer to this cluster. */
  readonly imports: readonly ImportedService[];
  /** The servers talk to each other through the mesh gateways (`mesh` entry, `Peering.PeerThroughMeshGateways`). */
  readonly throughGateways: boolean;
}

/** The mesh as Consul, or a folder of mesh files, describes it at one moment: everything routes are derived from. */
export interface Catalog {
  /** The local datacenter. */
  readonly datacenter: string;
  /** The partition whose services are listed; `default` when absent. */
  readonly partition?: string;
  /** `UUID.consul`: one for the whole federation. */
  readonly trustDomain: string;
  /** The DNS domain of the agents, `consul` by default. */
  readonly dnsDomain: string;
  /** All of the local datacenter, each namespace and partition. */
  readonly services: readonly CatalogService[];
  /** Of all datacenters; the local one is passed over. Where two accounts of one datacenter are given, the newer one counts. */
  readonly gateways: readonly GatewayGroup[];
  /** The Consul servers of the local datacenter; used for WAN federation and for the control plane of peerings. */
  readonly servers: readonly Instance[];
  /** Absent where the cluster has no peering, or it cannot be read. */
  readonly peering?: PeeringCatalog;
}
