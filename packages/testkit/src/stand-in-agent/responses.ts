import { checkServiceNode, nodesOf, serverServices } from './mesh.ts';
import type { ConsulObject, StandInMesh, StandInService } from './mesh.ts';
import type { VersionTraits } from './versions.ts';

/** A response before faults are applied. */
export interface StandInResponse {
  readonly status: number;
  /** An object, a list or null is sent as JSON, a string unchanged. */
  readonly body: unknown;
  /** Whether the endpoint does not support blocking queries and returns no index. */
  readonly unheld?: boolean;
  /** Whether results were filtered by the token's permissions. */
  readonly filtered?: boolean;
}

/** A received request. */
export interface StandInRequest {
  readonly method: string;
  /** The path below `/v1/`. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** The parsed body; `undefined` if there is none. */
  readonly body: unknown;
}

/** Returns the response of an agent of one version, with the data of `mesh`. Pure. */
export function responseOf(request: StandInRequest, mesh: StandInMesh, traits: VersionTraits): StandInResponse {
  for (const [pattern, respond] of ENDPOINTS) {
    const match = pattern.exec(request.path);
    if (match !== null) return respond({ request, mesh, traits, name: decodeURIComponent(match[1] ?? '') });
  }
  return NO_ENDPOINT;
}

interface EndpointRequest {
  readonly request: StandInRequest;
  readonly mesh: StandInMesh;
  readonly traits: VersionTraits;
  /** Last segment of the path, if that is a name. */
  readonly name: string;
}

const NO_ENDPOINT: StandInResponse = {
  status: 404,
  body: 'Invalid URL path: not a recognized HTTP API endpoint\n',
  unheld: true,
};

type EndpointHandler = (request: EndpointRequest) => StandInResponse;

const ENDPOINTS: readonly (readonly [RegExp, EndpointHandler])[] = [
  [/^status\/leader$/, () => unheld('"127.0.0.1:8300"')],
  [/^agent\/self$/, ({ traits, mesh }) => unheld(selfOf(traits, mesh))],
  [/^internal\/acl\/authorize$/, () => ({ status: 401, body: 'ACL support disabled\n', unheld: true })],
  [/^agent\/connect\/ca\/roots$/, ({ mesh }) => ok(rootsOf(mesh))],
  [/^catalog\/datacenters$/, ({ mesh }) => unheld(datacentersOf(mesh))],
  [/^catalog\/node-services\/([^/]+)$/, ({ mesh, name }) => ok(onNode(mesh, name))],
  [/^catalog\/services$/, ({ mesh }) => ok(Object.fromEntries(localServices(mesh).map(({ name }) => [name, []])))],
  [/^internal\/ui\/nodes$/, ({ mesh }) => ok(nodesOf(everything(mesh)))],
  [/^internal\/ui\/services$/, (request) => ok(summaries(request))],
  [/^internal\/ui\/exported-services$/, exportedToPeer],
  [/^internal\/federation-states\/mesh-gateways$/, ({ mesh }) => ok(gatewaysByDatacenter(mesh))],
  [/^exported-services$/, exportedServices],
  [/^peerings$/, peerings],
  [/^peering\/([^/]+)$/, peering],
  [/^health\/service\/([^/]+)$/, (request) => ok(healthOf(request, ({ name }) => name === request.name))],
  [/^health\/connect\/([^/]+)$/, (request) => ok(healthOf(request, ({ destination }) => destination === request.name))],
  [/^discovery-chain\/([^/]+)$/, ({ mesh, name, traits }) => ok({ Chain: chainOf(name, mesh, traits) })],
  [/^connect\/intentions\/match$/, intentions],
  [/^agent\/connect\/authorize$/, authorization],
  [/^config\/([^/]+)$/, entriesOfKind],
  [/^config\/[^/]+\/([^/]+)$/, entry],
];

function ok(body: unknown): StandInResponse {
  return { status: 200, body };
}

const DATACENTER = 'dc1';
const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';

function selfOf({ release }: VersionTraits, { datacenter = DATACENTER }: StandInMesh): ConsulObject {
  return { Config: { Datacenter: datacenter, Version: release }, DebugConfig: { DNSDomain: 'consul.' } };
}

function rootsOf({ trustDomain = TRUST_DOMAIN, roots = [] }: StandInMesh): ConsulObject {
  const list = roots.map((pem, index) => ({ ID: String(index), RootCert: pem, Active: index === 0 }));
  return { ActiveRootID: '0', TrustDomain: trustDomain, Roots: list };
}

function datacentersOf({ datacenter = DATACENTER, remoteGateways = {} }: StandInMesh): readonly string[] {
  return [datacenter, ...Object.keys(remoteGateways)];
}

