import type { Catalog, Subset } from './catalog.ts';
import { WHOLE_SERVICE } from './config-entries.ts';
import type { ConfigEntries, Destination, ServiceResolver } from './config-entries.ts';
import { defined } from './defined.ts';
import { decideMode } from './gateway-mode.ts';
import type { ModeDecision } from './gateway-mode.ts';
import { serviceServerName } from './server-names.ts';
import { formatSpiffeId } from './spiffe.ts';

/**
 * Where connections to one upstream go, compiled from everything that configuration says of it: what Consul calls a discovery
 * chain, as far as TCP needs it. Made by {@link compileChain} from configuration entries, or read from an agent's answer.
 */
export interface DiscoveryChain {
  /** The upstream that was asked for. */
  readonly service: string;
  /** At least one, in order of preference: a later one is used while no earlier one has a healthy instance. */
  readonly targets: readonly [ChainTarget, ...ChainTarget[]];
}

/** One place that a chain leads to. */
export interface ChainTarget {
  /** Unique in the chain, as Consul writes it: `v1.db.default.default.dc2`, `db.default.default.external.cloud` for one of a peer. */
  readonly id: string;
  /** Name of the service, after redirects. */
  readonly service: string;
  /** The unnamed one when absent. */
  readonly subset?: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** `default` when absent. */
  readonly partition?: string;
  /** Where its instances are; of a peer's service the proxy's own. */
  readonly datacenter: string;
  /** The peer that exports it; absent for a service of this cluster or federation. */
  readonly peer?: string;
  /** The SNI to send. Empty for a service of a peer, until its instances are known: they say it. */
  readonly serverName: string;
  /** SPIFFE URIs, one of which the server's certificate must carry, compared decoded. Empty: nobody can be trusted there. */
  readonly identities: readonly string[];
  /** Which of the service's instances it stands for. */
  readonly instances: Subset;
  /** A service outside the mesh: gateways are passed over. */
  readonly external: boolean;
  /** How it is reached, and who says so; the dialling side's word and the chain's together. */
  readonly decision: ModeDecision;
  /** Milliseconds, above 0; absent when configuration sets none. */
  readonly connectTimeoutMs?: number;
}

/** What {@link compileChain} compiles. */
export interface ChainRequest {
  /** Name of the upstream: redirects may lead from it elsewhere. */
  readonly service: string;
  /** `default` when absent. */
  readonly namespace?: string;
  /** Where it is asked for: the upstream's, or the proxy's own. */
  readonly datacenter: string;
  /** The peer that exports it: the chain is then that one target. */
  readonly peer?: string;
  /** What the dialling side says of the mode: `upstreamMode` of the same upstream. */
  readonly decision: ModeDecision;
  /** The dialling side's own, in milliseconds: goes before that of resolvers. */
  readonly connectTimeoutMs?: number;
}

/** A chain, or why there is none: what is wrong stands in the entry that `path` begins with. */
export type CompiledChain =
  | { readonly kind: 'compiled'; readonly chain: DiscoveryChain }
  | { readonly kind: 'refused'; readonly path: readonly string[]; readonly message: string };

/**
 * Follows redirects, default subsets and failover through the service-resolvers, as Consul's servers do: a redirect is followed
 * wherever it leads, failover is taken from the service where redirects end, and a failover's own failover is not.
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
  // What a peer exports is dialled as it is. A redirect to a peer fails over as the resolver of the service's local name says (as in Consul).
  const failover = peer === undefined ? failoverOf(first.spot, entries) : [];
  const others = failover.map((spot) => settle(spot, scope));
  const refused = others.find((other) => other.kind === 'refused');
  if (refused !== undefined) return refused;
  const resolved = [first, ...others].flatMap((one) => (one.kind === 'settled' ? one.spot : []));
  const [target, ...rest] = withoutRepeats(resolved.map((spot) => targetAt(spot, scope)));
  return { kind: 'compiled', chain: { service, targets: [target ?? targetAt(first.spot, scope), ...rest] } };
}

/** Consul's name for a place: `SUBSET.SERVICE.NAMESPACE.PARTITION.DATACENTER`, with `external.PEER` at the end for one of a peer. */
export function targetId(
  spot: Pick<ChainTarget, 'service' | 'subset' | 'namespace' | 'partition' | 'datacenter' | 'peer'>,
): string {
  const { service, subset, namespace, partition, datacenter, peer } = spot;
  return [
    ...(subset === undefined ? [] : [subset]),
    service,
    namespace ?? 'default',
    partition ?? 'default',
    ...(peer === undefined ? [datacenter] : ['external', peer]),
  ].join('.');
}

