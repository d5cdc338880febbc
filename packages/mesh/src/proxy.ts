import type { Endpoint } from '@meshgate/core';
import type {
  ConfigEntries,
  MutualTlsMode,
  PassiveHealthCheck,
  UpstreamSettings,
  WrittenMode,
} from './config-entries.ts';
import { decideMode } from './gateway-mode.ts';
import type { ModeDecision, ModePlace, ModeSetting } from './gateway-mode.ts';

/** A Connect proxy as it is registered, by itself or as the sidecar of a service. */
export interface ProxyDefinition {
  /** Service id of the proxy, unique in its datacenter (`web-sidecar-proxy`). */
  readonly id: string;
  /** Its name in the catalog. */
  readonly name: string;
  /** The service for which it speaks (`destination_service_name`): its identity, and the name of its leaf certificate. */
  readonly service: string;
  /** Id of the instance for which it speaks; absent when the definition names none. */
  readonly serviceId?: string;
  /** Where it accepts connections of the mesh. */
  readonly listen: Endpoint;
  /** Where the application is: `local_service_address` and port, or a unix socket. Port 0: the definition names none. */
  readonly application: Endpoint;
  /** As they are written, in their order. */
  readonly upstreams: readonly UpstreamDefinition[];
  /** `Proxy.MeshGateway`. */
  readonly mode?: WrittenMode;
  /** Opaque settings of the instance (`Proxy.Config`), not merged with central ones. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Selects a proxy: by its own id, or by the id of the instance that it serves. */
export type ProxyChoice = { readonly proxyId: string } | { readonly sidecarFor: string };

/** Something that the application reaches through its proxy. */
export interface UpstreamDefinition {
  /** Destination service, or the prepared query. */
  readonly name: string;
  /** A prepared query is looked up by Consul's servers each time. */
  readonly kind: 'service' | 'prepared-query';
  /** `default` when absent. */
  readonly namespace?: string;
  /** The proxy's own when absent. */
  readonly datacenter?: string;
  /** The peer that exports it; absent for a service of this cluster or federation. */
  readonly peer?: string;
  /** Where the application finds it, on this machine. */
  readonly bind: Endpoint;
  /** Permission bits of a unix socket, as text: `0600`. The system's own when absent. */
  readonly socketMode?: string;
  /** `MeshGateway.Mode` of this upstream; absent when it is left out. */
  readonly mode?: WrittenMode;
  /** Milliseconds, above 0. */
  readonly connectTimeoutMs?: number;
  /** Connections at a time (`config.limits.max_connections`), above 0; absent when it is left out. */
  readonly maxConnections?: number;
  /** `config.passive_health_check`; absent when it is left out. */
  readonly passiveHealthCheck?: PassiveHealthCheck;
}

/** Which mode the dialling side sets for one upstream: the discovery chain's own word is not in it yet. */
export function upstreamMode(
  upstream: Pick<UpstreamDefinition, 'name' | 'namespace' | 'peer' | 'mode'>,
  proxy: Pick<ProxyDefinition, 'service' | 'mode'>,
  entries: ConfigEntries,
): ModeDecision {
  return decideMode(upstreamModeSettings(upstream, proxy, entries));
}

/** What each place says of one upstream, those that say nothing left out. */
export function upstreamModeSettings(
  upstream: Pick<UpstreamDefinition, 'name' | 'namespace' | 'peer' | 'mode'>,
  proxy: Pick<ProxyDefinition, 'service' | 'mode'>,
  entries: ConfigEntries,
): readonly ModeSetting[] {
  const own = entries.serviceDefaults.get(proxy.service);
  return [
    ...setting('upstream', upstream.mode),
    ...setting('upstream-override', overrideFor(upstream, proxy.service, entries)?.mode),
    ...setting('service-instance', proxy.mode),
    ...setting('upstream-defaults', own?.upstreamDefaults?.mode),
    ...setting('service-defaults', own?.mode),
    ...setting('proxy-defaults', entries.proxyDefaults?.mode),
  ];
}

/** How long dialling one upstream may take by its definition or, in their order, what the own service's defaults say of it. */
export function upstreamConnectTimeout(
  upstream: Pick<UpstreamDefinition, 'name' | 'namespace' | 'peer' | 'connectTimeoutMs'>,
  service: string,
  entries: ConfigEntries,
): number | undefined {
  return (
    upstream.connectTimeoutMs ??
    overrideFor(upstream, service, entries)?.connectTimeoutMs ??
    entries.serviceDefaults.get(service)?.upstreamDefaults?.connectTimeoutMs
  );
}

/** How many connections one upstream may have at a time, likewise; `undefined` for no limit. */
export function upstreamMaxConnections(
  upstream: Pick<UpstreamDefinition, 'name' | 'namespace' | 'peer' | 'maxConnections'>,
  service: string,
  entries: ConfigEntries,
): number | undefined {
  return (
    upstream.maxConnections ??
    overrideFor(upstream, service, entries)?.maxConnections ??
    entries.serviceDefaults.get(service)?.upstreamDefaults?.maxConnections
  );
}

/** When addresses of one upstream are ejected, likewise; `undefined` where nobody says anything. */
export function upstreamPassiveHealthCheck(
  upstream: Pick<UpstreamDefinition, 'name' | 'namespace' | 'peer' | 'passiveHealthCheck'>,
  service: string,
  entries: ConfigEntries,
): PassiveHealthCheck | undefined {
  return (
    upstream.passiveHealthCheck ??
    overrideFor(upstream, service, entries)?.passiveHealthCheck ??
    entries.serviceDefaults.get(service)?.upstreamDefaults?.passiveHealthCheck
  );
}

/** What holds of mutual TLS for the callers of a service, and what its operator should hear of that. */
export interface MutualTlsDecision {
  readonly mode: MutualTlsMode;
  /** A sentence; absent where nobody asks for anything but `strict`. */
  readonly warning?: string;
}

/** Permissive only where both the service's configuration asks for it and the `mesh` entry allows it. */
export function mutualTlsOf(
  service: string,
  { serviceDefaults, proxyDefaults, mesh }: ConfigEntries,
): MutualTlsDecision {
  const own = serviceDefaults.get(service)?.mutualTls;
  if ((own ?? proxyDefaults?.mutualTls) !== 'permissive') return { mode: 'strict' };
  const where = own === undefined ? 'proxy-defaults/global' : `service-defaults/${service}`;
  const asSetting = `${where}: MutualTLSMode = "permissive"`;
  if (mesh?.allowsPermissiveTls !== true) {
    const missing = 'the entry mesh does not say AllowEnablingPermissiveMutualTLS = true';
    return { mode: 'strict', warning: `${asSetting} has no effect: ${missing}` };
  }
  const danger = 'whoever reaches the public listener without TLS reaches the application: no identity, no intention';
  return { mode: 'permissive', warning: `${asSetting}: ${danger}` };
}

function overrideFor(
  { name, namespace = 'default', peer }: Pick<UpstreamDefinition, 'name' | 'namespace' | 'peer'>,
  service: string,
  { serviceDefaults }: ConfigEntries,
): UpstreamSettings | undefined {
  const overrides = serviceDefaults.get(service)?.upstreamOverrides ?? [];
  return overrides.find((one) => one.name === name && (one.namespace ?? 'default') === namespace && one.peer === peer);
}

function setting(place: ModePlace, written: WrittenMode | undefined): readonly ModeSetting[] {
  return written === undefined || written.value === '' ? [] : [{ place, ...written }];
}
