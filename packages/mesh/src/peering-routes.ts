import { parseEndpoint } from '@meshgate/core';
import type { Backend, Balance, Endpoint, Problem, Route } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { backendsOf, balanceOf } from './backends.ts';
import type {
  Catalog,
  CatalogService,
  ExportedService,
  ExportTarget,
  ImportedService,
  Instance,
  ClusterPeer,
  PeeringCatalog,
} from './catalog.ts';
import { joined, NOTHING } from './derived-routes.ts';
import type { DerivedRoutes, RoutingGateway, HttpExports, MeshRouteKind } from './derived-routes.ts';
import { compare } from './order.ts';
import { peeredServiceServerName, peeringServersName } from './server-names.ts';
import { groupOf } from './service-group.ts';

/**
 * Derives the routes of cluster peering: exports, imports, and the control-plane connections of servers when they use
 * the gateways. The rules are those of Consul 1.16.4, except for the differences in `docs/peering.md`. No routes
 * without `catalog.peering`.
 */
export function derivePeeringRoutes(catalog: Catalog, gateway: RoutingGateway): DerivedRoutes {
  return joined([...peeringParts(catalog, gateway)]);
}

/** Like {@link derivePeeringRoutes}, one service at a time. */
export function* peeringParts(catalog: Catalog, gateway: RoutingGateway): Generator<DerivedRoutes, void> {
  const { peering } = catalog;
  if (peering === undefined) return;
  const scope: PeeringScope = {
    catalog,
    gateway,
    peering,
    peers: livePeers(peering),
    services: new Map(catalog.services.map((service) => [keyOf(service), service])),
  };
  yield stateProblems(scope);
  for (const service of peering.exports) yield exportRoutes(service, scope);
  for (const service of peering.imports) yield* importRoutes(service, scope);
  if (!peering.throughGateways) return;
  yield localServers(scope);
  yield remoteServers(scope);
}

interface PeeringScope {
  readonly catalog: Catalog;
  readonly gateway: RoutingGateway;
  readonly peering: PeeringCatalog;
  /** By name in lower case: peers created before Consul 1.14.4 may have capitals. */
  readonly peers: ReadonlyMap<string, ClusterPeer>;
  /** By {@link keyOf}. */
  readonly services: ReadonlyMap<string, CatalogService>;
}

/**
 * Drops peerings that are being deleted: all their names disappear at once, although Consul may still replicate their
 * data.
 */
function livePeers({ peers }: PeeringCatalog): ReadonlyMap<string, ClusterPeer> {
  const live = peers.filter(({ isDeleted }) => !isDeleted);
  return new Map(live.map((peer) => [peer.name.toLowerCase(), peer]));
}

/** Reports the state of unhealthy peerings, since their routes remain. */
function stateProblems({ peers }: PeeringScope): DerivedRoutes {
  const problems = Array.from(peers.values(), ({ name, state }): Problem | undefined => {
    const message = STATE_PROBLEMS.get(state);
    return message === undefined ? undefined : { path: ['peering', name], message };
  });
  return { routes: [], problems: problems.filter((problem) => problem !== undefined) };
}

const STATE_PROBLEMS: ReadonlyMap<string, string> = new Map([
  ['FAILING', 'the peering is FAILING, keeping the routes replicated last'],
  ['TERMINATED', 'the other cluster ended the peering (TERMINATED): delete it here or establish it again'],
]);

function exportRoutes(service: ExportedService, scope: PeeringScope): DerivedRoutes {
  const exported = scope.services.get(keyOf(service));
  // As in Consul: Connect exports need a Connect instance, and Consul's own servers are never exported.
  if (service.name === 'consul' || exported === undefined || exported.instances.length === 0) return NOTHING;
  const importers = [...new Set(service.peers)].flatMap((name) => scope.peers.get(name.toLowerCase()) ?? []);
  if (importers.length === 0) return NOTHING;
  const group = exportGroup(service, scope);
  const routes = importers.map((peer) => exportRoute(service, peer, group, scope));
  return { routes, problems: group.problems };
}

