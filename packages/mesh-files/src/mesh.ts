import { formatProblem, type Problem } from '@meshgate/core';
import { gatewayDefinition, mutualTlsOf, proxyUpstream } from '@meshgate/mesh';
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
import { connectMembers, type Member, membersOf, selection, servicesOf, THIS_MACHINE } from './datacenter.ts';
import type { ConfigEntry, WrittenExport } from './entries.ts';
import type { MeshFile } from './mesh-file.ts';
import { present } from './present.ts';
import { entriesSeenFrom } from './seen-entries.ts';

/** From where a mesh is looked at. */
export interface MeshStandpoint {
  /** The own datacenter: the name of its folder. */
  readonly datacenter: string;
  /** `UUID.consul`: one for all datacenters. */
  readonly trustDomain: string;
  /** Other clusters, by the names that this one gives to them; none when absent. */
  readonly peers?: PeerStandpoints;
}

/** How another cluster is seen, whose mesh files are in a folder of its own. */
export interface PeerStandpoint {
  /** The datacenter of the peer with which services are exchanged: the name of a folder below that of the peer. */
  readonly datacenter: string;
  /** The peer's own: not that of this mesh. */
  readonly trustDomain: string;
  /** The name that the peer gives to this cluster: what it exports, it exports to that name. */
  readonly knownAs: string;
}

/** Peers by the names that this cluster gives to them. */
export type PeerStandpoints = Readonly<Record<string, PeerStandpoint>>;

/** A whole mesh, as its files describe it. */
export interface Mesh extends MeshStandpoint {
  /** Equal versions mean equal meshes. */
  readonly version: string;
  /** By datacenter; each sees the mesh as its own gateways do. */
  readonly catalogs: ReadonlyMap<string, Catalog>;
  /** Configuration entries as they hold in the own datacenter. */
  readonly entries: ConfigEntries;
  /** What other clusters may use, as the entries `exported-services` say it. */
  readonly exports: readonly WrittenExport[];
  /** Protocols by service, of those whose service-defaults say one. */
  readonly protocols: ReadonlyMap<string, string>;
  /** The Connect proxies of the own datacenter, by id. */
  readonly proxies: ReadonlyMap<string, ProxyDefinition>;
  /** The mesh gateways of the own datacenter, by id. */
  readonly gateways: ReadonlyMap<string, GatewayDefinition>;
  /** What the files say to no effect, each with its place. */
  readonly warnings: readonly string[];
  /** Which instances a target of a discovery chain stands for; `undefined` when the mesh has no such datacenter. */
  instancesOf(target: ChainTarget): Selection | undefined;
}

/** A mesh, and what is wrong between its definitions. */
export interface BuiltMesh {
  readonly mesh: Mesh;
  readonly problems: readonly Problem[];
  /** Entries that lead to what is not defined, or in a circle. */
  readonly astray: readonly ConfigEntry[];
}

/** Puts the files of all datacenters together, no two of whose definitions in one datacenter are for one thing. Pure. */
export function buildMesh(
  files: ReadonlyMap<string, readonly MeshFile[]>,
  standpoint: MeshStandpoint,
  version: string,
): BuiltMesh {
  const entries = new Map(Array.from(files, ([name, list]) => [name, list.flatMap((file) => file.entries)]));
  const registered = new Map(Array.from(files, ([name, list]) => [name, membersOf(list, name)]));
  const seen = new Map(Array.from(files.keys(), (name) => [name, entriesSeenFrom(name, entries)]));
  const members = new Map(Array.from(registered, ([name, { members: list }]) => [name, list]));
  const connect = new Map(Array.from(members, ([name, list]) => [name, connectMembers(list)]));
  // A folder that has none is no datacenter to reach: it may be one that is being written, or broken.
  const all = Array.from(members, ([datacenter, list]) => gatewayGroup(datacenter, list));
  const gateways = all.filter((group) => group.gateways.length > 0);
  const { datacenter, trustDomain } = standpoint;
  const { entries: own, exports, protocols } = seen.get(datacenter) ?? entriesSeenFrom(datacenter, entries);
  const catalogOf = (name: string, list: readonly Member[]): Catalog => ({
    datacenter: name,
    trustDomain,
    dnsDomain: DNS_DOMAIN,
    services: servicesOf(list, seen.get(name)?.entries ?? own),
    gateways,
    servers: serversAmong(list),
  });
  const warned = [...Array.from(files.values()).flat(), ...registered.values()].flatMap(({ warnings }) => warnings);
  const mesh: Mesh = {
    ...standpoint,
    warnings: warned.map(formatProblem),
    version,
    entries: own,
    exports,
    protocols,
    catalogs: new Map(Array.from(members, ([name, list]) => [name, catalogOf(name, list)])),
    proxies: new Map(
      membersOfKind(members.get(datacenter), 'connect-proxy').map((one) => [one.instance.id, proxyOf(one)]),
    ),
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

/**
 * What the proxy with this id runs by.
 *
 * @returns `undefined` when the own datacenter has no such proxy
 */
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
    // As with Consul while its access control is off: the entry for `*` is where to change it.
    intentionDefault: 'allow',
  };
}

/** Ids of the proxies that speak for one instance: what `--sidecar-for` looks for. */
export function sidecarsFor(serviceId: string, { proxies }: Pick<Mesh, 'proxies'>): readonly string[] {
  return [...proxies.values()].filter((proxy) => (proxy.serviceId ?? proxy.service) === serviceId).map(({ id }) => id);
}

/** Nobody asks a mesh without Consul for Consul's servers; the default of Consul's agents. */
const DNS_DOMAIN = 'consul';

function membersOfKind(
  members: readonly Member[] | undefined,
  kind: 'connect-proxy' | 'mesh-gateway',
): readonly Member[] {
  return (members ?? []).filter(({ registration }) => registration.kind === kind);
}

/** Consul's own servers stand in its catalog as the service `consul`, and so they do here, for whoever routes their connections. */
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
    ...present({ serviceId: proxy?.destinationId, mode: proxy?.mode }),
    listen: { host: instance.address || THIS_MACHINE, port: instance.port, ...proxy?.bind },
    application: proxy?.application ?? { host: THIS_MACHINE, port: 0 },
    upstreams: proxy?.upstreams ?? [],
    config: proxy?.config ?? {},
  };
}

/** Members by service, by datacenter. */
type ConnectMembers = ReadonlyMap<string, ReadonlyMap<string, readonly Member[]>>;

function instancesOf(target: ChainTarget, connect: ConnectMembers): Selection | undefined {
  const there = connect.get(target.datacenter);
  return there && selection(target.instances.filter, there.get(target.service) ?? []);
}

/** What two datacenters see is told once. */
function distinct(problems: readonly Problem[]): readonly Problem[] {
  const keys = problems.map((problem) => JSON.stringify(problem));
  return problems.filter((_problem, index) => keys.indexOf(keys[index] ?? '') === index);
}
