import type { Catalog } from './catalog.ts';
import type { ConfigEntries, MutualTlsMode, PassiveHealthCheck } from './config-entries.ts';
import { defined } from './defined.ts';
import { compileChain } from './discovery-chain.ts';
import type { DiscoveryChain } from './discovery-chain.ts';
import type { Intention } from './intentions.ts';
import { upstreamConnectTimeout, upstreamMaxConnections, upstreamMode, upstreamPassiveHealthCheck } from './proxy.ts';
import type { ProxyDefinition, UpstreamDefinition } from './proxy.ts';
import { upstreamTargets } from './upstream-targets.ts';
import type { MeshAround, UpstreamTarget } from './upstream-targets.ts';

/** Everything a Connect proxy runs by at one moment, whoever says so: an agent, or a folder of mesh files. */
export interface ProxyView extends Pick<Catalog, 'datacenter' | 'partition' | 'trustDomain'> {
  /** Equal versions mean equal views. */
  readonly version: string;
  /** The proxy's own definition. */
  readonly proxy: ProxyDefinition;
  /** Each upstream with what is known of where it leads. */
  readonly upstreams: readonly ProxyUpstream[];
  /** Those that may speak about connections to `proxy.service`, in any order: for `authorize`. */
  readonly intentions: readonly Intention[];
  /** What holds where no intention matches. */
  readonly intentionDefault: 'allow' | 'deny';
  /** Whether callers without TLS reach the application, too; `strict` when absent. */
  readonly mutualTls?: MutualTlsMode;
  /** What is wrong at the moment although the view goes on to hold, one sentence each. */
  readonly warnings?: readonly string[];
}

/** One upstream and how to dial it. */
export type ProxyUpstream =
  | {
      readonly kind: 'reachable';
      readonly definition: UpstreamDefinition;
      readonly chain: DiscoveryChain;
      /** In order of preference, at least one; their backends may be none. */
      readonly targets: readonly UpstreamTarget[];
      /** Connections at a time, above 0; no limit when absent. */
      readonly maxConnections?: number;
      /** When its addresses are ejected; the proxy's own rule when absent. */
      readonly passiveHealthCheck?: PassiveHealthCheck;
    }
  /** Must not be dialled, and why. */
  | { readonly kind: 'refused'; readonly definition: UpstreamDefinition; readonly reason: string };

/** Where a proxy's view comes from. The obligations of `watch` are those of core's `RouteSource`. */
export interface ProxySource {
  readonly name: string;
  /** Yields the whole view when first known, then at each change. */
  watch(signal: AbortSignal): AsyncIterable<ProxyView>;
}

/** `definition` with all that configuration entries and the mesh around say of it. */
export function proxyUpstream(
  definition: UpstreamDefinition,
  proxy: Pick<ProxyDefinition, 'service' | 'mode'>,
  entries: ConfigEntries,
  around: MeshAround & Pick<Catalog, 'trustDomain'>,
): ProxyUpstream {
  if (definition.kind !== 'service')
    return { kind: 'refused', definition, reason: 'a prepared query can be looked up by Consul only' };
  const { name, namespace, peer, datacenter = around.datacenter } = definition;
  const request = {
    service: name,
    datacenter,
    decision: upstreamMode(definition, proxy, entries),
    ...defined({ namespace, peer, connectTimeoutMs: upstreamConnectTimeout(definition, proxy.service, entries) }),
  };
  const compiled = compileChain(request, entries, around);
  if (compiled.kind === 'refused')
    return { kind: 'refused', definition, reason: `${compiled.path.join('.')}: ${compiled.message}` };
  const { chain } = compiled;
  const targets = upstreamTargets(chain, around);
  return { kind: 'reachable', definition, chain, targets, ...upstreamLimits(definition, proxy.service, entries) };
}

/** What configuration says of connections to one upstream, whatever its targets. */
export function upstreamLimits(
  definition: UpstreamDefinition,
  service: string,
  entries: ConfigEntries,
): Pick<Extract<ProxyUpstream, { readonly kind: 'reachable' }>, 'maxConnections' | 'passiveHealthCheck'> {
  return defined({
    maxConnections: upstreamMaxConnections(definition, service, entries),
    passiveHealthCheck: upstreamPassiveHealthCheck(definition, service, entries),
  });
}
