import { defined } from '@meshgate/core/parts';
import type { Catalog, ExportTarget, Subset } from './catalog.ts';
import { ALL_INSTANCES } from './config-entries.ts';
import type { ConfigEntries, Destination, ServiceResolver } from './config-entries.ts';
import { decideMode } from './gateway-mode.ts';
import type { ModeDecision } from './gateway-mode.ts';
import { serviceServerName } from './server-names.ts';
import { formatSpiffeId } from './spiffe.ts';

/**
 * The destinations of one upstream, compiled from all configuration entries about it: Consul's discovery chain, reduced
 * to TCP. Made by {@link compileChain} from configuration entries, or read from an agent's response.
 */
export interface DiscoveryChain {
  /** The upstream for which the chain was requested. */
  readonly service: string;
  /** At least one, in order of preference: a later target is used while no earlier one has a healthy instance. */
  readonly targets: readonly [ChainTarget, ...ChainTarget[]];
}

/** One destination of a chain. The datacenter of a peer's service is the proxy's own. */
export interface ChainTarget extends ExportTarget {
  /**
   * Unique in the chain, in Consul's notation: `v1.db.default.default.dc2`, or `db.default.default.external.cloud` for
   * a peer's service.
   */
  readonly id: string;
  /** The SNI to send. Empty for a peer's service until its instances are known: they carry the name. */
  readonly serverName: string;
  /** SPIFFE URIs, compared unescaped: the server's certificate must have one of them. Empty: no server is trusted. */
  readonly identities: readonly string[];
  /** The filter that selects instances of the service. */
  readonly instances: Subset;
  /** A service outside the mesh: connections to it bypass the gateways. */
  readonly external: boolean;
  /** The gateway mode and the scope that sets it, from the dialling side and the chain together. */
  readonly decision: ModeDecision;
  /** Milliseconds, above 0; absent when not configured. */
  readonly connectTimeoutMs?: number;
}

/** The input of {@link compileChain}. */
export interface ChainRequest {
  /** Name of the upstream, before redirects. */
  readonly service: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** The upstream's datacenter, or the proxy's own. */
  readonly datacenter: string;
  /** The peer that exports it; the chain then has one target. */
  readonly peer?: string;
  /** The mode that the dialling side sets: `upstreamMode` of the same upstream. */
  readonly decision: ModeDecision;
  /** Connect timeout that the dialling side sets, in milliseconds; takes precedence over resolvers. */
  readonly connectTimeoutMs?: number;
}

/** A chain, or why it cannot be compiled: `path` begins with the configuration entry at fault. */
export type CompiledChain =
  | { readonly kind: 'compiled'; readonly chain: DiscoveryChain }
  | { readonly kind: 'refused'; readonly path: readonly string[]; readonly message: string };

/**
 * Follows redirects, default subsets and failover through the service-resolvers, as Consul's servers do: a redirect is
 * followed to its end, failover comes from the service at that end, and the failover of a failover target is ignored.
 */
export function compileChain(
  request: ChainRequest,
  entries: ConfigEntries,
  { trustDomain, partition }: Pick<Catalog, 'trustDomain' | 'partition'>,
): CompiledChain {
  const scope: ChainScope = { request, entries, trustDomain, ...defined({ partition }) };
  const { service, datacenter, namespace, peer } = request;
  const first = settle({ service, datacenter, ...defined({ namespace, peer }) }, scope);
  if (first.kind === 'refused') return first;
  // A peer resolves its exports itself. After a redirect to a peer, the resolver of the service's local name defines
  // the failover (as in Consul).
  const failover = peer === undefined ? failoverOf(first.spot, entries) : [];
  const others = failover.map((spot) => settle(spot, scope));
  const refused = others.find((other) => other.kind === 'refused');
  if (refused !== undefined) return refused;
  const resolved = [first, ...others].flatMap((one) => (one.kind === 'settled' ? one.spot : []));
  const [target, ...rest] = withoutRepeats(resolved.map((spot) => targetAt(spot, scope)));
  return { kind: 'compiled', chain: { service, targets: [target ?? targetAt(first.spot, scope), ...rest] } };
}

/**
 * Returns Consul's name of a destination: `SUBSET.SERVICE.NAMESPACE.PARTITION.DATACENTER`, or
 * `….PARTITION.external.PEER` for a peer's service.
 */
export function targetId(spot: ExportTarget): string {
  const { service, subset, namespace, partition, datacenter, peer } = spot;
  return [
    ...(subset === undefined ? [] : [subset]),
    service,
    namespace ?? 'default',
    partition ?? 'default',
    ...(peer === undefined ? [datacenter] : ['external', peer]),
  ].join('.');
}

/** Returns the SPIFFE URI in the certificates of a service's instances. All subsets share it. */
export function serviceIdentity(
  {
    service,
    namespace,
    partition,
    datacenter,
  }: Pick<ChainTarget, 'service' | 'namespace' | 'partition' | 'datacenter'>,
  trustDomain: string,
): string {
  return formatSpiffeId({
    kind: 'service',
    trustDomain,
    partition: partition ?? 'default',
    namespace: namespace ?? 'default',
    datacenter,
    service,
  });
}

interface ChainScope {
  readonly request: ChainRequest;
  readonly entries: ConfigEntries;
  readonly trustDomain: string;
  readonly partition?: string;
}

