import { formatEndpoint } from '@meshgate/core';
import type { Endpoint, Route } from '@meshgate/core';
import { leadsBack } from '@meshgate/core/parts';
import type { RouteIndex, RouteTable, SourceStatus } from '@meshgate/core/parts';
import { positionOf } from './route-position.ts';

/** A listener, by everything that is known of where it is reached. */
export interface ReachedListener {
  readonly name: string;
  /** What was asked for. */
  readonly endpoint: Endpoint;
  /** What is bound; absent while it is not. */
  readonly address?: Endpoint;
  /** By which others reach it. */
  readonly advertised?: readonly Endpoint[];
}

/** `sources`, each also with a warning for every route whose backend is one of `listeners`: no dial is made to it. Pure. */
export function withOwnBackends(
  sources: readonly SourceStatus[],
  { indexes }: Pick<RouteTable, 'indexes'>,
  listeners: readonly ReachedListener[],
): readonly SourceStatus[] {
  return sources.map((status) => {
    const index = indexes.find(({ source }) => source === status.name);
    const found = index === undefined ? [] : warningsIn(index, listeners);
    return found.length === 0 ? status : { ...status, warnings: [...status.warnings, ...found] };
  });
}

/** The same of routes that have been read, for those who look before anything is started: each with its place, if it has one. */
export function ownBackendWarnings(routes: readonly Route[], listeners: readonly ReachedListener[]): readonly string[] {
  return routes.flatMap((route) => warningsOf(route, listeners).map((warning) => `${positionOf(route)}${warning}`));
}

/** Of a table that stays as it is, answers that are asked for every few seconds: a table may have 50,000 routes. */
const known = new WeakMap<RouteIndex, { readonly of: string; readonly warnings: readonly string[] }>();

function warningsIn(index: RouteIndex, listeners: readonly ReachedListener[]): readonly string[] {
  const of = JSON.stringify(listeners);
  const before = known.get(index);
  if (before?.of === of) return before.warnings;
  const all = Array.from(index.routes.values()).flatMap((route) => warningsOf(route, listeners));
  const warnings = all.length > SHOWN ? [...all.slice(0, SHOWN), `and ${all.length - SHOWN} more such routes`] : all;
  known.set(index, { of, warnings });
  return warnings;
}

// More say no more: a copied address is usually in one place.
const SHOWN = 5;

function warningsOf({ name, backends }: Route, listeners: readonly ReachedListener[]): readonly string[] {
  for (const { address } of backends) {
    const own = listeners.find((listener) => isReachedBy(address, listener));
    if (own !== undefined)
      return [`route ${name} leads back to this gateway: ${formatEndpoint(address)} is its listener ${own.name}`];
  }
  return [];
}

function isReachedBy(backend: Endpoint, { endpoint, address = endpoint, advertised = [] }: ReachedListener): boolean {
  return leadsBack(backend, address, advertised);
}
