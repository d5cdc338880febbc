import type { Problem } from '@meshgate/core';
import type { Field } from '@meshgate/documents';

/** Something that only one route may have. */
export interface RouteClaim {
  readonly what: 'name' | 'server name' | 'fallback';
  readonly value: string;
  /** The listeners on which it is claimed; all when absent. Two routes may have one name on different listeners. */
  readonly listeners?: readonly string[] | undefined;
  /** Name of the route that claims it; empty when the route has no valid name. */
  readonly route: string;
  /** The route itself: equal for all claims of one route. */
  readonly owner: Field;
  /** Position of the claim. */
  readonly field: Field;
}

/** A problem for each claim that repeats an earlier one, with both routes and positions; of very many the first, and that there are more. */
export function contested(claims: readonly RouteClaim[]): readonly Problem[] {
  const first = new Map<string, RouteClaim>();
  const problems = new Map<Field, Problem>();
  for (const claim of claims) {
    if (problems.size === MAX_CONTESTED) return [...problems.values(), MORE];
    for (const key of keysOf(claim)) {
      const earlier = first.get(key);
      if (earlier === undefined) first.set(key, claim);
      // A route without a name takes its first server name: one position can then violate both rules, and gets one
      // message.
      else if (!problems.has(claim.field)) problems.set(claim.field, toProblem(claim, earlier));
    }
  }
  return [...problems.values()];
}

/** Nobody reads more, and a file of a page can claim a million names again, by aliases. */
const MAX_CONTESTED = 1_000;
const MORE: Problem = { message: 'and more names that are claimed twice', path: [] };

/** One for each listener; a claim on all listeners ranks after those on one, so the two do not conflict. */
function keysOf({ what, value, listeners }: RouteClaim): readonly string[] {
  const key = `${what} ${value}`;
  return listeners === undefined ? [key] : [...new Set(listeners)].map((listener) => `${key} on ${listener}`);
}

function toProblem(claim: RouteClaim, earlier: RouteClaim): Problem {
  const { path, at } = claim.field;
  return at === undefined ? { message: words(claim, earlier), path } : { message: words(claim, earlier), path, at };
}

function words(claim: RouteClaim, earlier: RouteClaim): string {
  const position = where(earlier.field);
  const value = JSON.stringify(claim.value);
  if (claim.owner === earlier.owner) return `${claim.what} ${value} is in this route twice, first at ${position}`;
  if (claim.what === 'fallback') return `${named(earlier)} is already the fallback, at ${position}`;
  if (claim.what === 'name') return `route name ${value} is taken by another route, at ${position}`;
  return `server name ${value} of ${named(claim)} is already claimed by ${named(earlier)}, at ${position}`;
}

function named({ route }: RouteClaim): string {
  return route === '' ? 'a route without a name' : `route ${JSON.stringify(route)}`;
}

function where({ at, path }: Field): string {
  return at === undefined ? path.join('.') : `${at.file}:${at.line}:${at.column}`;
}
