import type { Backend, Problem } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import type { Reach } from './address.ts';
import { backendsOf } from './backends.ts';
import type { Catalog, GatewayGroup, Instance, Selection } from './catalog.ts';
import type { ChainTarget, DiscoveryChain } from './discovery-chain.ts';
import { datacenterLabel, newestOfEach } from './gateway-groups.ts';
import { explainMode, modeOf } from './gateway-mode.ts';
import { instanceHealth } from './health.ts';
import { serverNameProblem } from './server-names.ts';

/** The state of the mesh from which a Connect proxy selects targets. */
export interface MeshAround extends Pick<Catalog, 'datacenter' | 'partition' | 'gateways'> {
  /**
   * Returns the instances that a target selects; `undefined` when they are not known, for example while the other
   * datacenter does not respond. Gateways are dialled even then.
   */
  instancesOf(target: ChainTarget): Selection | undefined;
}

/** The hosts that are dialled for a target. */
export type UpstreamPath =
  /** The instances of the target. */
  | 'direct'
  /** A gateway of the proxy's own datacenter. */
  | 'local-gateway'
  /** A gateway of the target's datacenter. */
  | 'remote-gateway'
  /** None: the deciding scope has an invalid mode, so that no path is configured. */
  | 'undecided';

/** Everything needed to dial one target of an upstream. */
export interface UpstreamTarget {
  /** A target of the discovery chain. */
  readonly target: ChainTarget;
  /** Whether gateways are used, and which. */
  readonly path: UpstreamPath;
  /** Addresses of instances or gateways. An unhealthy one is dialled only when no target has a healthy one. */
  readonly backends: readonly Backend[];
  /** Why `backends` is empty; absent otherwise. */
  readonly unreachableReason?: string;
  /** Error code of a connection while `backends` is empty: `NO_GATEWAY` when gateways are missing. */
  readonly withoutBackend: 'NO_BACKEND' | 'NO_GATEWAY';
  /** Whether the service itself has a healthy instance there, even when gateways are dialled in its place. */
  readonly service: 'healthy' | 'unhealthy' | 'unknown';
  /** For `explain` and the log: mode, its scope, path, health. */
  readonly facts: Readonly<Record<string, string>>;
  /** Problems of instances or gateways that cannot be dialled. */
  readonly problems: readonly Problem[];
}

/**
 * Returns the addresses to dial for each target of `chain`, in order of preference.
 *
 * Gateways are used only for another datacenter or partition, or for a peer. A gateway counts as healthy when it passes
 * its own checks and the service behind it has a healthy instance, or the service's health is not known; Consul's own
 * sidecars ignore the gateway's checks.
 */
export function upstreamTargets(chain: DiscoveryChain, around: MeshAround): readonly UpstreamTarget[] {
  return chain.targets.map((target) => upstreamTarget(target, around));
}

/**
 * Orders targets for dialling: those with a healthy backend first. The others remain, because health checks may be out
 * of date.
 */
export function dialOrder(targets: readonly UpstreamTarget[]): readonly UpstreamTarget[] {
  const isServing = ({ backends }: UpstreamTarget): boolean => backends.some(({ healthy }) => healthy);
  return [...targets.filter(isServing), ...targets.filter((target) => !isServing(target))];
}

/** Returns the path to `target` for a proxy in `from`. */
export function pathTo(target: ChainTarget, from: Pick<Catalog, 'datacenter' | 'partition'>): UpstreamPath {
  if (target.external || (target.peer === undefined && isHome(target, from))) return 'direct';
  if (target.decision.kind === 'refused') return 'undecided';
  const mode = modeOf(target.decision);
  if (mode === 'local') return 'local-gateway';
  // A peer's exports are reachable only through its gateways; the peer replicates their addresses in place of the
  // instances'.
  return mode === 'remote' || target.peer !== undefined ? 'remote-gateway' : 'direct';
}