function localServices({ services = [], servers = [{ node: 'server-1', address: '127.0.0.1' }] }: StandInMesh) {
  return [...serverServices(servers), ...services.filter(({ peer }) => peer === undefined)];
}

function onNode(mesh: StandInMesh, name: string): ConsulObject {
  const found = nodesOf(localServices(mesh)).find(({ Node }) => Node === name);
  return { Node: found === undefined ? null : { Node: name }, Services: found?.['Services'] ?? [] };
}

function everything(mesh: StandInMesh): readonly StandInService[] {
  return [...localServices(mesh), ...(mesh.services ?? []).filter(({ peer }) => peer !== undefined)];
}

/** A service of every datacenter. */
const CONSUL: StandInService = { name: 'consul', port: 8_300 };

function summaries({ mesh, request }: EndpointRequest): readonly ConsulObject[] {
  const { datacenter = DATACENTER, remoteGateways = {} } = mesh;
  const where = request.query.get('dc') ?? datacenter;
  const there = where === datacenter ? localServices(mesh) : [CONSUL, ...(remoteGateways[where] ?? [])];
  return there.map(({ name, kind = '' }) => ({ Name: name, Kind: kind, InstanceCount: 1 }));
}

function gatewaysByDatacenter({
  datacenter = DATACENTER,
  services = [],
  remoteGateways = {},
}: StandInMesh): ConsulObject {
  const own = services.filter(({ kind, peer }) => kind === 'mesh-gateway' && peer === undefined);
  const groups = Object.entries({ [datacenter]: own, ...remoteGateways }).filter(([, group]) => group.length > 0);
  return Object.fromEntries(
    groups.map(([where, group]) => [where, group.map((gateway) => checkServiceNode(gateway, where))]),
  );
}

function healthOf(
  { request, mesh }: EndpointRequest,
  isSelected: (service: StandInService) => boolean,
): readonly ConsulObject[] {
  const peer = request.query.get('peer') ?? undefined;
  const { datacenter = DATACENTER, remoteGateways = {} } = mesh;
  const where = request.query.get('dc') ?? datacenter;
  const there = where === datacenter ? everything(mesh) : (remoteGateways[where] ?? []);
  const found = there.filter((service) => isSelected(service) && service.peer === peer);
  return found.map((service) => checkServiceNode(service, where));
}

function exportedToPeer({ request, mesh, traits }: EndpointRequest): StandInResponse {
  if (!traits.hasPeering) return NO_ENDPOINT;
  const names = mesh.exports?.[request.query.get('peer') ?? ''] ?? [];
  return ok(names.map((name) => ({ Name: name, InstanceCount: 0 })));
}

function exportedServices({ mesh: { exports = {} }, traits }: EndpointRequest): StandInResponse {
  if (!traits.hasExportedServices) return NO_ENDPOINT;
  const names = [...new Set(Object.values(exports).flat())];
  const peersOf = (name: string): readonly string[] =>
    Object.keys(exports).filter((peer) => exports[peer]?.includes(name));
  return ok(names.map((name) => ({ Service: name, Consumers: { Peers: peersOf(name) } })));
}

function peerings({ mesh, traits }: EndpointRequest): StandInResponse {
  if (!traits.hasPeering) return NO_ENDPOINT;
  const list = (mesh.peerings ?? []).map((one) => peeringObject(one, traits));
  return { ...ok(list), unheld: !traits.holdsPeerings };
}

function peering({ mesh, traits, name }: EndpointRequest): StandInResponse {
  if (!traits.hasPeering) return NO_ENDPOINT;
  const found = mesh.peerings?.find(({ Name }) => Name === name);
  if (found === undefined)
    return { status: 404, body: `Peering not found for ${JSON.stringify(name)}\n`, unheld: true };
  return { ...ok(peeringObject(found, traits)), unheld: !traits.holdsPeerings };
}

function peeringObject(given: ConsulObject, { showsPeerRoots }: VersionTraits): ConsulObject {
  const { PeerCAPems: roots, ...rest } = given;
  const shown = roots === undefined || !showsPeerRoots ? {} : { PeerCAPems: roots };
  return { State: 'ACTIVE', StreamStatus: {}, CreateIndex: 1, ModifyIndex: 1, ...rest, ...shown };
}

function intentions({ request, mesh, traits }: EndpointRequest): StandInResponse {
  const name = request.query.get('name') ?? '';
  const found = (mesh.intentions ?? []).filter(({ DestinationName: to }) => to === name || to === '*');
  return { ...ok({ [name]: found }), unheld: !traits.holdsIntentions };
}

