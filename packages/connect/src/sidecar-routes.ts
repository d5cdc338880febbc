import { formatEndpoint } from '@meshgate/core';
import type { ListenAddress, Route, RouteSnapshot } from '@meshgate/core';
import { dialOrder, serviceServerName } from '@meshgate/mesh';
import type { ProxyUpstream, ProxyView, UpstreamTarget } from '@meshgate/mesh';
import type { ExpectedServer } from './server-identity.ts';

/** Name of the listener, and of the route, on which a sidecar accepts connections of the mesh. */
export const PUBLIC = 'public';

/** To the application: what the mesh reaches. */
export interface PublicRoute extends Route {
  readonly kind: 'public';
  /** The service for which the proxy speaks: the destination that intentions are about. */
  readonly service: string;
}

/** To an upstream: what the application reaches. */
export interface UpstreamRoute extends Route {
  readonly kind: 'upstream';
  /** In the order in which they are tried. */
  readonly legs: readonly Leg[];
  /** Why it must not be dialled; there are no legs then. */
  readonly refusal?: string;
}

/** One target of an upstream, itself a route: of the same name, since names are metric labels. */
export interface Leg extends Route, ExpectedServer {
  /** Why it has no backend; absent when it has. */
  readonly nobody?: string;
}

/** Whether `route` leads to the application. */
export function isPublicRoute(route: Route): route is PublicRoute {
  return route.kind === 'public' && 'service' in route;
}

/** Whether `route` leads to an upstream. */
export function isUpstreamRoute(route: Route): route is UpstreamRoute {
  return route.kind === 'upstream' && 'legs' in route;
}

/** Everything that a sidecar accepts and dials. Pure. */
export function sidecarRoutes(view: ProxyView): RouteSnapshot {
  const upstreams = named(view).map(([name, upstream]) => upstreamRoute(name, upstream));
  const problems = view.upstreams.flatMap((upstream) => problemsOf(upstream));
  const warnings = [...(view.warnings ?? []), ...new Set(problems)];
  return {
    version: view.version,
    routes: [publicRoute(view), ...upstreams],
    ...(warnings.length === 0 ? {} : { warnings }),
  };
}

/** Where a sidecar accepts. Each listener has the name of its route. */
export function sidecarListeners(view: ProxyView): readonly ListenAddress[] {
  const upstreams = named(view).map(([name, { definition }]) => ({ name, endpoint: definition.bind }));
  return [{ name: PUBLIC, endpoint: view.proxy.listen }, ...upstreams];
}

/** `upstream:db`, with the datacenter where the definition names one, and with the address where that is not unique. */
function named({ upstreams }: ProxyView): readonly (readonly [name: string, upstream: ProxyUpstream])[] {
  const names = upstreams.map(({ definition: { kind, name, datacenter, peer } }) => {
    const where = peer === undefined ? datacenter : `${peer}.peer`;
    return `${kind === 'service' ? 'upstream' : 'query'}:${name}${where === undefined ? '' : `@${where}`}`;
  });
  return upstreams.map((upstream, index) => {
    const name = names[index] ?? PUBLIC;
    const isUnique = names.indexOf(name) === names.lastIndexOf(name);
    return [isUnique ? name : `${name} ${formatEndpoint(upstream.definition.bind)}`, upstream] as const;
  });
}

function publicRoute({ proxy, datacenter, trustDomain }: ProxyView): PublicRoute {
  const { service, application, listen, id } = proxy;
  return {
    name: PUBLIC,
    kind: 'public',
    service,
    serverNames: [serviceServerName({ service, datacenter, trustDomain })],
    backends: isDialable(application) ? [{ address: application, weight: 1, healthy: true }] : [],
    origin: { service, proxy: id, listen: formatEndpoint(listen), application: formatEndpoint(application) },
  };
}

function isDialable({ host, port }: { readonly host: string; readonly port: number }): boolean {
  return host.startsWith('unix:') || port > 0;
}

function upstreamRoute(name: string, upstream: ProxyUpstream): UpstreamRoute {
  const { definition } = upstream;
  const origin = { upstream: definition.name, listen: formatEndpoint(definition.bind) };
  const base = { name, kind: 'upstream', serverNames: [], backends: [], legs: [] } as const;
  if (upstream.kind === 'refused')
    return { ...base, refusal: upstream.reason, origin: { ...origin, refused: upstream.reason } };
  const legs = dialOrder(upstream.targets).map((target) => legOf(name, target));
  const [first, ...others] = legs;
  const failover = others.map(({ origin: facts }) => `${facts?.['id'] ?? ''} by ${facts?.['path'] ?? ''}`).join(', ');
  return {
    ...base,
    serverNames: [...new Set(legs.flatMap(({ serverNames }) => serverNames))],
    backends: legs.flatMap(({ backends }) => backends),
    legs,
    origin: { ...origin, ...first?.origin, ...(failover === '' ? {} : { failover }) },
  };
}

function legOf(name: string, { target, path, backends, nobody, facts }: UpstreamTarget): Leg {
  const { serverName, identities, connectTimeoutMs } = target;
  return {
    name,
    kind: path,
    serverName,
    identities,
    serverNames: [serverName.toLowerCase()],
    backends,
    ...(nobody === undefined ? {} : { nobody }),
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
    origin: { id: target.id, ...facts, serverName, identity: identities.join(' or ') },
  };
}

function problemsOf(upstream: ProxyUpstream): readonly string[] {
  const about = `upstream ${upstream.definition.name}`;
  if (upstream.kind === 'refused') return [`${about}: ${upstream.reason}`];
  return upstream.targets.flatMap(({ problems }) => problems.map(({ message }) => `${about}: ${message}`));
}
