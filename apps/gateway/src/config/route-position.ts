import type { Route } from '@meshgate/core';

/** Where a route is written, to be put in front of a message about it: `routes.yaml:3: `, or nothing when it is in no file. */
export function positionOf({ origin }: Route): string {
  return origin?.['file'] === undefined ? '' : `${origin['file']}:${origin['line']}: `;
}
