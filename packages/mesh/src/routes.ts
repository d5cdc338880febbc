import type { Balance, KeepAlive, Problem, Route } from '@meshgate/core';
import { backendsOf } from './backends.ts';
import type { Catalog, CatalogService, GatewayGroup, Instance, Resolver, Selection } from './catalog.ts';
import { defined } from './defined.ts';
import { datacenterLabel, newestOfEach } from './gateway-groups.ts';
import { compare } from './order.ts';
import { anyNameBelow, datacenterServerName, serverName, serversName, serviceServerName } from './server-names.ts';

/** The gateway that routes are derived for. Its datacenter and partition are the catalog's. */
export interface Gateway {
  /** Carries the traffic of Consul's own servers too (registration meta `consul-wan-federation` = `1`). */
  readonly wanFederation: boolean;
  /** For routes whose service has no timeout of its own, in milliseconds. The proxy's own limit when absent. */
  readonly connectTimeoutMs?: number;
  /** Towards the gateways of other datacenters. The proxy's own setting when absent. */
  readonly remoteKeepAlive?: KeepAlive;
}

/** Values of `Route.kind`. */
export type MeshRouteKind =
  'local-service' | 'local-subset' | 'remote-datacenter' | 'remote-servers' | 'local-servers' | 'local-server';

/** Routes, and what stands in the catalog that could not be made into one. */
export interface DerivedRoutes {
  readonly routes: readonly Route[];
  /** The path of each begins with the kind and name of the Consul object. */
  readonly problems: readonly Problem[];
}

/**
 * The route table of a mesh gateway: what Consul would tell Envoy for the same gateway, with the differences that
 * `docs/consul.md` lists. Equal catalogs give equal results: routes by name within each kind, backends by address.
 */
export function deriveRoutes(catalog: Catalog, gateway: Gateway): DerivedRoutes {
  return derivedBy((service) => serviceRoutes(service, catalog, gateway), catalog, gateway);
}

/**
 * {@link deriveRoutes} with a memory: a service that is the same object as in the call before is not derived again, so that one
 * change among thousands of services costs little. The results are the same.
 */
export function routeDeriver(): typeof deriveRoutes {
  let setting = '';
  let known = new WeakMap<CatalogService, DerivedRoutes>();
  return (catalog, gateway) => {
    const { datacenter, partition, trustDomain } = catalog;
    const present = JSON.stringify([datacenter, partition, trustDomain, gateway]);
    if (present !== setting) known = new WeakMap();
    setting = present;
    const remembered = (service: CatalogService): DerivedRoutes => {
      const derived = known.get(service) ?? serviceRoutes(service, catalog, gateway);
      known.set(service, derived);
      return derived;
    };
    return derivedBy(remembered, catalog, gateway);
  };
}

function derivedBy(
  routesOf: (service: CatalogService) => DerivedRoutes,
  catalog: Catalog,
  gateway: Gateway,
): DerivedRoutes {
  const parts = [
    ...catalog.services.toSorted(byName).map(routesOf),
    ...newestOfEach(remoteGroups(catalog)).map((group) => datacenterRoutes(group, catalog, gateway)),
    ...(gateway.wanFederation ? [serverRoutes(catalog, gateway)] : []),
  ];
  const { routes, problems } = joined(parts);
  return withoutClashes(routes.toSorted(byKindAndName), problems);
}

/**
 * The route of a service's unnamed name and of each subset. None while it has no instance that speaks Connect, as in Consul; a
 * subset that selects nothing, or whose filter is refused, keeps its name with no backend behind it, so that `explain` can say why.
 */
function serviceRoutes(service: CatalogService, catalog: Catalog, gateway: Gateway): DerivedRoutes {
  if (service.instances.length === 0) return NOTHING;
  const subsets = Object.keys(service.resolver?.subsets ?? {});
  const parts = [undefined, ...subsets].map((subset) => serviceRoute(service, subset, catalog, gateway));
  return joined(parts);
}

