import type { GatewayResolver, Subset } from './catalog.ts';
import type { Intention } from './intentions.ts';

/** Consul's centralized configuration, as far as TCP through gateways goes. */
export interface ConfigEntries {
  /** The one named `global`. */
  readonly proxyDefaults?: ProxyDefaults;
  /** By service. */
  readonly serviceDefaults: ReadonlyMap<string, ServiceDefaults>;
  /** By service. */
  readonly resolvers: ReadonlyMap<string, ServiceResolver>;
  /** Of all destinations, in any order. */
  readonly intentions: readonly Intention[];
  /** The entry `mesh`, for the whole cluster; absent where there is none. */
  readonly mesh?: MeshSettings;
}

/** What the entry `mesh` says, as far as TCP through gateways goes. */
export interface MeshSettings {
  /** `Peering.PeerThroughMeshGateways`: servers of peered clusters talk to each other through the mesh gateways. */
  readonly peersThroughGateways: boolean;
  /** `AllowEnablingPermissiveMutualTLS`: without it `MutualTLSMode = "permissive"` has no effect. */
  readonly allowsPermissiveTls: boolean;
}

/** `MutualTLSMode`: whether callers without TLS reach the application, too. */
export type MutualTlsMode = 'strict' | 'permissive';

/** A mode as written in an entry. */
export interface WrittenMode {
  /** As written, so that a wrong one can be quoted; empty when unset. */
  readonly value: string;
  /** Where it is written, for messages: `service-defaults/web`, or the position in a file. */
  readonly object: string;
}

/** Settings for every proxy and gateway. */
export interface ProxyDefaults {
  /** `MeshGateway.Mode`; absent when it is left out. */
  readonly mode?: WrittenMode;
  /** Absent when it is left out. */
  readonly mutualTls?: MutualTlsMode;
  /** Opaque settings; those of an instance take precedence. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Settings for one service. */
export interface ServiceDefaults {
  /** `MeshGateway.Mode` of the service itself; absent when it is left out. */
  readonly mode?: WrittenMode;
  /** Absent when it is left out; goes before that of `proxy-defaults`. */
  readonly mutualTls?: MutualTlsMode;
  /** `UpstreamConfig.Defaults`: for every upstream of this service's proxies. */
  readonly upstreamDefaults?: UpstreamSettings;
  /** `UpstreamConfig.Overrides`: for the named upstreams. */
  readonly upstreamOverrides: readonly UpstreamOverride[];
  /** The SNI for a service outside the mesh: gateways are then bypassed. */
  readonly externalSni?: string;
}

/** Upstream settings in service-defaults. */
export interface UpstreamSettings {
  /** `MeshGateway.Mode` towards the upstream; absent when it is left out. */
  readonly mode?: WrittenMode;
  /** Milliseconds, above 0. */
  readonly connectTimeoutMs?: number;
  /** `Limits.MaxConnections`: concurrent connections, above 0; no limit when absent. */
  readonly maxConnections?: number;
  /** When addresses of the upstream are ejected; the proxy's own rule when absent. */
  readonly passiveHealthCheck?: PassiveHealthCheck;
}

/** `PassiveHealthCheck`: what is absent is as the proxy has it. A dial fails when the connection or its TLS handshake does. */
export interface PassiveHealthCheck {
  /** Failed dials in a row that eject an address: 1 or more. */
  readonly maxFailures?: number;
  /** Ejections end at whole multiples of it, as Envoy looks at them that often: milliseconds, above 0. */
  readonly intervalMs?: number;
  /** `EnforcingConsecutive5xx`: in how many of a hundred cases an address that has failed so often is ejected: 0 to 100. */
  readonly enforcingPercent?: number;
  /** How many of a hundred addresses may be ejected at a time, but always one: 0 to 100. */
  readonly maxEjectionPercent?: number;
  /** The first ejection lasts so long, the n-th in a row n times as long: milliseconds, above 0. */
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

/** A whole service-resolver: what a gateway applies, and what the dialling proxy does. */
export interface ServiceResolver extends GatewayResolver {
  /** Redirects the whole service to another destination. */
  readonly redirect?: Destination;
  /** Failover targets for a subset without healthy instances; `*` for subsets that are not listed, and for the unnamed one. */
  readonly failover: ReadonlyMap<string, readonly Destination[]>;
}

/** Another destination for a service. Absent fields keep their value, except for the subset, which belongs to its service. */
export interface Destination {
  /** The same service when absent. */
  readonly service?: string;
  /** The same subset when absent and the service is the same, else the default one there. */
  readonly subset?: string;
  /** The same namespace when absent. */
  readonly namespace?: string;
  /** The same datacenter when absent. */
  readonly datacenter?: string;
  /** A peer, by its local name: its services are not resolved further. Takes precedence over `datacenter`. */
  readonly peer?: string;
}

/** No entries at all. */
export const NO_ENTRIES: ConfigEntries = { serviceDefaults: new Map(), resolvers: new Map(), intentions: [] };

/** A subset with every instance, for a service without subsets. */
export const WHOLE_SERVICE: Subset = { filter: '', onlyPassing: false };
