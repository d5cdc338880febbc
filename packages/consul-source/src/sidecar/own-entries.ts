import { NO_ENTRIES, upstreamMode } from '@meshgate/mesh';
import type {
  ConfigEntries,
  ModeDecision,
  ProxyDefaults,
  ProxyDefinition,
  ServiceDefaults,
  UpstreamDefinition,
  UpstreamSettings,
} from '@meshgate/mesh';
import { number, object, objects, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { modeIn } from './proxy-definition.ts';

/** The answers for the two entries that speak about a proxy itself; `undefined` for one that does not exist, or is not known. */
export interface OwnEntries {
  readonly proxyDefaults: unknown;
  readonly serviceDefaults: unknown;
}

/** Both entries as far as they say something of upstreams. */
export function ownEntriesOf({ proxyDefaults, serviceDefaults }: OwnEntries, service: string): ConfigEntries {
  const central = object(proxyDefaults);
  const own = object(serviceDefaults);
  return {
    ...NO_ENTRIES,
    ...(central === undefined ? {} : { proxyDefaults: proxyDefaultsOf(central) }),
    serviceDefaults: new Map(own === undefined ? [] : [[service, serviceDefaultsOf(own, service)]]),
  };
}

/**
 * The mode of an upstream, and which place decided it.
 *
 * Agents merge central configuration into registrations, all of them or none, by a setting that nobody else sees. What then
 * stands in the registration is right, but hides where it came from: where an entry says the same, it is taken to be from there.
 */
export function attributedMode(
  upstream: UpstreamDefinition,
  proxy: ProxyDefinition,
  entries: ConfigEntries,
): ModeDecision {
  const asWritten = upstreamMode(upstream, proxy, entries);
  const central = upstreamMode({ name: '' }, { service: proxy.service }, centralOf(entries));
  // Merged, the proxy would have the mode of the entries.
  if (asWritten.kind !== 'decided' || (proxy.mode === undefined && central.kind === 'decided')) return asWritten;
  const { mode: _ofUpstream, ...inherited } = upstream;
  const isCentral = central.kind === 'decided' && central.by.value === proxy.mode?.value;
  const { mode: _ofProxy, ...bare } = proxy;
  const candidate = upstreamMode(inherited, isCentral ? bare : proxy, entries);
  return candidate.kind === 'decided' && candidate.mode === asWritten.mode ? candidate : asWritten;
}

/** What an agent merges into a proxy itself: nothing that is for its upstreams only. */
function centralOf({ serviceDefaults, ...entries }: ConfigEntries): ConfigEntries {
  const withoutUpstreams = Array.from(
    serviceDefaults,
    ([service, { upstreamDefaults: _defaults, ...defaults }]) =>
      [service, { ...defaults, upstreamOverrides: [] }] as const,
  );
  return { ...entries, serviceDefaults: new Map(withoutUpstreams) };
}

function proxyDefaultsOf(entry: JsonObject): ProxyDefaults {
  return { ...modeIn(entry, 'proxy-defaults/global'), config: object(entry['Config']) ?? {} };
}

function serviceDefaultsOf(entry: JsonObject, service: string): ServiceDefaults {
  const where = `service-defaults/${service}`;
  const upstreams = object(entry['UpstreamConfig']) ?? {};
  const defaults = object(upstreams['Defaults']);
  return {
    ...modeIn(entry, where),
    ...(defaults === undefined
      ? {}
      : { upstreamDefaults: upstreamSettings(defaults, `${where}, UpstreamConfig.Defaults`) }),
    upstreamOverrides: objects(upstreams['Overrides']).map((override) => {
      const name = text(override['Name']);
      const namespace = text(override['Namespace']);
      const settings = upstreamSettings(override, `${where}, UpstreamConfig.Overrides for ${name}`);
      return { name, ...(namespace === '' ? {} : { namespace }), ...settings };
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
  };
}

/** What the entries ask for and has no effect here, one sentence each. */
export function ineffectiveIn({ proxyDefaults, serviceDefaults }: OwnEntries, service: string): readonly string[] {
  const named = [
    ['proxy-defaults/global', object(proxyDefaults)] as const,
    [`service-defaults/${service}`, object(serviceDefaults)] as const,
  ];
  return named.flatMap(([where, entry]) => {
    const isPermissive = text(entry?.['MutualTLSMode']) === 'permissive';
    const upstreams = object(entry?.['UpstreamConfig']);
    const all = [object(upstreams?.['Defaults']) ?? {}, ...objects(upstreams?.['Overrides'])];
    const hasHealthCheck = all.some((one) => object(one['PassiveHealthCheck']) !== undefined);
    return [
      ...(isPermissive
        ? [`${where}: MutualTLSMode = "permissive" has no effect: a caller without a certificate is refused`]
        : []),
      ...(hasHealthCheck
        ? [`${where}: PassiveHealthCheck has no effect: five failed dials in a row eject an address for 30 s`]
        : []),
    ];
  });
}
