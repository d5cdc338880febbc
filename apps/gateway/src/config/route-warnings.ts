import type { RouteTable, SourceStatus } from '@meshgate/core/parts';
import { withOwnBackends } from './own-backends.ts';
import type { ReachedListener } from './own-backends.ts';
import { withUnknownListeners } from './unknown-listeners.ts';

/** `sources`, each also with what its routes and the listeners of this gateway say about each other. Pure. */
export function withRouteWarnings(
  sources: readonly SourceStatus[],
  table: Pick<RouteTable, 'indexes'>,
  listeners: readonly ReachedListener[],
): readonly SourceStatus[] {
  return withOwnBackends(withUnknownListeners(sources, table, listeners), table, listeners);
}