function exportRoute(service: ExportedService, peer: ClusterPeer, group: ExportGroup, scope: PeeringScope): Route {
  const { datacenter, partition, trustDomain } = scope.catalog;
  const { name, namespace, chain } = service;
  const label = namespace === undefined || namespace === 'default' ? name : `${namespace}/${name}`;
  return {
    name: `exported:${peer.name}/${label}`,
    kind: 'exported-service' satisfies MeshRouteKind,
    serverNames: [
      peeredServiceServerName({ service: name, peer: peer.name, trustDomain, ...defined({ namespace, partition }) }),
    ],
    backends: group.backends,
    ...defined({ connectTimeoutMs: group.connectTimeoutMs ?? scope.gateway.connectTimeoutMs }),
    ...defined({ balance: group.balance }),
    origin: {
      rule: `exported to peer ${peer.name}`,
      ...group.facts,
      service: name,
      namespace: namespace ?? 'default',
      datacenter,
      peer: peer.name,
      peering: peer.state,
      ...defined({ protocol: chain?.protocol }),
    },
  };
}

/** The backends of an exported service, the same for all peers. */
interface ExportGroup {
  readonly backends: readonly Backend[];
  readonly connectTimeoutMs?: number;
  readonly balance?: Balance;
  readonly facts: Readonly<Record<string, string>>;
  readonly problems: readonly Problem[];
}

/** An export that is refused keeps its route, without a backend, so that `explain` can report the reason. */
function exportGroup(service: ExportedService, scope: PeeringScope): ExportGroup {
  const refused = exportRefusal(service, scope);
  if (refused.kind === 'refused') {
    const problems = refused.isProblem ? [{ path: exportPath(service), message: refused.reason }] : [];
    return { backends: [], facts: { refused: refused.reason }, problems };
  }
  const { target, warning } = refused;
  const problems = warning === undefined ? [] : [{ path: exportPath(service), message: warning }];
  const first = exportBackends(target, scope);
  const resolver = first?.service.resolver;
  const backups = scope.gateway.exportFailover === true ? failoverGroups(service, scope) : [];
  const priorities = backups.flatMap(({ list }, index) => list.map((one) => ({ ...one, priority: index + 1 })));
  return {
    backends: [...(first?.backends.list ?? []), ...priorities],
    ...defined({ connectTimeoutMs: resolver?.connectTimeoutMs, balance: balanceOf(resolver) }),
    facts: {
      ...defined({ refused: first?.group.refused, warning, subset: target.subset }),
      ...(target.service === service.name ? {} : { target: target.service }),
      instances: first?.group.rule ?? 'all Connect instances',
      ...first?.backends.facts,
      ...(backups.length === 0 ? {} : { failover: backups.map(({ label }) => label).join(', ') }),
    },
    problems,
  };
}

/** Returns `undefined` while the target has no Connect instance. */
function exportBackends(target: ExportTarget, { services }: PeeringScope) {
  const service = services.get(keyOf({ ...target, name: target.service }));
  if (service === undefined) return undefined;
  const group = groupOf(service, target.subset);
  return { service, group, backends: backendsOf(group.instances, 'lan', group.onlyPassing, ['service', service.name]) };
}

/**
 * Returns local failover targets only: gateways elsewhere do not route the name, and Consul's gateway never dialled
 * them.
 */
function failoverGroups({ chain }: ExportedService, scope: PeeringScope) {
  const local = (chain?.failover ?? []).filter((target) => isLocal(target, scope.catalog));
  return local.map((target) => ({
    label: target.subset === undefined ? target.service : `${target.subset}.${target.service}`,
    list: exportBackends(target, scope)?.backends.list ?? [],
  }));
}

type ExportVerdict =
  | { readonly kind: 'refused'; readonly reason: string; readonly isProblem: boolean }
  | { readonly kind: 'passed'; readonly target: ExportTarget; readonly warning?: string };

function exportRefusal({ name, chain }: ExportedService, { catalog, gateway }: PeeringScope): ExportVerdict {
  if (chain === undefined) return { kind: 'refused', reason: 'its discovery chain is unknown yet', isProblem: false };
  const { protocol, target } = chain;
  const advice = HTTP_LIKE.has(protocol) ? httpAdvice(name, protocol, gateway.httpExports) : undefined;
  if (advice !== undefined && gateway.httpExports !== 'passthrough')
    return { kind: 'refused', reason: advice, isProblem: true };
  if (target === undefined) {
    const reason = 'a router or splitter chooses per request, which requires a gateway that decrypts';
    return { kind: 'refused', reason, isProblem: true };
  }
  if (!isLocal(target, catalog)) {
    const location = target.peer === undefined ? `datacenter ${target.datacenter}` : `peer ${target.peer}`;
    const reason = `its discovery chain leads to ${target.service} in ${location}: an exported service must be local (as in Consul)`;
    return { kind: 'refused', reason, isProblem: true };
  }
  return { kind: 'passed', target, ...defined({ warning: advice }) };
}

