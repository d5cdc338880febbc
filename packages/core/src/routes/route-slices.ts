import type { Route } from './route.ts';

/**
 * Cuts `routes`, in their order, into slices that each take about a millisecond to copy or index. Handed on
 * one a turn of the event loop, 100,000 of them keep no connection waiting. A route is never cut, however large it is.
 */
export function* inSlices(routes: readonly Route[]): Generator<readonly Route[], void, void> {
  let start = 0;
  let parts = 0;
  for (const [index, { serverNames, backends }] of routes.entries()) {
    parts += 1 + serverNames.length + backends.length;
    if (parts < PARTS_PER_SHARE) continue;
    yield routes.slice(start, index + 1);
    start = index + 1;
    parts = 0;
  }
  if (start < routes.length) yield routes.slice(start);
}

// A route, a name, a backend: 200 routes with one of each. To take them from another process costs 4 to 10 µs a route.
const PARTS_PER_SHARE = 600;
