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

/** The registration of a Connect proxy, stand-alone or the sidecar of a service. */
export interface ProxyDefinition {
  /** Service id of the proxy, unique in its datacenter (`web-sidecar-proxy`). */
  readonly id: string;
  /** Service name of the proxy in the catalog. */
  readonly name: string;
  /** The destination service (`destination_service_name`), which names the proxy's identity and leaf certificate. */
  readonly service: string;
  /** Id of the service instance behind the proxy; absent when the registration names none. */
  readonly serviceId?: string;
  /** The address that accepts connections from the mesh. */
  readonly listen: Endpoint;
  /** The address of the application: `local_service_address` and port, or a unix socket. Port 0: not defined. */
  readonly application: Endpoint;
  /** Upstreams, in the order of the registration. */
  readonly upstreams: readonly UpstreamDefinition[];
  /** `Proxy.MeshGateway`. */
  readonly mode?: WrittenMode;
  /** Opaque settings of the instance (`Proxy.Config`), without central ones. */
  readonly config: Readonly<Record<string, unknown>>;
}

/** Selects a proxy by its own id, or by the id of the service instance behind it. */
export type ProxyChoice = { readonly proxyId: string } | { readonly sidecarFor: string };

/** A service that the application reaches through its proxy. */
export interface UpstreamDefinition {
  /** Name of the destination service or prepared query. */
  readonly name: string;
  /** Consul's servers execute a prepared query at each use. */
  readonly kind: 'service' | 'prepared-query';
  /** `default` when absent. */
  readonly namespace?: string;
  /** The proxy's own when absent. */
  readonly datacenter?: string;
  /** The peer that exports it; absent for a service of this cluster or federation. */
  readonly peer?: string;
  /** The local address that the application connects to. */
  readonly bind: Endpoint;
  /** Permission bits of a unix socket in octal, such as `0600`. The system's default when absent. */
  readonly socketMode?: string;
  /** `MeshGateway.Mode` of this upstream; absent when not set. */
  readonly mode?: WrittenMode;
  /** Connect timeout in milliseconds, above 0. */
  readonly connectTimeoutMs?: number;
  /** Limit of concurrent connections (`config.limits.max_connections`), above 0; absent when not set. */
  readonly maxConnections?: number;
  /** `config.passive_health_check`; absent when not set. */
  readonly passiveHealthCheck?: PassiveHealthCheck;
}

/** Returns the mode that the dialling side sets for one upstream, without the discovery chain's own setting. */
export function upstreamMode(
  upstream: Pick<UpstreamDefinition, 'name' | 'namespace' | 'peer' | 'mode'>,
  proxy: Pick<ProxyDefinition, 'service' | 'mode'>,
  entries: ConfigEntries,
): ModeDecision {
  return decideMode(upstreamModeSettings(upstream, proxy, entries));
}

/** Returns the mode settings of one upstream, one for each scope that sets a mode. */
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

/** Settings of an upstream that its definition and its service's defaults may have. */
export type UpstreamSetting = 'connectTimeoutMs' | 'maxConnections' | 'passiveHealthCheck';

/**
 * Returns a setting of one upstream: its definition's, else that in the own service's defaults, in their order of
 * precedence; `undefined` when none has it.
 */
export function upstreamSetting<Key extends UpstreamSetting>(
  key: Key,
  upstream: Pick<UpstreamDefinition, 'name' | 'namespace' | 'peer' | Key>,
  { service, entries }: { readonly service: string; readonly entries: ConfigEntries },
): UpstreamSettings[Key] | undefined {
  return (
    upstream[key] ??
    overrideFor(upstream, service, entries)?.[key] ??
    entries.serviceDefaults.get(service)?.upstreamDefaults?.[key]
  );
}

/** The mutual TLS mode for callers of a service, and a warning for its operator. */
export interface MutualTlsDecision {
  readonly mode: MutualTlsMode;
  /** One sentence; absent when `strict` is all that is configured. */
  readonly warning?: string;
}

/** Returns `permissive` only where the service's configuration requests it and the `mesh` entry allows it. */
export function mutualTlsOf(
  service: string,
  { serviceDefaults, proxyDefaults, mesh }: ConfigEntries,
): MutualTlsDecision {
  const own = serviceDefaults.get(service)?.mutualTls;
  if ((own ?? proxyDefaults?.mutualTls) !== 'permissive') return { mode: 'strict' };
  const where = own === undefined ? 'proxy-defaults/global' : `service-defaults/${service}`;
  const asSetting = `${where}: MutualTLSMode = "permissive"`;
  if (mesh?.allowsPermissiveTls !== true) {
    const missing = 'the entry mesh does not set AllowEnablingPermissiveMutualTLS = true';
    return { mode: 'strict', warning: `${asSetting} has no effect: ${missing}` };
  }
  const danger = 'connections without TLS to the public listener reach the application: no identity, no intention';
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