function serviceRoute(
  service: CatalogService,
  subset: string | undefined,
  catalog: Catalog,
  gateway: Gateway,
): DerivedRoutes {
  const { resolver, namespace } = service;
  const group = groupOf(service, subset);
  const backends = backendsOf(group.instances, 'lan', group.onlyPassing, ['service', service.name]);
  const { datacenter, partition, trustDomain } = catalog;
  const target = { service: service.name, datacenter, trustDomain };
  const route: Route = {
    name: `${subset === undefined ? 'service' : 'subset'}:${labelOf(service, subset)}`,
    kind: subset === undefined ? 'local-service' : 'local-subset',
    serverNames: [serviceServerName({ ...target, ...defined({ subset, namespace, partition }) })],
    backends: backends.list,
    ...defined({ connectTimeoutMs: resolver?.connectTimeoutMs ?? gateway.connectTimeoutMs }),
    ...defined({ balance: balanceOf(resolver) }),
    origin: { ...originOf(service, subset, group, datacenter), ...backends.facts },
  };
  return { routes: [route], problems: [...group.problems, ...backends.problems] };
}

/** The instances that stand for one name of a service. */
interface Group {
  readonly instances: readonly Instance[];
  readonly onlyPassing: boolean;
  readonly rule: string;
  /** Why nobody could be selected; absent otherwise. */
  readonly refused?: string;
  readonly problems: readonly Problem[];
}

function groupOf(service: CatalogService, subset: string | undefined): Group {
  const name = subset ?? service.resolver?.defaultSubset;
  if (name === undefined || name === '') return wholeService(service);
  const definition = service.resolver?.subsets[name];
  if (definition === undefined) return withoutDefaultSubset(service, name);
  const rule = `${subset === undefined ? 'default subset' : 'subset'} ${name}: ${definition.filter || 'no filter'}`;
  const group = { ...selected(service.selections[name]), onlyPassing: definition.onlyPassing, rule };
  if (group.refused === undefined || subset === undefined) return { ...group, problems: [] };
  const path = ['service-resolver', service.name, 'Subsets', name, 'Filter'];
  return { ...group, problems: [{ path, message: `Consul refuses this filter: ${group.refused}` }] };
}

function wholeService({ instances }: CatalogService): Group {
  return { instances, onlyPassing: false, rule: 'all Connect instances', problems: [] };
}

/** Consul checks this when the entry is written; a mesh file may still get it wrong. */
function withoutDefaultSubset(service: CatalogService, name: string): Group {
  const path = ['service-resolver', service.name, 'DefaultSubset'];
  const known = Object.keys(service.resolver?.subsets ?? {}).join(', ') || 'none';
  const message = `expected one of the subsets (${known}), found ${name}`;
  return {
    instances: [],
    onlyPassing: false,
    rule: `default subset ${name}: not defined`,
    problems: [{ path, message }],
  };
}

function selected(selection: Selection | undefined): {
  readonly instances: readonly Instance[];
  readonly refused?: string;
} {
  if (selection === undefined) return { instances: [], refused: 'no answer yet' };
  if (selection.kind === 'refused') return { instances: [], refused: selection.reason };
  return { instances: selection.instances };
}

function originOf(
  service: CatalogService,
  subset: string | undefined,
  { rule, refused, onlyPassing }: Group,
  datacenter: string,
): Readonly<Record<string, string>> {
  return {
    rule,
    ...defined({ refused }),
    service: service.name,
    ...defined({ subset }),
    namespace: service.namespace ?? 'default',
    datacenter,
    ...(onlyPassing ? { onlyPassing: 'true' } : {}),
  };
}

/** Hash policies need a request to hash, which a gateway never sees: Consul leaves them out here, and so do we. */
function balanceOf(resolver: Resolver | undefined): Balance | undefined {
  switch (resolver?.loadBalancer) {
    case 'least_request':
      return 'least_connections';
    case 'round_robin':
    case 'random':
      return resolver.loadBalancer;
    default:
      return undefined;
  }
}

function remoteGroups({ gateways, datacenter, partition }: Catalog): readonly GatewayGroup[] {
  return gateways.filter(
    (group) => group.datacenter !== datacenter || (group.partition ?? 'default') !== (partition ?? 'default'),
  );
}

