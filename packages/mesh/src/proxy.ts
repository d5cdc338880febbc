import type { Endpoint } from '@meshgate/core';
import type {
  ConfigEntries,
  MutualTlsMode,
  PassiveHealthCheck,
  UpstreamSettings,
  WrittenMode,
} from './config-entries.ts';
import { decideMode } from './gateway-mode.ts';
import type { ModeDecision, ModeScope, ModeSetting } from './gateway-mode.ts';

/** A registered Connect proxy, stand-alone or as the sidecar of a service. */
export interface ProxyDefinition {
  /** Service id of the proxy, unique in its datacenter (`web-sidecar-proxy`). */
  readonly id: string;
  /** Its name in the catalog. */
  readonly name: string;
  /** The destination service (`destination_service_name`): its identity, and the name of its leaf certificate. */
  readonly service: string;
  /** Id of the instance that it serves; absent when the definition names none. */
  readonly serviceId?: string;
  /** Where it accepts connections from the mesh. */
  readonly listen: Endpoint;
  /** The address of the application: `local_service_address` and port, or a unix socket. Port 0: not defined. */
  readonly application: Endpoint;
  /** In the order of the definition. */
  readonly upstreams: readonly UpstreamDefinition[];
  /** `Proxy.MeshGateway`. */
  readonly mode?: WrittenMode;
  /** Opaque settings of the instance (`Proxy.Config`), not merged with central ones. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Selects a proxy: by its own id, or by the id of the instance that it serves. */
export type ProxyChoice = { readonly proxyId: string } | { readonly sidecarFor: string };

/** A service that the application reaches through its proxy. */
export interface UpstreamDefinition {
  /** Destination service, or the prepared query. */
  readonly name: string;
  /** Prepared queries are executed by Consul's servers each time. */
  readonly kind: 'service' | 'prepared-query';
  /** `default` when absent. */
  readonly namespace?: string;
  /** The proxy's own when absent. */
  readonly datacenter?: string;
  /** The peer that exports it; absent for a service of this cluster or federation. */
  readonly peer?: string;
  /** The local address that the application connects to. */
  readonly bind: Endpoint;
  /** Permission bits of a unix socket, as text: `0600`. The system's default when absent. */
  readonly socketMode?: string;
  /** `MeshGateway.Mode` of this upstream; absent when it is left out. */
  readonly mode?: WrittenMode;
  /** Milliseconds, above 0. */
  readonly connectTimeoutMs?: number;
  /** Concurrent connections (`config.limits.max_connections`), above 0; absent when not set. */
  readonly maxConnections?: number;
  /** `config.passive_health_check`; absent when it is left out. */
  readonly passiveHealthCheck?: PassiveHealthCheck;
}

/** The mode that the dialling side sets for one upstream; the discovery chain's own setting is not included. */
export function upstreamMode(
  upstream: Pick<UpstreamDefinition, 'name' | 'namespace' | 'peer' | 'mode'>,
  proxy: Pick<ProxyDefinition, 'service' | 'mode'>,
  entries: ConfigEntries,
): ModeDecision {
  return decideMode(upstreamModeSettings(upstream, proxy, entries));
}

/** The settings of one upstream in each place, without the places that set none. */
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

/** The connect timeout of one upstream: from its definition, otherwise from the own service's defaults in their order. */
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

/** The connection limit of one upstream, likewise; `undefined` for no limit. */
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

function setting(scope: ModeScope, written: WrittenMode | undefined): readonly ModeSetting[] {
  return written === undefined || written.value === '' ? [] : [{ scope, ...written }];
}