/** Decides as Consul does: by the local intentions alone, whatever cluster issued the certificate. */
function authorization({ request, mesh }: EndpointRequest): StandInResponse {
  const { Target: target, ClientCertURI: uri } = request.body as {
    readonly Target: string;
    readonly ClientCertURI: string;
  };
  const source = /\/svc\/([^/]+)$/.exec(uri)?.[1] ?? '';
  const covers = (pattern: unknown, name: string): boolean => pattern === '*' || pattern === name;
  const local = (mesh.intentions ?? []).filter(({ SourcePeer: peer = '' }) => peer === '');
  const matching = local.filter((one) => covers(one['SourceName'], source) && covers(one['DestinationName'], target));
  const exactness = (one: ConsulObject): number =>
    (one['DestinationName'] === '*' ? 0 : 2) + (one['SourceName'] === '*' ? 0 : 1);
  const [first] = matching.toSorted((one, other) => exactness(other) - exactness(one));
  if (first === undefined)
    return unheld({ Authorized: mesh.intentionDefault !== 'deny', Reason: 'Default behavior configured by ACLs' });
  const action = first['Action'] === 'allow' ? 'ALLOW' : 'DENY';
  const layer = first['Permissions'] === undefined ? 'L4' : 'L7';
  const text = `default/${String(first['SourceName'])} => default/${String(first['DestinationName'])}`;
  return unheld({ Authorized: action === 'ALLOW', Reason: `Matched ${layer} intention: ${text} (Action: ${action})` });
}

function unheld(body: unknown): StandInResponse {
  return { ...ok(body), unheld: true };
}

const NEW_KINDS: ReadonlySet<string> = new Set(['mesh', 'exported-services']);

function entriesOfKind({ mesh, traits, name: kind }: EndpointRequest): StandInResponse {
  if (NEW_KINDS.has(kind) && !traits.hasMeshEntries)
    return { status: 500, body: `invalid config entry kind: ${kind}`, unheld: true };
  return ok((mesh.entries ?? []).filter(({ Kind }) => Kind === kind));
}

function entry({ request, mesh, traits, name }: EndpointRequest): StandInResponse {
  const kind = request.path.split('/')[1] ?? '';
  const all = entriesOfKind({ request, mesh, traits, name: kind });
  if (!Array.isArray(all.body)) return all;
  const found = (all.body as readonly ConsulObject[]).find((one) => (one['Name'] ?? kind) === name);
  if (found !== undefined) return ok(found);
  return { status: 404, body: `Config entry not found for ${JSON.stringify(kind)} / ${JSON.stringify(name)}` };
}

/** Returns a chain with one target. Failover, splitters and routers must be given complete, as `chains`. */
function chainOf(service: string, mesh: StandInMesh, { hasPartitions }: VersionTraits): ConsulObject {
  const given = mesh.chains?.[service];
  if (given !== undefined) return given;
  const { datacenter = DATACENTER, trustDomain = TRUST_DOMAIN, entries = [] } = mesh;
  const byName = (kind: string, name: string): ConsulObject | undefined =>
    entries.find((one) => one['Kind'] === kind && one['Name'] === name);
  const redirect = byName('service-resolver', service)?.['Redirect'] as
    { readonly Service?: string; readonly ServiceSubset?: string } | undefined;
  const target = redirect?.Service ?? service;
  const resolver = byName('service-resolver', target) as { readonly DefaultSubset?: string } | undefined;
  const subset = redirect?.ServiceSubset ?? resolver?.DefaultSubset ?? '';
  const defaults = byName('proxy-defaults', 'global')?.['Config'] as ConsulObject | undefined;
  const protocol = byName('service-defaults', service)?.['Protocol'] ?? defaults?.['protocol'] ?? 'tcp';
  const label = subset === '' ? target : `${subset}.${target}`;
  const id = `${label}.default.${hasPartitions ? 'default.' : ''}${datacenter}`;
  const sni = `${label}.default.${datacenter}.internal.${trustDomain}`;
  const partition = hasPartitions ? { Partition: 'default' } : {};
  const location = {
    Service: target,
    ServiceSubset: subset,
    Namespace: 'default',
    ...partition,
    Datacenter: datacenter,
  };
  const node = { Type: 'resolver', Name: id, Resolver: { ConnectTimeout: '5s', Target: id } };
  return {
    ServiceName: service,
    Namespace: 'default',
    Datacenter: datacenter,
    Protocol: protocol,
    StartNode: `resolver:${id}`,
    Nodes: { [`resolver:${id}`]: node },
    Targets: { [id]: { ID: id, ...location, MeshGateway: {}, Subset: {}, SNI: sni, Name: sni } },
  };
}