/** Everything below a datacenter's name goes to its gateways; whether the service exists there is for them to say. */
function datacenterRoutes(group: GatewayGroup, catalog: Catalog, gateway: Gateway): DerivedRoutes {
  const { datacenter, partition } = group;
  const name = datacenterLabel(group);
  const backends = backendsOf(group.gateways, 'wan', false, ['mesh-gateways', name]);
  const settings = defined({ connectTimeoutMs: gateway.connectTimeoutMs, keepAlive: gateway.remoteKeepAlive });
  const route = (kind: MeshRouteKind, label: string, rule: string, suffix: string): Route => ({
    name: `${label}:${name}`,
    kind,
    serverNames: [anyNameBelow(suffix), suffix],
    backends: backends.list,
    ...settings,
    origin: { rule, datacenter, ...defined({ partition }), ...backends.facts },
  });
  const { trustDomain, dnsDomain } = catalog;
  const services = datacenterServerName({ datacenter, trustDomain, ...defined({ partition }) });
  const routes = [route('remote-datacenter', 'datacenter', 'mesh gateways of a remote datacenter', services)];
  if (gateway.wanFederation && (partition ?? 'default') === 'default') {
    const servers = serversName({ datacenter, dnsDomain });
    routes.push(route('remote-servers', 'servers', 'WAN federation: servers of a remote datacenter', servers));
  }
  return { routes, problems: backends.problems };
}

/**
 * Each server of the local datacenter by its name, and all of them under the bare name, which a server that joins for the first
 * time asks for. Their health is left aside, as in Consul: servers that cannot be reached are found out by dialling.
 */
function serverRoutes(catalog: Catalog, gateway: Gateway): DerivedRoutes {
  const { datacenter, dnsDomain, servers } = catalog;
  const target = { datacenter, dnsDomain };
  const route = (kind: MeshRouteKind, label: string, sni: string, instances: readonly Instance[]): DerivedRoutes => {
    const unchecked = instances.map((instance) => ({ ...instance, checks: [], weights: { passing: 1, warning: 1 } }));
    const backends = backendsOf(unchecked, 'lan', false, ['service', 'consul']);
    const origin = { rule: 'WAN federation: servers of this datacenter', datacenter, ...backends.facts };
    const settings = defined({ connectTimeoutMs: gateway.connectTimeoutMs });
    const routes = [{ name: label, kind, serverNames: [sni], backends: backends.list, ...settings, origin }];
    return { routes, problems: backends.problems };
  };
  if (servers.length === 0) return NOTHING;
  const each = servers.map((one) => route('local-server', `server:${one.node}`, serverName(one.node, target), [one]));
  const all = route('local-servers', `servers:${datacenter}`, serversName(target), servers);
  return { routes: joined([all, ...each]).routes, problems: all.problems };
}

const NOTHING: DerivedRoutes = { routes: [], problems: [] };

function joined(parts: readonly DerivedRoutes[]): DerivedRoutes {
  return { routes: parts.flatMap(({ routes }) => routes), problems: parts.flatMap(({ problems }) => problems) };
}

/**
 * Names are an operator's text: service `v1.db` and subset `v1` of `db` ask for the same server name, and so do `Db` and `db`.
 * The first by kind and name keeps it. The other is left out and reported, never merged: nobody asked for that.
 */
function withoutClashes(routes: readonly Route[], problems: readonly Problem[]): DerivedRoutes {
  const owners = new Map<string, Route>();
  const clashes: Problem[] = [];
  const kept = routes.filter((route) => {
    const keys = [route.name, ...route.serverNames];
    const owner = keys.map((key) => owners.get(key)).find((found) => found !== undefined);
    if (owner === undefined) for (const key of keys) owners.set(key, route);
    else clashes.push({ path: ['route', route.name], message: `has the same name as ${owner.name}: not routed` });
    return owner === undefined;
  });
  return { routes: kept, problems: [...problems, ...clashes] };
}

const KIND_ORDER: readonly string[] = [
  'local-service',
  'local-subset',
  'remote-datacenter',
  'remote-servers',
  'local-servers',
  'local-server',
] satisfies readonly MeshRouteKind[];

function byKindAndName(a: Route, b: Route): number {
  const byKind = KIND_ORDER.indexOf(a.kind ?? '') - KIND_ORDER.indexOf(b.kind ?? '');
  return byKind || compare(a.name, b.name);
}

/** Decides between routes whose labels are alike: the sort by label keeps this order. */
function byName(a: CatalogService, b: CatalogService): number {
  return compare(a.name, b.name) || compare(a.namespace ?? '', b.namespace ?? '');
}

function labelOf({ name, namespace }: CatalogService, subset: string | undefined): string {
  const label = subset === undefined ? name : `${subset}.${name}`;
  return namespace === undefined || namespace === 'default' ? label : `${namespace}/${label}`;
}
