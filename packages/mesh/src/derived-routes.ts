import type { KeepAlive, Problem, Route } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { compare } from './order.ts';
import { serverNameProblem } from './server-names.ts';

/** The gateway for which routes are derived. The catalog has its datacenter and partition. */
export interface RoutingGateway extends ExportRules {
  /** The gateway also carries the traffic of Consul's own servers (registration meta `consul-wan-federation` = `1`). */
  readonly wanFederation: boolean;
  /** Connect timeout of routes whose service sets none, in milliseconds. The proxy's own limit when absent. */
  readonly connectTimeoutMs?: number;
  /** TCP keepalive of connections to gateways of other datacenters. The proxy's own setting when absent. */
  readonly remoteKeepAlive?: KeepAlive;
}

/** Rules for services exported to peers, where Consul leaves the decision to its gateways. */
export interface ExportRules {
  /**
   * Treatment of a service exported to a peer with protocol `http`, `http2` or `grpc`. Consul's own gateway decrypts
   * such connections; when they are forwarded without decrypting, an intention that denies the peer's callers has no
   * effect at an Envoy destination (observed with Consul 1.16.4). `refuse` when absent.
   */
  readonly httpExports?: HttpExports;
  /**
   * Whether a route of an exported `tcp` service also has the failover targets of its discovery chain as backups: those
   * in this datacenter and partition, whose identities the importers accept. `false` when absent, as in Consul since
   * 1.14.
   */
  readonly exportFailover?: boolean;
}

/** Returns the export rules in `settings`, without its other properties. */
export function exportRulesOf({ httpExports, exportFailover }: ExportRules): ExportRules {
  return defined({ httpExports, exportFailover });
}

/** See {@link ExportRules.httpExports}. */
export type HttpExports = 'refuse' | 'passthrough';

/** The values of `Route.kind` in a mesh, in the order of the route table. */
export const MESH_ROUTE_KINDS = [
  'local-service',
  'local-subset',
  'remote-datacenter',
  'remote-servers',
  'local-servers',
  'local-server',
  'exported-service',
  'imported-service',
  'peering-servers',
  'remote-peering-servers',
] as const;

/** One of {@link MESH_ROUTE_KINDS}. */
export type MeshRouteKind = (typeof MESH_ROUTE_KINDS)[number];

/** Routes, and the problems of those parts of the catalog that cannot become routes. */
export interface DerivedRoutes {
  /** In a stable order: equal catalogs give equal lists. */
  readonly routes: readonly Route[];
  /** Each path begins with the kind and name of the Consul object. */
  readonly problems: readonly Problem[];
}

/** The empty result. */
export const NOTHING: DerivedRoutes = { routes: [], problems: [] };

/** Concatenates the routes and problems of all parts. */
export function joined(parts: readonly DerivedRoutes[]): DerivedRoutes {
  return { routes: parts.flatMap(({ routes }) => routes), problems: parts.flatMap(({ problems }) => problems) };
}

/** Builds the route table from `parts`, in steps: sorted by kind and name, with unique and valid server names. */
export function* routeTableOf(parts: readonly DerivedRoutes[]): Generator<void, DerivedRoutes> {
  const { routes, problems } = joined(parts);
  yield;
  const sorted = routes.toSorted(byKindAndName);
  yield;
  const owners = new Map<string, Route>();
  const kept: Route[] = [];
  const found: Problem[] = [...problems];
  const unusable: Problem[] = [];
  for (const route of sorted) {
    const clash = clashWith(owners, route);
    if (clash === undefined) {
      const checked = withCheckedNames(route);
      kept.push(checked.route);
      unusable.push(...checked.problems);
    } else found.push(clash);
    yield;
  }
  return { routes: kept, problems: [...found, ...unusable] };
}

/**
 * Finds the route that already has a name of `route`, and describes the clash. Names are free text: service `v1.db` and
 * subset `v1` of `db` have the same server name, and so do `Db` and `db`. The first by kind and name keeps it; the
 * other one is skipped and reported, not merged, because the operator did not configure a merge.
 */
function clashWith(owners: Map<string, Route>, route: Route): Problem | undefined {
  const keys = [route.name, ...route.serverNames];
  const owner = keys.map((key) => owners.get(key)).find((found) => found !== undefined);
  if (owner !== undefined)
    return { path: ['route', route.name], message: `has the same server name as ${owner.name}: not routed` };
  for (const key of keys) owners.set(key, route);
  return undefined;
}

/**
 * Reports server names that no TLS client can send; the route stays, so that `explain` can report the problem. A
 * service named `*` gets no route, since it would match every other name.
 */
function withCheckedNames(route: Route): { readonly route: Route; readonly problems: readonly Problem[] } {
  const isPattern = !HAVE_PATTERNS.has(route.kind ?? '') && route.serverNames.some((name) => name.startsWith('*'));
  const found = route.serverNames.flatMap((name) => serverNameProblem(name) ?? []);
  const [message] = isPattern ? [STAR] : found;
  if (message === undefined) return { route, problems: [] };
  const problems = [{ path: ['route', route.name], message: `no client can request it: ${message}` }];
  const origin = { ...route.origin, unusableName: message };
  return { route: { ...route, ...(isPattern ? { serverNames: [] } : {}), origin }, problems };
}

/**
 * Kinds of routes with wildcard names: every name below a datacenter's or its servers' suffix leads to its gateways.
 */
const HAVE_PATTERNS: ReadonlySet<string> = new Set(['remote-datacenter', 'remote-servers'] satisfies MeshRouteKind[]);
const STAR = 'expected letters, digits, hyphens and underscores, found "*"';

const KIND_ORDER: readonly string[] = MESH_ROUTE_KINDS;

/** Orders a route table by kind, then by name. */
function byKindAndName(a: Route, b: Route): number {
  const byKind = KIND_ORDER.indexOf(a.kind ?? '') - KIND_ORDER.indexOf(b.kind ?? '');
  return byKind || compare(a.name, b.name);
}