function httpAdvice(name: string, protocol: string, mode: HttpExports = 'refuse'): string {
  const danger = `exported with protocol ${protocol}, which is forwarded without decrypting: a deny intention for callers of the peer has no effect at an Envoy destination`;
  const remedy = `set Protocol = "tcp" in service-defaults/${name}`;
  return mode === 'passthrough'
    ? `${danger}; ${remedy}`
    : `not routed, ${danger}; ${remedy}, or httpExports: passthrough`;
}

const HTTP_LIKE: ReadonlySet<string> = new Set(['http', 'http2', 'grpc']);

function exportPath({ name }: ExportedService): readonly string[] {
  return ['exported-services', name];
}

function isLocal({ datacenter, partition, peer }: ExportTarget, own: Catalog): boolean {
  const isHere = datacenter === own.datacenter && (partition || 'default') === (own.partition ?? 'default');
  return isHere && (peer ?? '') === '';
}

function keyOf({ name, namespace }: Pick<CatalogService, 'name' | 'namespace'>): string {
  return `${namespace || 'default'}/${name}`;
}

/**
 * Uses the WAN addresses of all gateways, host names and IPs alike; Consul drops the IPs when any gateway has a host
 * name.
 */
function importRoutes(service: ImportedService, { peers, gateway, catalog }: PeeringScope): readonly DerivedRoutes[] {
  const peer = peers.get(service.peer.toLowerCase());
  if (peer === undefined) return [];
  if (service.proxiesOnly === true) return [proxiesOnlyProblem(service)];
  const named = [...byServerName(service.instances)].toSorted(([a], [b]) => compare(a, b));
  return named.map(([serverName, instances], index) => {
    if (!isForeign(serverName, catalog)) return foreignNameProblem(service, serverName);
    const backends = backendsOf(instances, 'wan', false, ['service', `${service.name} of peer ${peer.name}`]);
    const route: Route = {
      // A peer that changes its trust domain has two server names for a while.
      name: `imported:${peer.name}/${service.name}${index === 0 ? '' : `#${index + 1}`}`,
      kind: 'imported-service' satisfies MeshRouteKind,
      serverNames: [serverName],
      backends: backends.list,
      withoutBackend: 'NO_GATEWAY',
      ...defined({ connectTimeoutMs: gateway.connectTimeoutMs }),
      origin: {
        rule: `imported from peer ${peer.name}, through its mesh gateways`,
        service: service.name,
        peer: peer.name,
        peering: peer.state,
        ...defined({ protocol: instances[0]?.peerMeta?.protocol }),
        ...backends.facts,
      },
    };
    return { routes: [route], problems: backends.problems };
  });
}

/**
 * Rejects server names of this cluster: the peer chooses the name, and could otherwise hijack the traffic of a local
 * service.
 */
function isForeign(serverName: string, { trustDomain }: Catalog): boolean {
  return (
    serverName.includes('.external.') &&
    !serverName.includes('*') &&
    !serverName.endsWith(`.${trustDomain.toLowerCase()}`)
  );
}

/** Consul 1.16.4 lists a peer's services by their own instances, and queries proxies only for the services listed. */
function proxiesOnlyProblem({ name, peer }: ImportedService): DerivedRoutes {
  const message = `the peer sent proxies of ${name}, and no instance of ${name} itself: not routed (as in Consul)`;
  return { routes: [], problems: [{ path: ['imported', peer, name], message }] };
}

function foreignNameProblem({ name, peer }: ImportedService, serverName: string): DerivedRoutes {
  const message = `expected SERVICE.….external.TRUST-DOMAIN of the peer, found ${JSON.stringify(serverName)}: not routed`;
  return { routes: [], problems: [{ path: ['imported', peer, name], message }] };
}

