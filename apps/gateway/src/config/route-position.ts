import type { Route } from '@meshgate/core';

/**
 * Returns the position of a route as a prefix for messages: `routes.yaml:3: `, or `''` when the route is not in a file.
 */
export function positionOf({ origin }: Route): string {
  return origin?.['file'] === undefined ? '' : `${origin['file']}:${origin['line']}: `;
}