function upstreamTarget(given: ChainTarget, around: MeshAround): UpstreamTarget {
  const path = pathTo(given, around);
  const known = around.instancesOf(given);
  const target = given.peer === undefined ? given : withPeerMeta(given, known);
  const service = serviceHealth(known, target);
  // Without a server name and an identity, no server could be verified.
  const isUnknown = target.peer !== undefined && target.serverName === '';
  const dialled = isUnknown ? { ...NO_ONE, path: [] } : dialledFor(target, path, known, around);
  const { list, facts, problems } = backendsOf(dialled.instances, dialled.reach, dialled.onlyPassing, dialled.path);
  const backends = service === 'unhealthy' ? list.map((backend) => ({ ...backend, healthy: false })) : list;
  const missed = [...modeProblems(target, path), ...selectionProblems(target, known), ...problems];
  const unreachableReason = list.length > 0 ? undefined : (missed[0]?.message ?? missing(target, path, known, around));
  const all = [...missed, ...nameProblems(target, path)];
  return {
    target,
    path,
    backends,
    ...defined({ unreachableReason }),
    withoutBackend: path === 'local-gateway' || path === 'remote-gateway' ? 'NO_GATEWAY' : 'NO_BACKEND',
    service,
    facts: {
      ...describe(target, path, around),
      service,
      ...facts,
      ...defined({
        unhealthyBecause: list.length > 0 ? behindGateways(target, path, known) : undefined,
        unreachable: unreachableReason,
      }),
    },
    problems: all,
  };
}

/**
 * Takes the SNI and the expected identities from the peer's instances; until the peer replicates them, no server is
 * trusted.
 */
function withPeerMeta(target: ChainTarget, known: Selection | undefined): ChainTarget {
  const described = selected(known).find(({ peerMeta }) => peerMeta !== undefined)?.peerMeta;
  const [serverName] = described?.serverNames ?? [];
  if (described === undefined || serverName === undefined) return target;
  return { ...target, serverName: serverName.toLowerCase(), identities: described.identities };
}

/**
 * Returns why gateways that pass their own checks count as unhealthy: the service behind them has no healthy instance.
 */
function behindGateways(target: ChainTarget, path: UpstreamPath, known: Selection | undefined): string | undefined {
  if ((path !== 'local-gateway' && path !== 'remote-gateway') || known?.kind !== 'selected') return undefined;
  if (serviceHealth(known, target) !== 'unhealthy') return undefined;
  const found = known.instances.length === 0 ? 'no instance' : 'no healthy instance';
  const location = target.peer === undefined ? `datacenter ${target.datacenter}` : `peer ${target.peer}`;
  return `${nameOf(target)} has ${found} in ${location}; its gateways lead nowhere`;
}

function nameOf({ service, subset }: ChainTarget): string {
  return subset === undefined || subset === '' ? service : `${subset}.${service}`;
}

/** Returns what is missing when no problem explains the lack of backends. */
function missing(target: ChainTarget, path: UpstreamPath, known: Selection | undefined, around: MeshAround): string {
  const { service, datacenter, peer, serverName } = target;
  if (peer !== undefined && serverName === '') return missingAtPeer(service, peer, known);
  if (path === 'local-gateway') return `no mesh gateway of datacenter ${around.datacenter} is known`;
  if (path === 'remote-gateway') return `no mesh gateway of datacenter ${datacenter} is known`;
  const name = nameOf(target);
  if (known === undefined) return `instances of ${name} in datacenter ${datacenter} unknown yet`;
  return `${name} has no instance in datacenter ${datacenter}`;
}

function missingAtPeer(service: string, peer: string, known: Selection | undefined): string {
  if (known === undefined) return `exports of ${service} by peer ${peer} unknown yet`;
  return `peer ${peer} exports no ${service} to this cluster, or has no mesh gateway`;
}

function serviceHealth(
  known: Selection | undefined,
  { instances: { onlyPassing } }: ChainTarget,
): UpstreamTarget['service'] {
  if (known === undefined) return 'unknown';
  const healthy = selected(known).some((instance) => instanceHealth(instance, onlyPassing).healthy);
  return healthy ? 'healthy' : 'unhealthy';
}

