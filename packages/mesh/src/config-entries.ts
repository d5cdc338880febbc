import type { GatewayResolver, Subset } from './catalog.ts';
import type { Intention } from './intentions.ts';

/** Consul's configuration entries, reduced to the fields that matter for TCP through gateways. */
export interface ConfigEntries {
  /** The entry `proxy-defaults/global`. */
  readonly proxyDefaults?: ProxyDefaults;
  /** By name of the service. */
  readonly serviceDefaults: ReadonlyMap<string, ServiceDefaults>;
  /** By name of the service. */
  readonly resolvers: ReadonlyMap<string, ServiceResolver>;
  /** Intentions for all destinations, in any order. */
  readonly intentions: readonly Intention[];
  /** The cluster-wide entry `mesh`; absent when there is none. */
  readonly mesh?: MeshSettings;
}

/** The entry `mesh`, reduced to the fields that matter for TCP through gateways. */
export interface MeshSettings {
  /** `Peering.PeerThroughMeshGateways`: servers of peered clusters connect through the mesh gateways. */
  readonly peersThroughGateways: boolean;
  /** `AllowEnablingPermissiveMutualTLS`: while false, `MutualTLSMode = "permissive"` has no effect. */
  readonly allowsPermissiveTls: boolean;
}

/** `MutualTLSMode`: with `permissive`, callers without TLS also reach the application. */
export type MutualTlsMode = 'strict' | 'permissive';

/** A gateway mode as written in an entry. */
export interface WrittenMode {
  /** As written, so that messages can quote an invalid mode; empty when unset. */
  readonly value: string;
  /** The location for messages: `service-defaults/web`, or a position in a file. */
  readonly object: string;
}

/** Settings for every proxy and gateway. */
export interface ProxyDefaults {
  /** `MeshGateway.Mode`; absent when not set. */
  readonly mode?: WrittenMode;
  /** `MutualTLSMode`; absent when not set. */
  readonly mutualTls?: MutualTlsMode;
  /** Opaque settings; those of an instance take precedence. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Settings for one service. */
export interface ServiceDefaults {
  /** `MeshGateway.Mode` of the service itself; absent when not set. */
  readonly mode?: WrittenMode;
  /** `MutualTLSMode`; takes precedence over `proxy-defaults`. Absent when not set. */
  readonly mutualTls?: MutualTlsMode;
  /** `UpstreamConfig.Defaults`: for every upstream of this service's proxies. */
  readonly upstreamDefaults?: UpstreamSettings;
  /** `UpstreamConfig.Overrides`: for the named upstreams. */
  readonly upstreamOverrides: readonly UpstreamOverride[];
  /** SNI of a service outside the mesh: connections to it bypass the gateways. */
  readonly externalSni?: string;
}

/** Upstream settings in service-defaults. */
export interface UpstreamSettings {
  /** `MeshGateway.Mode` for the upstream; absent when not set. */
  readonly mode?: WrittenMode;
  /** Milliseconds, above 0. */
  readonly connectTimeoutMs?: number;
  /** `Limits.MaxConnections`: concurrent connections, above 0; no limit when absent. */
  readonly maxConnections?: number;
  /** Ejection of the upstream's addresses; the proxy's own rule when absent. */
  readonly passiveHealthCheck?: PassiveHealthCheck;
}

/**
 * `PassiveHealthCheck`, the ejection of an upstream's addresses. A dial fails when its connection or its TLS handshake
 * fails. An absent field has the proxy's default.
 */
export interface PassiveHealthCheck {
  /** Consecutive failed dials after which an address is ejected; 1 or more. */
  readonly maxFailures?: number;
  /** Ejections end at whole multiples of this interval, because Envoy checks them that often; milliseconds, above 0. */
  readonly intervalMs?: number;
  /** `EnforcingConsecutive5xx`: percentage of the due ejections that are carried out; 0 to 100. */
  readonly enforcingPercent?: number;
  /** Highest percentage of addresses ejected at the same time; one address may always be ejected. 0 to 100. */
  readonly maxEjectionPercent?: number;
  /** Duration of the first ejection; the n-th in a row lasts n times as long. Milliseconds, above 0. */
  readonly baseEjectionMs?: number;
}

/** Settings for one upstream in service-defaults. */
export interface UpstreamOverride extends UpstreamSettings {
  /** Name of the destination. */
  readonly name: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** The peer that exports it; absent for a service of this cluster or federation. */
  readonly peer?: string;
}

/** A complete service-resolver: the part that a gateway applies, and the part that the dialling proxy applies. */
export interface ServiceResolver extends GatewayResolver {
  /** Redirects the whole service to another destination. */
  readonly redirect?: Destination;
  /**
   * Failover targets by subset, for a subset without a healthy instance; `*` covers subsets that are not listed, and
   * the whole service.
   */
  readonly failover: ReadonlyMap<string, readonly Destination[]>;
}

/**
 * Another destination for a service. An absent field keeps its value; an absent subset is kept only for the same
 * service.
 */
export interface Destination {
  /** The same service when absent. */
  readonly service?: string;
  /** When absent: the same subset if the service is the same, else the default subset of the other service. */
  readonly subset?: string;
  /** The same namespace when absent. */
  readonly namespace?: string;
  /** The same datacenter when absent. */
  readonly datacenter?: string;
  /** Local name of a peer, which resolves the service itself. Takes precedence over `datacenter`. */
  readonly peer?: string;
}

/** Configuration without any entry. */
export const NO_ENTRIES: ConfigEntries = { serviceDefaults: new Map(), resolvers: new Map(), intentions: [] };

/** The subset of all instances, for a service without subsets. */
export const ALL_INSTANCES: Subset = { filter: '', onlyPassing: false };
