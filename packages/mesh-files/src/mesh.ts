import { formatProblem, type Problem } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { gatewayDefinition, importersOf, mutualTlsOf, proxyUpstream } from '@meshgate/mesh';
import type {
  Catalog,
  ChainTarget,
  ConfigEntries,
  GatewayDefinition,
  GatewayGroup,
  Instance,
  ProxyDefinition,
  ProxyView,
  Selection,
} from '@meshgate/mesh';
import {
  connectMembers,
  type Member,
  type Members,
  membersOf,
  selection,
  servicesOf,
  THIS_MACHINE,
} from './datacenter.ts';
import type { ConfigEntry, WrittenExport } from './entries.ts';
import type { MeshFile } from './mesh-file.ts';
import { entriesSeenFrom } from './seen-entries.ts';

/** The position in the mesh for which its data is derived. */
export interface MeshStandpoint {
  /** The local datacenter, which is the name of its folder. */
  readonly datacenter: string;
  /** `UUID.consul`, shared by all datacenters of the mesh. */
  readonly trustDomain: string;
  /** Peers, by local name; none when absent. */
  readonly peers?: PeerStandpoints;
}

/** The relation to another cluster, whose mesh files are in their own folder. */
export interface PeerStandpoint {
  /** The peer's datacenter with which services are exchanged: the name of a folder in the peer's folder. */
  readonly datacenter: string;
  /** Trust domain of the peer, which differs from this mesh's. */
  readonly trustDomain: string;
  /** The peer's name for this cluster, to which its exports are addressed. */
  readonly knownAs: string;
}

/** Peers by their local names. */
export type PeerStandpoints = Readonly<Record<string, PeerStandpoint>>;

/** A complete mesh, as its files describe it. */
export interface Mesh extends MeshStandpoint {
  /** Equal versions mean equal meshes. */
  readonly version: string;
  /** The mesh as seen by the gateways of each datacenter, by the name of the datacenter. */
  readonly catalogs: ReadonlyMap<string, Catalog>;
  /** Configuration entries that apply in the local datacenter. */
  readonly entries: ConfigEntries;
  /** Services exported to peers, from `exported-services` entries. */
  readonly exports: readonly WrittenExport[];
  /** Protocol of each service whose service-defaults set one. */
  readonly protocols: ReadonlyMap<string, string>;
  /** The Connect proxies of the local datacenter, by id. */
  readonly proxies: ReadonlyMap<string, ProxyDefinition>;
  /** The mesh gateways of the local datacenter, by id. */
  readonly gateways: ReadonlyMap<string, GatewayDefinition>;
  /** Problems of parts without effect, with their positions. */
  readonly warnings: readonly string[];
  /**
   * Returns the instances that a target of a discovery chain selects; `undefined` when the mesh does not have its
   * datacenter.
   */
  instancesOf(target: ChainTarget): Selection | undefined;
}

/** A mesh, and conflicts between its definitions. */
export interface BuiltMesh {
  readonly mesh: Mesh;
  readonly problems: readonly Problem[];
  /** Entries that refer to undefined objects, or form a cycle. */
  readonly astray: readonly ConfigEntry[];
}

/**
 * Combines the files of all datacenters. Within one datacenter, each object must have only one definition. Pure, in
 * steps, so that the caller can yield in between.
 */
export function* buildMesh(
  files: ReadonlyMap<string, readonly MeshFile[]>,
  standpoint: MeshStandpoint,
  version: string,
): Generator<void, BuiltMesh> {
  const entries = new Map(Array.from(files, ([name, list]) => [name, list.flatMap((file) => file.entries)]));
  const registered = new Map<string, Members>();
  for (const [name, list] of files) registered.set(name, yield* membersOf(list, name));
  const seen = new Map(Array.from(files.keys(), (name) => [name, entriesSeenFrom(name, entries)]));
  yield;
  const members = new Map(Array.from(registered, ([name, { members: list }]) => [name, list]));
  const connect = new Map(Array.from(members, ([name, list]) => [name, connectMembers(list)]));
  yield;
  // A folder without definitions is not a remote datacenter: its files may be incomplete or invalid.
  const all = Array.from(members, ([datacenter, list]) => gatewayGroup(datacenter, list));
  const gateways = all.filter((group) => group.gateways.length > 0);
  const { datacenter, trustDomain } = standpoint;
  const { entries: own, exports, protocols } = seen.get(datacenter) ?? entriesSeenFrom(datacenter, entries);
  const catalogs = new Map<string, Catalog>();
  for (const [name, list] of members) {
    const services = yield* servicesOf(list, seen.get(name)?.entries ?? own);
    const servers = serversAmong(list);
    catalogs.set(name, { datacenter: name, trustDomain, dnsDomain: DNS_DOMAIN, services, gateways, servers });
  }
  const proxies = new Map<string, ProxyDefinition>();
  for (const one of membersOfKind(members.get(datacenter), 'connect-proxy')) {
    proxies.set(one.instance.id, proxyOf(one));
    yield;
  }
  const warned = [...Array.from(files.values()).flat(), ...registered.values()].flatMap(({ warnings }) => warnings);
  const mesh: Mesh = {
    ...standpoint,
    warnings: warned.map(formatProblem),
    version,
    entries: own,
    exports,
    protocols,
    catalogs,
    proxies,
    gateways: new Map(
      membersOfKind(members.get(datacenter), 'mesh-gateway').map((one) => [one.instance.id, gatewayOf(one, own)]),
    ),
    instancesOf: (target) => instancesOf(target, connect),
  };
  const parts = [...registered.values(), ...seen.values()];
  return {
    mesh,
    problems: distinct(parts.flatMap(({ problems }) => problems)),
    astray: [...seen.values()].flatMap(({ astray }) => astray),
  };
}

