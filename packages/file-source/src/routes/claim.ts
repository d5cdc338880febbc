import type { Problem } from '@meshgate/core';
import type { Field } from '@meshgate/documents';

/** A route's claim to something that only one route may have. */
export interface RouteClaim {
  readonly what: 'name' | 'server name' | 'fallback';
  readonly value: string;
  /** The listeners to which the claim applies; all when absent. Routes on different listeners may share a name. */
  readonly listeners?: readonly string[] | undefined;
  /** Name of the claiming route; empty when it has no valid name. */
  readonly route: string;
  /** The claiming route; equal for all its claims. */
  readonly owner: Field;
  /** The field with the claimed value. */
  readonly field: Field;
}

/**
 * Returns a problem for each claim that repeats an earlier one, with both routes and positions; at most
 * {@link MAX_CONTESTED}.
 */
export function contested(claims: readonly RouteClaim[]): readonly Problem[] {
  const first = new Map<string, RouteClaim>();
  const problems = new Map<Field, Problem>();
  for (const claim of claims) {
    if (problems.size === MAX_CONTESTED) return [...problems.values(), MORE];
    for (const key of keysOf(claim)) {
      const earlier = first.get(key);
      if (earlier === undefined) first.set(key, claim);
      // The first server name is the default name of a route: one position can then violate both rules, and gets a
      // single message.
      else if (!problems.has(claim.field)) problems.set(claim.field, toProblem(claim, earlier));
    }
  }
  return [...problems.values()];
}

/** Limits the problems: a short file can claim a million names twice by means of aliases. */
const MAX_CONTESTED = 1_000;
const MORE: Problem = { message: 'and more names that are claimed twice', path: [] };

/**
 * Returns one key per listener. A claim on all listeners has its own key: it applies after those on one listener, so
 * the two do not conflict.
 */
function keysOf({ what, value, listeners }: RouteClaim): readonly string[] {
  const key = `${what} ${value}`;
  return listeners === undefined ? [key] : [...new Set(listeners)].map((listener) => `${key} on ${listener}`);
}

function toProblem(claim: RouteClaim, earlier: RouteClaim): Problem {
  const { path, at } = claim.field;
  return at === undefined ? { message: words(claim, earlier), path } : { message: words(claim, earlier), path, at };
}

function words(claim: RouteClaim, earlier: RouteClaim): string {
  const position = earlier.field.position;
  const value = JSON.stringify(claim.value);
  if (claim.owner === earlier.owner) return `${claim.what} ${value} is in this route twice, first at ${position}`;
  if (claim.what === 'fallback') return `${named(earlier)} is already the fallback, at ${position}`;
  if (claim.what === 'name') return `route name ${value} is already used by another route, at ${position}`;
  return `server name ${value} of ${named(claim)} is already claimed by ${named(earlier)}, at ${position}`;
}

function named({ route }: RouteClaim): string {
  return route === '' ? 'a route without a name' : `route ${JSON.stringify(route)}`;
}
