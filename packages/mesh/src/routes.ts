import type { Problem, Route } from '@meshgate/core';
import { atOnce, defined } from '@meshgate/core/parts';
import { backendsOf, balanceOf } from './backends.ts';
import type { Catalog, CatalogService, GatewayGroup, Instance } from './catalog.ts';
import { joined, NOTHING, routeTableOf } from './derived-routes.ts';
import type { DerivedRoutes, RoutingGateway, MeshRouteKind } from './derived-routes.ts';
import { datacenterLabel, newestOfEach } from './gateway-groups.ts';
import { compare } from './order.ts';
import { peeringParts } from './peering-routes.ts';
import { anyNameBelow, datacenterServerName, serverName, serversName, serviceServerName } from './server-names.ts';
import { groupOf } from './service-group.ts';
import type { ServiceGroup } from './service-group.ts';

/**
 * Derives the route table of a mesh gateway: what Consul would send to Envoy for the same gateway, except for the
 * differences in `docs/consul.md`. Equal catalogs give equal results: routes by name within each kind, backends by
 * address.
 */
export function deriveRoutes(catalog: Catalog, gateway: RoutingGateway): DerivedRoutes {
  return atOnce(derivation((service) => serviceRoutes(service, catalog, gateway), catalog, gateway));
}

/**
 * Creates a {@link deriveRoutes} with a cache: it skips services whose object is the same as in the previous call, so
 * one change among thousands of services is cheap. The results are the same.
 */
export function routeDeriver(): typeof deriveRoutes {
  const steps = steppedRouteDeriver();
  return (catalog, gateway) => atOnce(steps(catalog, gateway));
}

/**
 * Creates a {@link routeDeriver} that works in steps, so that the caller can yield in between: thousands of services
 * take 100 ms.
 */
export function steppedRouteDeriver(): (catalog: Catalog, gateway: RoutingGateway) => Generator<void, DerivedRoutes> {
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
    return derivation(remembered, catalog, gateway);
  };
}

function* derivation(
  routesOf: (service: CatalogService) => DerivedRoutes,
  catalog: Catalog,
  gateway: RoutingGateway,
): Generator<void, DerivedRoutes> {
  const parts: DerivedRoutes[] = [];
  for (const service of catalog.services.toSorted(byName)) {
    parts.push(routesOf(service));
    yield;
  }
  for (const group of newestOfEach(remoteGroups(catalog))) parts.push(datacenterRoutes(group, catalog, gateway));
  if (gateway.wanFederation) parts.push(serverRoutes(catalog, gateway));
  for (const part of peeringParts(catalog, gateway)) {
    parts.push(part);
    yield;
  }
  return yield* routeTableOf(parts);
}

/**
 * Derives the route of a service's own name and one of each subset. A service without a Connect instance gets none, as
 * in Consul. A subset that selects no instance, or whose filter is rejected, keeps its route without a backend, so that
 * `explain` can report the reason.
 */
function serviceRoutes(service: CatalogService, catalog: Catalog, gateway: RoutingGateway): DerivedRoutes {
  if (service.instances.length === 0) return NOTHING;
  const subsets = Object.keys(service.resolver?.subsets ?? {});
  const parts = [undefined, ...subsets].map((subset) => serviceRoute(service, subset, catalog, gateway));
  return joined(parts);
}

