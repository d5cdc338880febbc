import type { KeepAlive, Problem, Route } from '@meshgate/core';
import { defined } from './defined.ts';
import { compare } from './order.ts';
import { serverNameProblem } from './server-names.ts';

/** The gateway that routes are derived for. Its datacenter and partition are those of the catalog. */
export interface RoutingGateway extends ExportRules {
  /** Also carries the traffic of Consul's own servers (registration meta `consul-wan-federation` = `1`). */
  readonly wanFederation: boolean;
  /** For routes whose service sets no timeout, in milliseconds. The proxy's own limit when absent. */
  readonly connectTimeoutMs?: number;
  /** Keepalive towards the gateways of other datacenters. The proxy's own setting when absent. */
  readonly remoteKeepAlive?: KeepAlive;
}

/** How services are exported to peers, where Consul leaves that to its gateways. */
export interface ExportRules {
  /**
   * How to handle a service that is exported to a peer with protocol `http`, `http2` or `grpc`. Consul's own gateway decrypts such
   * connections; when they are forwarded without decrypting, an intention that denies the peer's callers has no effect at an Envoy
   * destination (observed with Consul 1.16.4). `refuse` when absent.
   */
  readonly httpExports?: HttpExports;
  /**
   * Whether the name of an exported service with protocol `tcp` also leads to the failover targets of its discovery chain, as backups:
   * those in this datacenter and partition, whose identities the importers accept. `false` when absent, as in Consul since 1.14.
   */
  readonly exportFailover?: boolean;
}

/** Those of `settings`, without what else it holds. */
export function exportRulesOf({ httpExports, exportFailover }: ExportRules): ExportRules {
  return defined({ httpExports, exportFailover });
}

/** See {@link ExportRules.httpExports}. */
export type HttpExports = 'refuse' | 'passthrough';

/** Values of `Route.kind`, in the order of a route table. */
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

/** Routes, and the parts of the catalog that could not become routes. */
export interface DerivedRoutes {
  /** In a stable order: equal catalogs give equal lists. */
  readonly routes: readonly Route[];
  /** The path of each begins with the kind and name of the Consul object. */
  readonly problems: readonly Problem[];
}

/** The empty result. */
export const NOTHING: DerivedRoutes = { routes: [], problems: [] };

/** The routes and problems of all parts, concatenated. */
export function joined(parts: readonly DerivedRoutes[]): DerivedRoutes {
  return { routes: parts.flatMap(({ routes }) => routes), problems: parts.flatMap(({ problems }) => problems) };
}

/** Runs a stepwise derivation to its end, without yielding. */
export function wholeOf<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}

/** The table made of `parts`: sorted by kind and name, with unique and valid server names. In steps. */
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
 * Names are free text: service `v1.db` and subset `v1` of `db` have the same server name, and so do `Db` and `db`. The first by kind
 * and name keeps it. The other is skipped and reported, never merged: nobody asked for that.
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
 * A name that no TLS client can send keeps its route, so that `explain` finds it and can report the problem. A service called `*`
 * would match every other name: it gets no route.
 */
function withCheckedNames(route: Route): { readonly route: Route; readonly problems: readonly Problem[] } {
  const isPattern = !HAVE_PATTERNS.has(route.kind ?? '') && route.serverNames.some((name) => name.startsWith('*'));
  const found = route.serverNames.flatMap((name) => serverNameProblem(name) ?? []);
  const [message] = isPattern ? [STAR] : found;
  if (message === undefined) return { route, problems: [] };
  const problems = [{ path: ['route', route.name], message: `no client can ask for it: ${message}` }];
  const origin = { ...route.origin, unusableName: message };
  return { route: { ...route, ...(isPattern ? { serverNames: [] } : {}), origin }, problems };
}

/** All names of a datacenter lead to its gateways. */
const HAVE_PATTERNS: ReadonlySet<string> = new Set(['remote-datacenter', 'remote-servers'] satisfies MeshRouteKind[]);
const STAR = 'expected letters, digits, hyphens and underscores, found "*"';

const KIND_ORDER: readonly string[] = MESH_ROUTE_KINDS;

/** The order of a route table: by kind, then by name. */
function byKindAndName(a: Route, b: Route): number {
  const byKind = KIND_ORDER.indexOf(a.kind ?? '') - KIND_ORDER.indexOf(b.kind ?? '');
  return byKind || compare(a.name, b.name);
}