/** An intermediate destination while resolvers are followed. */
type Spot = Omit<ExportTarget, 'partition'>;

type ResolvedSpot =
  { readonly kind: 'settled'; readonly spot: Spot } | Extract<CompiledChain, { readonly kind: 'refused' }>;

/** Follows redirects and default subsets from `start` to the end. */
function settle(start: Spot, { entries }: ChainScope): ResolvedSpot {
  const passed: string[] = [];
  let spot = start;
  for (
    let next: Spot | undefined = start;
    next !== undefined;
    next = onward(spot, entries.resolvers.get(spot.service))
  ) {
    const id = targetId(next);
    if (passed.includes(id)) return circular(spot, [...passed, id]);
    passed.push(id);
    spot = next;
  }
  const { service, subset, peer } = spot;
  // A peer's export is a single name: the peer resolves subsets and redirects.
  if (peer !== undefined) return { kind: 'settled', spot };
  const known = entries.resolvers.get(service)?.subsets ?? {};
  if (subset === undefined || Object.hasOwn(known, subset)) return { kind: 'settled', spot };
  const found = Object.keys(known).join(', ') || 'none';
  const message = `expected a definition of subset ${subset}, to which ${passed[0]} leads; subsets defined: ${found}`;
  return { kind: 'refused', path: ['service-resolver', service, 'Subsets'], message };
}

/** Returns the next destination, or `undefined` at the end of the chain. */
function onward(spot: Spot, resolver: ServiceResolver | undefined): Spot | undefined {
  if (spot.peer !== undefined) return undefined;
  if (resolver?.redirect !== undefined) {
    const redirected = moved(spot, resolver.redirect);
    if (targetId(redirected) !== targetId(spot)) return redirected;
  }
  const subset = spot.subset === undefined ? resolver?.defaultSubset : undefined;
  return subset === undefined || subset === '' ? undefined : { ...spot, subset };
}

function circular({ service }: Spot, passed: readonly string[]): ResolvedSpot {
  const message = `expected redirects without a cycle, found one: ${passed.join(' -> ')}`;
  return { kind: 'refused', path: ['service-resolver', service, 'Redirect'], message };
}

/**
 * Drops the subset when the service changes, unless the destination names a new one: a subset belongs to its service.
 */
function moved(spot: Spot, to: Destination): Spot {
  const service = to.service || spot.service;
  const { peer } = to;
  if (peer) return { service, datacenter: spot.datacenter, peer, ...defined({ namespace: to.namespace || undefined }) };
  const subset = to.subset || (service === spot.service ? spot.subset : undefined);
  const namespace = to.namespace || spot.namespace;
  return { service, datacenter: to.datacenter || spot.datacenter, ...defined({ subset, namespace }) };
}

function failoverOf(spot: Spot, { resolvers }: ConfigEntries): readonly Spot[] {
  const failover = resolvers.get(spot.service)?.failover;
  const legs = failover?.get(spot.subset ?? '') ?? failover?.get('*') ?? [];
  return legs.map((leg) => moved(spot, leg));
}

function targetAt(spot: Spot, scope: ChainScope): ChainTarget {
  return spot.peer === undefined ? ownTarget(spot, scope) : peerTarget(spot, scope);
}

/** The peer's replicated instances supply the SNI and the identities later. */
function peerTarget(spot: Spot, { request }: ChainScope): ChainTarget {
  return {
    ...spot,
    id: targetId(spot),
    serverName: '',
    identities: [],
    instances: ALL_INSTANCES,
    external: false,
    decision: request.decision,
    ...defined({ connectTimeoutMs: request.connectTimeoutMs }),
  };
}

function ownTarget(spot: Spot, { request, entries, trustDomain, partition }: ChainScope): ChainTarget {
  const resolver = entries.resolvers.get(spot.service);
  const externalSni = entries.serviceDefaults.get(spot.service)?.externalSni;
  const location = { ...spot, ...defined({ partition }) };
  return {
    ...location,
    id: targetId(location),
    serverName: externalSni ?? serviceServerName({ ...location, trustDomain }),
    identities: [serviceIdentity(location, trustDomain)],
    instances: (spot.subset === undefined ? undefined : resolver?.subsets[spot.subset]) ?? ALL_INSTANCES,
    external: externalSni !== undefined,
    decision: targetDecision(spot, request.decision, entries),
    ...defined({ connectTimeoutMs: request.connectTimeoutMs ?? resolver?.connectTimeoutMs }),
  };
}

/** Applies the mode in the destination's own defaults, which counts only when the dialling side sets none. */
function targetDecision({ service }: Spot, decision: ModeDecision, { serviceDefaults }: ConfigEntries): ModeDecision {
  const mode = serviceDefaults.get(service)?.mode;
  if (decision.kind === 'refused' || mode === undefined || mode.value === '') return decision;
  const last = { scope: 'discovery-chain', ...mode } as const;
  return decision.kind === 'unset' ? decideMode([last]) : { ...decision, others: [...decision.others, last] };
}

/** Drops targets that repeat an earlier one. */
function withoutRepeats(targets: readonly ChainTarget[]): readonly ChainTarget[] {
  return targets.filter(({ id }, index) => targets.findIndex((other) => other.id === id) === index);
}
