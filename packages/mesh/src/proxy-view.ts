import { defined } from '@meshgate/core/parts';
import type { Catalog } from './catalog.ts';
import type { ConfigEntries, MutualTlsMode, PassiveHealthCheck } from './config-entries.ts';
import { compileChain } from './discovery-chain.ts';
import type { DiscoveryChain } from './discovery-chain.ts';
import type { Intention } from './intentions.ts';
import { upstreamMode, upstreamSetting } from './proxy.ts';
import type { ProxyDefinition, UpstreamDefinition } from './proxy.ts';
import { upstreamTargets } from './upstream-targets.ts';
import type { MeshAround, UpstreamTarget } from './upstream-targets.ts';

/** The whole configuration of a Connect proxy at one moment, from an agent or a folder of mesh files. */
export interface ProxyView extends Pick<Catalog, 'datacenter' | 'partition' | 'trustDomain'> {
  /** Equal versions mean equal views. */
  readonly version: string;
  /** The proxy's own definition. */
  readonly proxy: ProxyDefinition;
  /** Every upstream, with its resolved targets. */
  readonly upstreams: readonly ProxyUpstream[];
  /** Intentions that may match connections to `proxy.service`, in any order; input of `authorize`. */
  readonly intentions: readonly Intention[];
  /** The decision when no intention matches. */
  readonly intentionDefault: 'allow' | 'deny';
  /**
   * The peers to which `proxy.service` is exported; callers from other peers are refused. When absent the exports are
   * not known, and callers are not checked against them.
   */
  readonly importers?: readonly string[];
  /** Whether callers without TLS also reach the application; `strict` when absent. */
  readonly mutualTls?: MutualTlsMode;
  /** Current problems, one sentence each; the view remains valid. */
  readonly warnings?: readonly string[];
}

/** One upstream and how to dial it. */
export type ProxyUpstream =
  | {
      readonly kind: 'reachable';
      readonly definition: UpstreamDefinition;
      readonly chain: DiscoveryChain;
      /** At least one, in order of preference; a target may have no backends. */
      readonly targets: readonly UpstreamTarget[];
      /** Concurrent connections, above 0; no limit when absent. */
      readonly maxConnections?: number;
      /** Ejection of the upstream's addresses; the proxy's own rule when absent. */
      readonly passiveHealthCheck?: PassiveHealthCheck;
    }
  /** The upstream must not be dialled, for this reason. */
  | { readonly kind: 'refused'; readonly definition: UpstreamDefinition; readonly reason: string };

/** A source of proxy views. `watch` has the same contract as in core's `RouteSource`. */
export interface ProxySource {
  readonly name: string;
  /** Yields the whole view once it is known, then at each change. */
  watch(signal: AbortSignal): AsyncIterable<ProxyView>;
}

/** Combines `definition` with configuration entries and the state of the mesh. */
export function proxyUpstream(
  definition: UpstreamDefinition,
  proxy: Pick<ProxyDefinition, 'service' | 'mode'>,
  entries: ConfigEntries,
  around: MeshAround & Pick<Catalog, 'trustDomain'>,
): ProxyUpstream {
  if (definition.kind !== 'service')
    return { kind: 'refused', definition, reason: 'only Consul can execute a prepared query' };
  const { name, namespace, peer, datacenter = around.datacenter } = definition;
  const request = {
    service: name,
    datacenter,
    decision: upstreamMode(definition, proxy, entries),
    ...defined({
      namespace,
      peer,
      connectTimeoutMs: upstreamSetting('connectTimeoutMs', definition, { ...proxy, entries }),
    }),
  };
  const compiled = compileChain(request, entries, around);
  if (compiled.kind === 'refused')
    return { kind: 'refused', definition, reason: `${compiled.path.join('.')}: ${compiled.message}` };
  const { chain } = compiled;
  const targets = upstreamTargets(chain, around);
  return { kind: 'reachable', definition, chain, targets, ...upstreamLimits(definition, proxy.service, entries) };
}

/** Returns the limits that configuration sets for connections to one upstream, whatever its targets. */
export function upstreamLimits(
  definition: UpstreamDefinition,
  service: string,
  entries: ConfigEntries,
): Pick<Extract<ProxyUpstream, { readonly kind: 'reachable' }>, 'maxConnections' | 'passiveHealthCheck'> {
  return defined({
    maxConnections: upstreamSetting('maxConnections', definition, { service, entries }),
    passiveHealthCheck: upstreamSetting('passiveHealthCheck', definition, { service, entries }),
  });
}
