import { formatEndpoint } from '@meshgate/core';
import type { Endpoint, Route } from '@meshgate/core';
import { isAnyAddress, leadsBack } from '@meshgate/core/parts';
import type { RouteIndex, RouteTable, SourceStatus } from '@meshgate/core/parts';
import { positionOf } from './route-position.ts';

/** A listener with all known addresses. */
export interface ReachedListener {
  readonly name: string;
  /** The requested address. */
  readonly endpoint: Endpoint;
  /** The bound address; absent while it is not bound. */
  readonly address?: Endpoint;
  /** Addresses by which others reach it. */
  readonly advertised?: readonly Endpoint[];
}

/**
 * Returns `sources`, with a warning for every route that has one of `listeners` or a wildcard address as a backend:
 * neither is dialled. Pure.
 */
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

/** Returns the same warnings for routes that were read before a start, with their positions, if any. */
export function ownBackendWarnings(routes: readonly Route[], listeners: readonly ReachedListener[]): readonly string[] {
  return routes.flatMap((route) => warningsOf(route, listeners).map((warning) => `${positionOf(route)}${warning}`));
}

/** Caches the result per table, since it is requested every few seconds, and a table may have 50,000 routes. */
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

// More are not useful: a copied address is usually in one file.
const SHOWN = 5;

function warningsOf({ name, backends }: Route, listeners: readonly ReachedListener[]): readonly string[] {
  for (const { address } of backends) {
    const own = listeners.find((listener) => isReachedBy(address, listener));
    if (own !== undefined)
      return [`route ${name} leads back to this gateway: ${formatEndpoint(address)} is its listener ${own.name}`];
    if (isAnyAddress(address.host))
      return [`route ${name} has the wildcard address ${formatEndpoint(address)} as a backend: it is not dialled`];
  }
  return [];
}

function isReachedBy(backend: Endpoint, { endpoint, address = endpoint, advertised = [] }: ReachedListener): boolean {
  return leadsBack(backend, address, advertised);
}
