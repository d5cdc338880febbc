import type { Route } from '@meshgate/core';

/** Position of a route, as a prefix for messages about it: `routes.yaml:3: `, or empty when it is not in a file. */
export function positionOf({ origin }: Route): string {
  return origin?.['file'] === undefined ? '' : `${origin['file']}:${origin['line']}: `;
}
