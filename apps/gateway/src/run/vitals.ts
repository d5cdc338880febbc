import { formatEndpoint } from '@meshgate/core';
import type { Limits, Route } from '@meshgate/core';
import type { HealthChecks, RouteStore } from '@meshgate/core/parts';
import type { BackendCount, GatewayVitals } from '@meshgate/metrics';
import { thisMachine } from './machine.ts';

/** Inputs of {@link vitalsOf}. */
export interface VitalParts {
  readonly routes: Pick<RouteStore, 'table'>;
  /** Absent without health checks. */
  readonly checks?: Pick<HealthChecks, 'reportOf'> | undefined;
  /** Limits of all processes together; a reload may change them. */
  readonly limits: Readonly<Limits>;
  readiness(): { readonly ready: boolean };
}

/** Returns the state of a gateway for its metrics. */
export function vitalsOf({ routes, checks, limits, readiness }: VitalParts): GatewayVitals {
  const { memoryBytes } = thisMachine();
  const isHealthy = (route: Route, { healthy, address }: Route['backends'][number]): boolean =>
    healthy && checks?.reportOf(route, address)?.state !== 'down';
  return {
    ready: () => readiness().ready,
    limits: () => ({ ...limits, memoryBytes }),
    *routes() {
      for (const route of allRoutes(routes)) {
        const { name, backends } = route;
        yield { name, total: backends.length, healthy: backends.filter((one) => isHealthy(route, one)).length };
      }
    },
    remotes: () => remotesOf(allRoutes(routes), isHealthy),
  };
}

function* allRoutes({ table }: Pick<RouteStore, 'table'>): Generator<Route> {
  for (const { routes } of table.indexes) yield* routes.values();
}

/** Counts the gateways of other datacenters and peers, each once, however many routes lead to it. */
function remotesOf(
  routes: Iterable<Route>,
  isHealthy: (route: Route, backend: Route['backends'][number]) => boolean,
): readonly BackendCount[] {
  const remotes = new Map<string, { readonly all: Set<string>; readonly healthy: Set<string> }>();
  for (const route of routes) {
    const name = remoteOf(route);
    if (name === undefined) continue;
    const known = remotes.get(name) ?? { all: new Set(), healthy: new Set() };
    remotes.set(name, known);
    for (const backend of route.backends) {
      const address = formatEndpoint(backend.address);
      known.all.add(address);
      if (isHealthy(route, backend)) known.healthy.add(address);
    }
  }
  return Array.from(remotes, ([name, { all, healthy }]) => ({ name, total: all.size, healthy: healthy.size }));
}

/**
 * Returns the owner of the gateways to which a route leads, from its origin. Only such routes fail with `NO_GATEWAY`.
 */
function remoteOf({ kind, withoutBackend, origin }: Route): string | undefined {
  if (withoutBackend !== 'NO_GATEWAY') return undefined;
  const { peer, datacenter } = origin ?? {};
  if (typeof peer === 'string') return `peer ${peer}`;
  return kind === 'remote-datacenter' && typeof datacenter === 'string' ? `datacenter ${datacenter}` : undefined;
}