/** The SPIFFE URI that the instances of a service present. The subset is not part of it. */
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

/** A place on the way through the resolvers. */
interface Spot {
  readonly service: string;
  readonly subset?: string;
  readonly namespace?: string;
  readonly datacenter: string;
  readonly peer?: string;
}

type ResolvedSpot =
  { readonly kind: 'settled'; readonly spot: Spot } | Extract<CompiledChain, { readonly kind: 'refused' }>;

/** Follows redirects and default subsets from `start` to where they end. */
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
  // What a peer exports is one name: its subsets and redirects are the peer's own.
  if (peer !== undefined) return { kind: 'settled', spot };
  const known = entries.resolvers.get(service)?.subsets ?? {};
  if (subset === undefined || Object.hasOwn(known, subset)) return { kind: 'settled', spot };
  const found = Object.keys(known).join(', ') || 'none';
  const message = `expected a definition of subset ${subset}, to which ${passed[0]} leads; subsets defined: ${found}`;
  return { kind: 'refused', path: ['service-resolver', service, 'Subsets'], message };
}

/** `undefined` where nothing leads on. */
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
  const message = `expected redirects that end somewhere, found a circle: ${passed.join(' -> ')}`;
  return { kind: 'refused', path: ['service-resolver', service, 'Redirect'], message };
}

/** A subset belongs to its service: with another service it is dropped, unless a new one is named. */
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

/** What to send and whom to expect stands with the instances that the peer replicates. */
function peerTarget(spot: Spot, { request }: ChainScope): ChainTarget {
  return {
    ...spot,
    id: targetId(spot),
    serverName: '',
    identities: [],
    instances: WHOLE_SERVICE,
    external: false,
    decision: request.decision,
    ...defined({ connectTimeoutMs: request.connectTimeoutMs }),
  };
}

function ownTarget(spot: Spot, { request, entries, trustDomain, partition }: ChainScope): ChainTarget {
  const resolver = entries.resolvers.get(spot.service);
  const externalSni = entries.serviceDefaults.get(spot.service)?.externalSni;
  const place = { ...spot, ...defined({ partition }) };
  return {
    ...place,
    id: targetId(place),
    serverName: externalSni ?? serviceServerName({ ...place, trustDomain }),
    identities: [serviceIdentity(place, trustDomain)],
    instances: (spot.subset === undefined ? undefined : resolver?.subsets[spot.subset]) ?? WHOLE_SERVICE,
    external: externalSni !== undefined,
    decision: targetDecision(spot, request.decision, entries),
    ...defined({ connectTimeoutMs: request.connectTimeoutMs ?? resolver?.connectTimeoutMs }),
  };
}

/** The destination's own defaults have a say only when the dialling side has none. */
function targetDecision({ service }: Spot, decision: ModeDecision, { serviceDefaults }: ConfigEntries): ModeDecision {
  const mode = serviceDefaults.get(service)?.mode;
  if (decision.kind === 'refused' || mode === undefined || mode.value === '') return decision;
  const last = { place: 'discovery-chain', ...mode } as const;
  return decision.kind === 'unset' ? decideMode([last]) : { ...decision, others: [...decision.others, last] };
}

/** Failover that leads back to where one has been is no failover. */
function withoutRepeats(targets: readonly ChainTarget[]): readonly ChainTarget[] {
  return targets.filter(({ id }, index) => targets.findIndex((other) => other.id === id) === index);
}
