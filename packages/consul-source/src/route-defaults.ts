import { createHash } from 'node:crypto';
import type { Route, RouteSnapshot, RouteSource } from '@meshgate/core';
import type { MeshRouteKind } from '@meshgate/mesh';

/** What a gateway's configuration says of routes that Consul makes: settings that Consul itself has none for. */
export type RouteSettings = Pick<
  Route,
  'access' | 'limits' | 'proxyProtocol' | 'healthCheck' | 'onBackendRemoved' | 'onBackendDown' | 'retryBeforeFirstByte'
>;

/** Settings of all routes. */
export interface RouteDefaults extends RouteSettings {
  /** A kind of routes that is named here has these settings, in place of all of the above. None when absent. */
  readonly ofKind?: Readonly<Partial<Record<MeshRouteKind, RouteSettings>>>;
}

/** `source`, whose routes have these settings, too. */
export function withRouteDefaults(source: RouteSource, defaults: RouteDefaults = {}): RouteSource {
  if (Object.keys(defaults).length === 0) return source;
  const { ofKind = {}, ...ofAll } = defaults;
  const byKind: Readonly<Record<string, RouteSettings>> = ofKind;
  const suffix = createHash('sha256').update(JSON.stringify(defaults)).digest('hex').slice(0, SUFFIX_CHARS);
  // A route that stays the same one is looked up as such.
  const known = new WeakMap<Route, Route>();
  return { name: source.name, watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot> {
    for await (const { version, routes, ...rest } of source.watch(signal))
      yield { ...rest, version: `${version}-${suffix}`, routes: routes.map(withDefaults) };
  }

  function withDefaults(route: Route): Route {
    const found = known.get(route) ?? { ...route, ...(byKind[route.kind ?? ''] ?? ofAll) };
    known.set(route, found);
    return found;
  }
}

/** Enough to tell the settings of one gateway's life apart. */
const SUFFIX_CHARS = 8;