function serviceRoute(
  service: CatalogService,
  subset: string | undefined,
  catalog: Catalog,
  gateway: RoutingGateway,
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

function originOf(
  service: CatalogService,
  subset: string | undefined,
  { rule, refused, onlyPassing }: ServiceGroup,
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

function remoteGroups({ gateways, datacenter, partition }: Catalog): readonly GatewayGroup[] {
  return gateways.filter(
    (group) => group.datacenter !== datacenter || (group.partition ?? 'default') !== (partition ?? 'default'),
  );
}

/** Routes all names below a datacenter's name to its gateways, which know whether the service exists there. */
function datacenterRoutes(group: GatewayGroup, catalog: Catalog, gateway: RoutingGateway): DerivedRoutes {
  const { datacenter, partition } = group;
  const name = datacenterLabel(group);
  const backends = backendsOf(group.gateways, 'wan', false, ['mesh-gateways', name]);
  const settings = defined({ connectTimeoutMs: gateway.connectTimeoutMs, keepAlive: gateway.remoteKeepAlive });
  const route = (kind: MeshRouteKind, label: string, rule: string, suffix: string): Route => ({
    name: `${label}:${name}`,
    kind,
    serverNames: [anyNameBelow(suffix), suffix],
    backends: backends.list,
    withoutBackend: 'NO_GATEWAY',
    ...settings,
    origin: { rule, datacenter, ...defined({ partition }), ...backends.facts },
  });
  const { trustDomain, dnsDomain } = catalog;
  const services = datacenterServerName({ datacenter, trustDomain, ...defined({ partition }) });
  const routes = [route('remote-datacenter', 'datacenter', 'mesh gateways of a remote datacenter', services)];
  if (gateway.wanFederation && (partition ?? 'default') === 'default') {
    const servers = serversName({ datacenter, dnsDomain });
    const rule = 'WAN federation: servers of a remote datacenter';
    routes.push({ ...route('remote-servers', 'servers', rule, servers), ...GOSSIP });
  }
  const none = backends.list.length === 0 ? noGateway(group) : [];
  return { routes, problems: [...none, ...backends.problems] };
}

/** Servers exchange their states and close at once, so the last TLS records often arrive at a closed socket. */
const GOSSIP = { resetsEndWell: true } as const;

/**
 * Reports a datacenter without a gateway. Its route remains: a connection then fails with a code for exactly this, not
 * as if the datacenter were unknown.
 */
function noGateway(group: GatewayGroup): readonly Problem[] {
  const { problem, gateways } = group;
  const found = gateways.length > 0 ? 'has no mesh gateway with an address that can be dialled' : 'has no mesh gateway';
  const message = problem === undefined ? found : `mesh gateways unknown: ${problem}`;
  return [{ path: ['mesh-gateways', datacenterLabel(group)], message }];
}

/**
 * Routes each server of the local datacenter by its own name, and all of them by the shared name, which a joining
 * server uses first. Ignores health, as Consul does: a failed dial reveals an unreachable server.
 */
function serverRoutes(catalog: Catalog, gateway: RoutingGateway): DerivedRoutes {
  const { datacenter, dnsDomain, servers } = catalog;
  const target = { datacenter, dnsDomain };
  const route = (kind: MeshRouteKind, label: string, sni: string, instances: readonly Instance[]): DerivedRoutes => {
    const unchecked = instances.map((instance) => ({ ...instance, checks: [], weights: { passing: 1, warning: 1 } }));
    const backends = backendsOf(unchecked, 'lan', false, ['service', 'consul']);
    const origin = { rule: 'WAN federation: servers of this datacenter', datacenter, ...backends.facts };
    const settings = defined({ connectTimeoutMs: gateway.connectTimeoutMs });
    const routes = [{ name: label, kind, serverNames: [sni], backends: backends.list, ...settings, ...GOSSIP, origin }];
    return { routes, problems: backends.problems };
  };
  if (servers.length === 0) return NOTHING;
  const each = servers.map((one) => route('local-server', `server:${one.node}`, serverName(one.node, target), [one]));
  const all = route('local-servers', `servers:${datacenter}`, serversName(target), servers);
  return { routes: joined([all, ...each]).routes, problems: all.problems };
}

/** Orders routes with equal labels, because the sort by label is stable. */
function byName(a: CatalogService, b: CatalogService): number {
  return compare(a.name, b.name) || compare(a.namespace ?? '', b.namespace ?? '');
}

function labelOf({ name, namespace }: CatalogService, subset: string | undefined): string {
  const label = subset === undefined ? name : `${subset}.${name}`;
  return namespace === undefined || namespace === 'default' ? label : `${namespace}/${label}`;
}
