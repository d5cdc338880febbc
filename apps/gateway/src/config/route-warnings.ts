import type { RouteTable, SourceStatus } from '@meshgate/core/parts';
import { withOwnBackends } from './own-backends.ts';
import type { ReachedListener } from './own-backends.ts';
import { withUnknownListeners } from './unknown-listeners.ts';

/** Returns `sources`, with warnings about their routes in relation to the listeners of this gateway. Pure. */
export function withRouteWarnings(
  sources: readonly SourceStatus[],
  table: Pick<RouteTable, 'indexes'>,
  listeners: readonly ReachedListener[],
): readonly SourceStatus[] {
  return withOwnBackends(withUnknownListeners(sources, table, listeners), table, listeners);
}