interface Dialled {
  readonly instances: readonly Instance[];
  readonly reach: Reach;
  readonly onlyPassing: boolean;
  /** The path prefix of problems with these instances. */
  readonly path: readonly string[];
}

function dialledFor(
  target: ChainTarget,
  path: UpstreamPath,
  known: Selection | undefined,
  around: MeshAround,
): Dialled {
  if (path === 'undecided') return { ...NO_ONE, path: [] };
  if (path === 'local-gateway') return { ...NO_ONE, ...gatewaysOf(around, around), reach: 'lan' };
  if (path === 'remote-gateway' && target.peer === undefined) return { ...NO_ONE, ...gatewaysOf(target, around) };
  const reach = target.peer === undefined && isHome(target, around) ? 'lan' : 'wan';
  const { onlyPassing } = target.instances;
  return { instances: selected(known), reach, onlyPassing, path: ['service', target.service] };
}

const NO_ONE = { instances: [], reach: 'wan', onlyPassing: false } as const;

function gatewaysOf(
  where: Pick<GatewayGroup, 'datacenter' | 'partition'>,
  { gateways }: MeshAround,
): Pick<Dialled, 'instances' | 'path'> {
  const label = datacenterLabel({ ...where, gateways: [] });
  const group = newestOfEach(gateways).find((one) => datacenterLabel(one) === label);
  return { instances: group?.gateways ?? [], path: ['mesh-gateways', label] };
}

function selected(known: Selection | undefined): readonly Instance[] {
  return known?.kind === 'selected' ? known.instances : [];
}

function isHome(
  target: Pick<ChainTarget, 'datacenter' | 'partition'>,
  from: Pick<Catalog, 'datacenter' | 'partition'>,
): boolean {
  return target.datacenter === from.datacenter && (target.partition ?? 'default') === (from.partition ?? 'default');
}

function describe(target: ChainTarget, path: UpstreamPath, around: MeshAround): Readonly<Record<string, string>> {
  const { service, subset, datacenter, peer } = target;
  return {
    path,
    mode: modeOf(target.decision) ?? 'unset',
    decidedBy: reasonFor(target, path, around),
    target: service,
    ...defined({ subset, peer, datacenter: peer === undefined ? datacenter : undefined }),
  };
}

/** Returns why this path is used; a mode that is set may not apply. */
function reasonFor(target: ChainTarget, path: UpstreamPath, around: MeshAround): string {
  if (target.external) return 'the service is outside the mesh: no gateway is used, whatever the mode';
  if (target.peer === undefined && isHome(target, around))
    return 'same datacenter: no gateway is needed, whatever the mode';
  const explained = explainMode(target.decision);
  const isForced = target.peer !== undefined && path === 'remote-gateway' && modeOf(target.decision) !== 'remote';
  return isForced ? `${explained}; a peer is reached through its gateways only` : explained;
}

function modeProblems({ decision }: ChainTarget, path: UpstreamPath): readonly Problem[] {
  return decision.kind === 'refused' && path === 'undecided' ? [{ path: [], message: decision.message }] : [];
}

/**
 * Reports names that a gateway cannot route: gateways route by SNI and accept host names only, instances accept any
 * name.
 */
function nameProblems({ serverName }: ChainTarget, path: UpstreamPath): readonly Problem[] {
  if (serverName === '' || path === 'direct' || path === 'undecided') return [];
  const found = serverNameProblem(serverName);
  return found === undefined ? [] : [{ path: [], message: `no gateway routes the name ${serverName}: ${found}` }];
}

function selectionProblems({ service, subset }: ChainTarget, known: Selection | undefined): readonly Problem[] {
  if (known?.kind !== 'refused') return [];
  const path = ['service-resolver', service, 'Subsets', subset ?? '', 'Filter'];
  return [{ path, message: `this filter is rejected: ${known.reason}` }];
}