/** Skips instances without a server name: services outside the mesh, which peers replicate for DNS. */
function byServerName(instances: readonly Instance[]): ReadonlyMap<string, readonly Instance[]> {
  const groups = new Map<string, Instance[]>();
  for (const instance of instances) {
    const serverName = instance.peerMeta?.serverNames[0]?.toLowerCase() ?? '';
    if (serverName !== '') groups.set(serverName, [...(groups.get(serverName) ?? []), instance]);
  }
  return groups;
}

/**
 * Returns the voting servers with their peering ports; read replicas take no part in peering. Ignores health, as Consul
 * does: a follower closes the connection, and the client retries with another server.
 */
export function peeringServers(servers: readonly Instance[]): readonly Instance[] {
  return votersOf(servers).flatMap(withPeeringPort);
}

function votersOf(servers: readonly Instance[]): readonly Instance[] {
  return servers.filter(({ meta }) => meta['read_replica'] !== 'true');
}

function localServers({ catalog, gateway }: PeeringScope): DerivedRoutes {
  const { datacenter, trustDomain, servers } = catalog;
  if (votersOf(servers).length === 0) return NOTHING;
  const dialled = peeringServers(servers);
  const backends = backendsOf(dialled, 'lan', false, ['service', 'consul']);
  const none = { path: ['service', 'consul'], message: 'no server has a port for peering: set ports.grpc_tls' };
  const route: Route = {
    name: `peering-servers:${datacenter}`,
    kind: 'peering-servers' satisfies MeshRouteKind,
    serverNames: [peeringServersName({ datacenter, trustDomain })],
    backends: backends.list,
    ...defined({ connectTimeoutMs: gateway.connectTimeoutMs }),
    origin: { rule: 'servers of this datacenter, for peering through mesh gateways', datacenter, ...backends.facts },
  };
  return { routes: [route], problems: [...(dialled.length === 0 ? [none] : []), ...backends.problems] };
}

function withPeeringPort(server: Instance): readonly Instance[] {
  const port = Number(/^\d{1,5}$/.exec(server.meta['grpc_tls_port'] ?? '')?.[0] ?? 0);
  return port === 0 ? [] : [{ ...server, port, checks: [], weights: { passing: 1, warning: 1 } }];
}

/**
 * The routes to servers of peers that this cluster dials. Of two peerings with the same server name, the newer one is
 * used, as in Consul.
 */
function remoteServers({ catalog, gateway, peers }: PeeringScope): DerivedRoutes {
  // Only servers of the default partition dial.
  if ((catalog.partition ?? 'default') !== 'default') return NOTHING;
  const dialled = [...peers.values()].filter((peer) => peer.serverAddresses.length > 0 && peer.serverName);
  const newest = new Map<string, ClusterPeer>();
  for (const peer of dialled.toSorted((a, b) => a.modifyIndex - b.modifyIndex))
    newest.set(peer.serverName?.toLowerCase() ?? '', peer);
  return joined(Array.from(newest, ([serverName, peer]) => remoteServersRoute(serverName, peer, gateway)));
}

function remoteServersRoute(
  serverName: string,
  peer: ClusterPeer,
  { connectTimeoutMs }: RoutingGateway,
): DerivedRoutes {
  const addresses = peer.serverAddresses.toSorted(compare);
  const parsed = addresses.map((text) => ({ text, endpoint: parseAddress(text) }));
  const backends = parsed.flatMap(({ endpoint }) =>
    endpoint === undefined ? [] : [{ address: endpoint, weight: 1, healthy: true }],
  );
  const problems = parsed.flatMap(({ text, endpoint }) =>
    endpoint === undefined
      ? [
          {
            path: ['peering', peer.name],
            message: `expected a server address HOST:PORT, found ${JSON.stringify(text)}`,
          },
        ]
      : [],
  );
  const origin = {
    rule: 'servers of a peer, for peering through mesh gateways',
    peer: peer.name,
    peering: peer.state,
    health: `${backends.length} of ${addresses.length} addresses used`,
  };
  const route: Route = {
    name: `remote-peering-servers:${peer.name}`,
    kind: 'remote-peering-servers' satisfies MeshRouteKind,
    serverNames: [serverName],
    backends,
    withoutBackend: 'NO_GATEWAY',
    ...defined({ connectTimeoutMs }),
    origin,
  };
  return { routes: [route], problems };
}

function parseAddress(text: string): Endpoint | undefined {
  const endpoint = parseEndpoint(text);
  return endpoint === undefined || endpoint.port === 0 ? undefined : endpoint;
}
