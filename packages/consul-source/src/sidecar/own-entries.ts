import { defined } from '@meshgate/core/parts';
import { NO_ENTRIES, upstreamMode } from '@meshgate/mesh';
import type {
  ConfigEntries,
  ModeDecision,
  MutualTlsMode,
  ProxyDefaults,
  ProxyDefinition,
  ServiceDefaults,
  UpstreamDefinition,
  UpstreamSettings,
} from '@meshgate/mesh';
import { number, object, objects, optionalText, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { meshSettingsOf } from '../records.ts';
import { passiveHealthCheckIn } from './passive-health-check.ts';
import { modeIn } from './proxy-definition.ts';

/** The entries that apply to a proxy; `undefined` for one that does not exist, or is not known. */
export interface OwnEntries {
  readonly proxyDefaults: JsonObject | undefined;
  readonly serviceDefaults: JsonObject | undefined;
  readonly mesh: JsonObject | undefined;
}

/** Returns the settings in these entries. */
export function ownEntriesOf(entries: OwnEntries, service: string): ConfigEntries {
  const { proxyDefaults: central, serviceDefaults: own, mesh } = entries;
  return {
    ...NO_ENTRIES,
    ...defined({ proxyDefaults: central && proxyDefaultsOf(central), mesh: mesh && meshSettingsOf(mesh) }),
    serviceDefaults: new Map(own === undefined ? [] : [[service, serviceDefaultsOf(own, service)]]),
  };
}

/**
 * Returns the mode of an upstream, and the scope that sets it.
 *
 * Agents merge central configuration into registrations, either completely or not at all, by a setting that is not
 * visible elsewhere. A merged registration has the right mode, but not its origin: where an entry has the same value,
 * this entry is assumed to be the origin.
 */
export function attributedMode(
  upstream: UpstreamDefinition,
  proxy: ProxyDefinition,
  entries: ConfigEntries,
): ModeDecision {
  const asWritten = upstreamMode(upstream, proxy, entries);
  const central = upstreamMode({ name: '' }, { service: proxy.service }, centralOf(entries));
  // If the agent merged entries, the proxy would have their mode.
  if (asWritten.kind !== 'decided' || (proxy.mode === undefined && central.kind === 'decided')) return asWritten;
  const { mode: _ofUpstream, ...inherited } = upstream;
  const isCentral = central.kind === 'decided' && central.by.value === proxy.mode?.value;
  const { mode: _ofProxy, ...bare } = proxy;
  const candidate = upstreamMode(inherited, isCentral ? bare : proxy, entries);
  return candidate.kind === 'decided' && candidate.mode === asWritten.mode ? candidate : asWritten;
}

/** Returns the entries that an agent merges into the proxy itself: without settings that are for upstreams only. */
function centralOf({ serviceDefaults, ...entries }: ConfigEntries): ConfigEntries {
  const withoutUpstreams = Array.from(
    serviceDefaults,
    ([service, { upstreamDefaults: _defaults, ...defaults }]) =>
      [service, { ...defaults, upstreamOverrides: [] }] as const,
  );
  return { ...entries, serviceDefaults: new Map(withoutUpstreams) };
}

function proxyDefaultsOf(entry: JsonObject): ProxyDefaults {
  return { ...modeIn(entry, 'proxy-defaults/global'), ...mutualTlsIn(entry), config: object(entry['Config']) ?? {} };
}

function mutualTlsIn(entry: JsonObject): { readonly mutualTls?: MutualTlsMode } {
  const written = text(entry['MutualTLSMode']);
  return written === 'strict' || written === 'permissive' ? { mutualTls: written } : {};
}

function serviceDefaultsOf(entry: JsonObject, service: string): ServiceDefaults {
  const where = `service-defaults/${service}`;
  const upstreams = object(entry['UpstreamConfig']) ?? {};
  const defaults = object(upstreams['Defaults']);
  return {
    ...modeIn(entry, where),
    ...mutualTlsIn(entry),
    ...(defaults === undefined
      ? {}
      : { upstreamDefaults: upstreamSettings(defaults, `${where}, UpstreamConfig.Defaults`) }),
    upstreamOverrides: objects(upstreams['Overrides']).map((override) => {
      const name = text(override['Name']);
      const settings = upstreamSettings(override, `${where}, UpstreamConfig.Overrides for ${name}`);
      const of = defined({ namespace: optionalText(override['Namespace']), peer: optionalText(override['Peer']) });
      return { name, ...of, ...settings };
    }),
  };
}

function upstreamSettings(settings: JsonObject, where: string): UpstreamSettings {
  const connectTimeoutMs = number(settings['ConnectTimeoutMs']);
  const maxConnections = number(object(settings['Limits'])?.['MaxConnections']);
  return {
    ...modeIn(settings, where),
    ...(connectTimeoutMs < 1 ? {} : { connectTimeoutMs }),
    ...(maxConnections < 1 ? {} : { maxConnections }),
    ...passiveHealthCheckIn(settings['PassiveHealthCheck']),
  };
}
