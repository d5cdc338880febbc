import { createHash } from 'node:crypto';
import type { Route, RouteSnapshot, RouteSource } from '@meshgate/core';
import type { RouteSettings } from '@meshgate/documents';
import type { MeshRouteKind } from '@meshgate/mesh';

/** Settings of all routes of a gateway that Consul cannot express. */
export interface RouteDefaults extends RouteSettings {
  /** Settings by kind of route, in place of all those above; none when absent. */
  readonly ofKind?: Readonly<Partial<Record<MeshRouteKind, RouteSettings>>>;
}

/** Returns `source` with these settings added to its routes. */
export function withRouteDefaults(source: RouteSource, defaults: RouteDefaults = {}): RouteSource {
  if (Object.keys(defaults).length === 0) return source;
  const { ofKind = {}, ...ofAll } = defaults;
  const byKind: Readonly<Record<string, RouteSettings>> = ofKind;
  const suffix = createHash('sha256').update(JSON.stringify(defaults)).digest('hex').slice(0, SUFFIX_CHARS);
  // Keeps the identity of routes: an unchanged route yields the same object.
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

/** Enough to distinguish the settings in one gateway's lifetime. */
const SUFFIX_CHARS = 8;
