import { createHash } from 'node:crypto';
import type { Route, RouteSnapshot, RouteSource } from '@meshgate/core';

/** What a gateway's configuration says of all routes that Consul makes: settings that Consul itself has none for. */
export type RouteDefaults = Pick<Route, 'healthCheck' | 'onBackendRemoved' | 'onBackendDown' | 'retryBeforeFirstByte'>;

/** `source`, whose routes have these settings, too. */
export function withRouteDefaults(source: RouteSource, defaults: RouteDefaults = {}): RouteSource {
  if (Object.keys(defaults).length === 0) return source;
  const suffix = createHash('sha256').update(JSON.stringify(defaults)).digest('hex').slice(0, SUFFIX_CHARS);
  // A route that stays the same one is looked up as such.
  const known = new WeakMap<Route, Route>();
  return { name: source.name, watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot> {
    for await (const { version, routes, ...rest } of source.watch(signal))
      yield { ...rest, version: `${version}-${suffix}`, routes: routes.map(withDefaults) };
  }

  function withDefaults(route: Route): Route {
    const found = known.get(route) ?? { ...route, ...defaults };
    known.set(route, found);
    return found;
  }
}

/** Enough to tell the settings of one gateway's life apart. */
const SUFFIX_CHARS = 8;