/** Returns the view of the proxy with this id; `undefined` when the local datacenter does not have it. */
export function meshProxyView(mesh: Mesh, id: string): ProxyView | undefined {
  const { proxies, catalogs, datacenter, trustDomain, entries, version, instancesOf: instances } = mesh;
  const proxy = proxies.get(id);
  if (proxy === undefined) return undefined;
  const around = {
    datacenter,
    trustDomain,
    gateways: catalogs.get(datacenter)?.gateways ?? [],
    instancesOf: instances,
  };
  const { mode: mutualTls, warning } = mutualTlsOf(proxy.service, entries);
  return {
    version,
    datacenter,
    trustDomain,
    proxy,
    ...(mutualTls === 'strict' ? {} : { mutualTls }),
    ...(warning === undefined ? {} : { warnings: [warning] }),
    upstreams: proxy.upstreams.map((upstream) => proxyUpstream(upstream, proxy, entries, around)),
    intentions: entries.intentions.filter(({ destination }) => destination === '*' || destination === proxy.service),
    // The default of Consul with ACLs disabled; an intention for `*` overrides it.
    intentionDefault: 'allow',
    importers: importersOf(proxy.service, catalogs.get(datacenter)?.peering?.exports ?? []),
  };
}

/** Returns the ids of the proxies for one instance, as for `--sidecar-for`. */
export function sidecarsFor(serviceId: string, { proxies }: Pick<Mesh, 'proxies'>): readonly string[] {
  return [...proxies.values()].filter((proxy) => (proxy.serviceId ?? proxy.service) === serviceId).map(({ id }) => id);
}

/** The default of Consul's agents; without Consul, no DNS server resolves the names of its servers. */
const DNS_DOMAIN = 'consul';

function membersOfKind(
  members: readonly Member[] | undefined,
  kind: 'connect-proxy' | 'mesh-gateway',
): readonly Member[] {
  return (members ?? []).filter(({ registration }) => registration.kind === kind);
}

/**
 * Returns the servers: as in Consul's own catalog, instances of the service `consul`. Gateways may route connections to
 * them.
 */
function serversAmong(members: readonly Member[]): readonly Instance[] {
  return members.flatMap(({ registration: { kind, name }, instance }) =>
    kind === '' && name === 'consul' ? [{ ...instance, node: instance.id }] : [],
  );
}

function gatewayGroup(datacenter: string, members: readonly Member[]): GatewayGroup {
  return { datacenter, gateways: membersOfKind(members, 'mesh-gateway').map(({ instance }) => instance) };
}

function gatewayOf({ registration, instance }: Member, { proxyDefaults }: ConfigEntries): GatewayDefinition {
  const config = { ...proxyDefaults?.config, ...registration.proxy?.config };
  return gatewayDefinition({ ...instance, config }, THIS_MACHINE);
}

function proxyOf({ registration, instance }: Member): ProxyDefinition {
  const { proxy } = registration;
  return {
    id: instance.id,
    name: instance.service,
    service: proxy?.destination ?? '',
    ...defined({ serviceId: proxy?.destinationId, mode: proxy?.mode }),
    listen: { host: instance.address || THIS_MACHINE, port: instance.port, ...proxy?.bind },
    application: proxy?.application ?? { host: THIS_MACHINE, port: 0 },
    upstreams: proxy?.upstreams ?? [],
    config: proxy?.config ?? {},
  };
}

/** Members by datacenter and service. */
type ConnectMembers = ReadonlyMap<string, ReadonlyMap<string, readonly Member[]>>;

function instancesOf(target: ChainTarget, connect: ConnectMembers): Selection | undefined {
  const there = connect.get(target.datacenter);
  return there && selection(target.instances.filter, there.get(target.service) ?? []);
}

/** Drops repeated warnings, since two datacenters may share one. */
function distinct(problems: readonly Problem[]): readonly Problem[] {
  const keys = problems.map((problem) => JSON.stringify(problem));
  return problems.filter((_problem, index) => keys.indexOf(keys[index] ?? '') === index);
}
