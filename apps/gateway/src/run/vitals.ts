import { formatEndpoint } from '@meshgate/core';
import type { Limits, Route } from '@meshgate/core';
import type { HealthChecks, RouteStore } from '@meshgate/core/parts';
import type { BackendCount, GatewayVitals } from '@meshgate/metrics';
import { thisMachine } from './machine.ts';

/** What {@link vitalsOf} looks at. */
export interface VitalParts {
  readonly routes: Pick<RouteStore, 'table'>;
  /** Absent where nothing is checked. */
  readonly checks?: Pick<HealthChecks, 'reportOf'> | undefined;
  /** Of all processes together; a reload may change them. */
  readonly limits: Readonly<Limits>;
  readiness(): { readonly ready: boolean };
}

/** A gateway as its metrics show it. */
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

/** By the routes that lead to gateways of somebody else: each gateway once, in however many of them it is. */
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

/** Routes that fail for want of a gateway lead to gateways; whose these are their origin says. */
function remoteOf({ kind, withoutBackend, origin }: Route): string | undefined {
  if (withoutBackend !== 'NO_GATEWAY') return undefined;
  const { peer, datacenter } = origin ?? {};
  if (typeof peer === 'string') return `peer ${peer}`;
  return kind === 'remote-datacenter' && typeof datacenter === 'string' ? `datacenter ${datacenter}` : undefined;
}
