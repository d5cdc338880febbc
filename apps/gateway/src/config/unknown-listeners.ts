import type { Route } from '@meshgate/core';
import { indexRoutes } from '@meshgate/core/parts';
import type { RouteIndex, RouteTable, SourceStatus } from '@meshgate/core/parts';
import { positionOf } from './route-position.ts';

/** A listener that routes may name. */
export interface NamedListener {
  readonly name: string;
}

/** Returns `sources`, with a warning for every unknown listener that their routes name. Pure. */
export function withUnknownListeners(
  sources: readonly SourceStatus[],
  { indexes }: Pick<RouteTable, 'indexes'>,
  listeners: readonly NamedListener[],
): readonly SourceStatus[] {
  const known = namesOf(listeners);
  return sources.map((status) => {
    const index = indexes.find(({ source }) => source === status.name);
    const warnings = index === undefined ? [] : unknownIn(index, known).map(warningOf);
    return warnings.length === 0 ? status : { ...status, warnings: [...status.warnings, ...warnings] };
  });
}

/** Returns the same warnings for route files before a start, with the position of each route. */
export function unknownListenerWarnings(
  routes: readonly Route[],
  listeners: readonly NamedListener[],
): readonly string[] {
  const index = indexRoutes('files', { version: '', routes });
  return unknownIn(index, namesOf(listeners)).flatMap(({ listener, routes: naming }) =>
    naming.map((route) => `${positionOf(route)}${warningOf({ listener, routes: [route] })}`),
  );
}

interface UnknownListener {
  readonly listener: string;
  /** The routes that name the listener. */
  readonly routes: readonly Route[];
}

function unknownIn({ listeners }: RouteIndex, known: ReadonlySet<string>): readonly UnknownListener[] {
  return Array.from(listeners).flatMap(([listener, { exact, suffixes, any, fallback }]) => {
    if (known.has(listener)) return [];
    const routes = [...exact.values(), ...suffixes.values(), any, fallback].filter((route) => route !== undefined);
    return [{ listener, routes: Array.from(new Set(routes)) }];
  });
}

// Keeps the log line short.
const SHOWN = 3;

function warningOf({ listener, routes }: UnknownListener): string {
  const names = routes.slice(0, SHOWN).map(({ name }) => name);
  const more = routes.length > SHOWN ? ` and ${routes.length - SHOWN} more` : '';
  const [what, verb] = routes.length === 1 ? ['route', 'names'] : ['routes', 'name'];
  return `${what} ${names.join(', ')}${more} ${verb} listener ${JSON.stringify(listener)}, which does not exist`;
}

function namesOf(listeners: readonly NamedListener[]): ReadonlySet<string> {
  return new Set(listeners.map(({ name }) => name));
}
