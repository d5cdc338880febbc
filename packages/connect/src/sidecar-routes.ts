import { formatEndpoint } from '@meshgate/core';
import type { ListenAddress, Route, RouteSnapshot } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { describeIntention, dialOrder, serviceServerName } from '@meshgate/mesh';
import type { PassiveHealthCheck, ProxyUpstream, ProxyView, UpstreamTarget } from '@meshgate/mesh';
import { describeEjection } from './ejection.ts';
import type { ExpectedServer } from './server-identity.ts';

/** Name of the listener and the route for connections from the mesh. */
export const PUBLIC = 'public';

/** The target of a sidecar's route. */
export type SidecarTarget =
  /** The application, for callers from the mesh. `service` names the service whose intentions apply. */
  | { readonly kind: 'application'; readonly service: string }
  /**
   * Targets in the mesh, for the application. `refusal`: why the upstream must not be dialled; `legs` is then empty.
   */
  | {
      readonly kind: 'upstream';
      readonly legs: readonly Leg[];
      readonly refusal?: string;
      /** Ejection of the upstream's addresses; the proxy's default when absent. */
      readonly passiveHealthCheck?: PassiveHealthCheck;
    };

/** One target of an upstream. */
export interface Leg {
  /** Named after the upstream, because names are metric labels. */
  readonly route: Route;
  /** The expected server identity. */
  readonly server: ExpectedServer;
  /** Why the target has no backend; absent otherwise. */
  readonly unreachableReason?: string;
  /** Error code of connections while the target has no backend. */
  readonly withoutBackend: UpstreamTarget['withoutBackend'];
}

/** Kept beside the routes, so that other code does not see the additional data of a sidecar's routes. */
const DESTINATIONS = new WeakMap<Route, SidecarTarget>();

/** Returns the target of `route`; `undefined` for a route that {@link sidecarRoutes} did not make. */
export function destinationOf(route: Route): SidecarTarget | undefined {
  return DESTINATIONS.get(route);
}

function leadingTo(destination: SidecarTarget, route: Route): Route {
  DESTINATIONS.set(route, destination);
  return route;
}

/** Derives all routes of a sidecar. Pure. */
export function sidecarRoutes(view: ProxyView): RouteSnapshot {
  const upstreams = named(view).map(([name, upstream]) => upstreamRoute(name, upstream));
  const problems = view.upstreams.flatMap((upstream) => problemsOf(upstream));
  const warnings = [...(view.warnings ?? []), ...refusingIntentions(view), ...new Set(problems)];
  return {
    version: view.version,
    routes: [publicRoute(view), ...upstreams],
    ...(warnings.length === 0 ? {} : { warnings }),
  };
}

/** Returns a sidecar's listeners. Each has the name of its route. */
export function sidecarListeners(view: ProxyView): readonly ListenAddress[] {
  const upstreams = named(view).map(([name, { definition }]) => ({ name, endpoint: definition.bind }));
  return [{ name: PUBLIC, endpoint: view.proxy.listen }, ...upstreams];
}

/**
 * Names the upstreams: `upstream:db`, with the datacenter or peer if the definition has one, and with the address if
 * the name is not unique.
 */
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

/** Describes intentions with permissions, which all deny, and the reason. */
function refusingIntentions({ intentions }: ProxyView): readonly string[] {
  return intentions.filter(({ action }) => action === 'http').map(describeIntention);
}

function publicRoute(view: ProxyView): Route {
  const { proxy, datacenter, trustDomain, mutualTls = 'strict' } = view;
  const { service, application, listen, id } = proxy;
  const refusing = refusingIntentions(view).join('; ');
  return leadingTo(
    { kind: 'application', service },
    {
      name: PUBLIC,
      kind: 'public',
      serverNames: [serviceServerName({ service, datacenter, trustDomain })],
      backends: isDialable(application) ? [{ address: application, weight: 1, healthy: true }] : [],
      origin: {
        service,
        proxy: id,
        listen: formatEndpoint(listen),
        application: formatEndpoint(application),
        ...(mutualTls === 'strict' ? {} : { mutualTls }),
        ...(refusing === '' ? {} : { refusing }),
      },
    },
  );
}

function isDialable({ host, port }: { readonly host: string; readonly port: number }): boolean {
  return host.startsWith('unix:') || port > 0;
}

function upstreamRoute(name: string, upstream: ProxyUpstream): Route {
  const { definition } = upstream;
  const origin = { upstream: definition.name, listen: formatEndpoint(definition.bind) };
  const base = { name, kind: 'upstream', serverNames: [], backends: [] };
  if (upstream.kind === 'refused') {
    const refused = { kind: 'upstream', legs: [], refusal: upstream.reason } as const;
    return leadingTo(refused, { ...base, origin: { ...origin, refused: upstream.reason } });
  }
  const legs = dialOrder(upstream.targets).map((target) => legOf(name, target));
  const routes = legs.map(({ route }) => route);
  const [first, ...others] = routes;
  const failover = others.map(({ origin: facts }) => `${facts?.['id'] ?? ''} by ${facts?.['path'] ?? ''}`).join(', ');
  const { passiveHealthCheck } = upstream;
  return leadingTo(
    { kind: 'upstream', legs, ...defined({ passiveHealthCheck }) },
    {
      ...base,
      serverNames: [...new Set(routes.flatMap(({ serverNames }) => serverNames))],
      backends: routes.flatMap(({ backends }) => backends),
      withoutBackend: legs.at(-1)?.withoutBackend ?? 'NO_BACKEND',
      ...longestOf(routes),
      ...(upstream.maxConnections === undefined ? {} : { limits: { connections: upstream.maxConnections } }),
      origin: {
        ...origin,
        ...first?.origin,
        ...defined({
          failover: failover || undefined,
          ejection: passiveHealthCheck && describeEjection(passiveHealthCheck),
        }),
      },
    },
  );
}

/**
 * Returns the longest timeout of all targets, since they share one deadline; none when no target has one: the proxy's
 * own applies.
 */
function longestOf(routes: readonly Route[]): Pick<Route, 'connectTimeoutMs'> {
  const own = routes.flatMap(({ connectTimeoutMs }) => (connectTimeoutMs === undefined ? [] : [connectTimeoutMs]));
  return own.length === 0 ? {} : { connectTimeoutMs: Math.max(...own) };
}

function legOf(
  name: string,
  { target, path, backends, unreachableReason, withoutBackend, facts }: UpstreamTarget,
): Leg {
  const { serverName, identities, peer, connectTimeoutMs } = target;
  return {
    route: {
      name,
      kind: path,
      // Empty while the SNI of a peer's service is not known.
      serverNames: serverName === '' ? [] : [serverName.toLowerCase()],
      backends,
      ...defined({ connectTimeoutMs }),
      origin: { id: target.id, ...facts, serverName, identity: identities.join(' or ') },
    },
    server: { serverName, identities, ...defined({ peer }) },
    withoutBackend,
    ...defined({ unreachableReason }),
  };
}

function problemsOf(upstream: ProxyUpstream): readonly string[] {
  const about = `upstream ${upstream.definition.name}`;
  if (upstream.kind === 'refused') return [`${about}: ${upstream.reason}`];
  return upstream.targets.flatMap(({ problems }) => problems.map(({ message }) => `${about}: ${message}`));
}
