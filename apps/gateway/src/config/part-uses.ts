import type { PartUse, Problem, Route } from '@meshgate/core';
import { withoutSettings } from '@meshgate/core/parts';
import type { OfferedPart, OfferedParts } from '@meshgate/core/parts';
import { postgres } from '@meshgate/filters';
import { closestMatch } from 'leven';
import type { ListenerSettings } from './config-schema.ts';
import { problemsOf } from './plugin-problems.ts';

/** The filter for PostgreSQL clients. It also changes the connection to backends. */
export const POSTGRES_FILTER: string = postgres().name;

/** Parts that listeners can name without a plugin, except for those with their own key. */
const BUILT_IN: OfferedParts = new Map([[POSTGRES_FILTER, { kind: 'filter', make: withoutSettings(postgres()) }]]);

/** Returns the built-in parts and those of plugins. */
export function offeredParts({ offered }: { readonly offered: OfferedParts }): OfferedParts {
  return offered.size === 0 ? BUILT_IN : new Map([...BUILT_IN, ...offered]);
}

type PartKind = OfferedPart['kind'];

/** The place where a part is named, and the kinds that are valid there. */
interface UsePosition {
  readonly kinds: readonly PartKind[];
  /** Position of the entry: a path in the configuration, or a position in another file. */
  readonly where: Pick<Problem, 'path' | 'at'>;
}

const ON_ROUTE: readonly PartKind[] = ['layer', 'resolver'];

/** Returns the problems of the parts that `routes` use, with their positions. Creates each part once. */
export function routeUseProblems(routes: readonly Route[], offered: OfferedParts): readonly Problem[] {
  return routes.flatMap(({ use = [], balance }) => [
    ...use.flatMap((one) => problemsWith(one, { kinds: ON_ROUTE, where: positionOf(one) }, offered)),
    ...(typeof balance === 'object'
      ? problemsWith(balance, { kinds: ['balance'], where: positionOf(balance) }, offered)
      : []),
  ]);
}

function positionOf({ at }: PartUse): UsePosition['where'] {
  return at === undefined ? { path: [] } : { path: [], at };
}

/** Returns the problems of the parts that `listeners` use. Creates each part once. */
export function listenerUseProblems(listeners: readonly ListenerSettings[], offered: OfferedParts): readonly Problem[] {
  return listeners.flatMap(({ filters = [], use = [] }, listener) => [
    ...filters.flatMap((one, index) => {
      const path = ['listeners', listener, 'filters', index];
      return problemsWith(one, { kinds: ['filter'], where: { path } }, offered);
    }),
    ...use.flatMap((one, index) => {
      const path = ['listeners', listener, 'use', index];
      return problemsWith(one, { kinds: ON_ROUTE, where: { path } }, offered);
    }),
  ]);
}

function problemsWith(
  { name, settings }: PartUse,
  { kinds, where }: UsePosition,
  offered: OfferedParts,
): readonly Problem[] {
  const part = offered.get(name);
  if (part === undefined || !kinds.includes(part.kind))
    return [{ ...where, message: part === undefined ? unknownPart(name, kinds, offered) : misplaced(name, part.kind) }];
  try {
    if (part.kind === 'balance') part.make(settings, IDLE);
    else part.make(settings);
    return [];
  } catch (reason) {
    const problems = problemsOf(reason, `the ${part.kind} ${JSON.stringify(name)} rejects its settings`);
    return problems.map(({ message, path }) => {
      // In another file, the position is that of the whole entry, so the message names the key.
      if (where.at === undefined) return { message, path: [...where.path, ...path] };
      return { ...where, message: path.length === 0 ? message : `${path.join('.')}: ${message}` };
    });
  }
}

/** For pickers that are created only to validate their settings. */
const IDLE = { load: () => 0, random: () => 0 };

const LOCATIONS: Readonly<Record<PartKind, string>> = {
  balance: 'balance of a route',
  filter: 'filters of a listener',
  layer: 'use of a listener or a route',
  resolver: 'use of a listener or a route',
};

function misplaced(name: string, kind: PartKind): string {
  return `${JSON.stringify(name)} is a ${kind}: expected it in ${LOCATIONS[kind]}`;
}

function unknownPart(name: string, kinds: readonly PartKind[], offered: OfferedParts): string {
  const known = Array.from(offered).flatMap(([one, { kind }]) => (kinds.includes(kind) ? [one] : []));
  const found = `expected a ${kinds.join(' or ')} that a plugin offers, found ${JSON.stringify(name)}`;
  if (known.length === 0) return `${found}; no plugin offers one`;
  const nearest = closestMatch(name, known, { maxDistance: Math.max(1, Math.floor(name.length / 2)) });
  return nearest === undefined
    ? `${found}; known ones are ${known.join(', ')}`
    : `${found}: did you mean ${JSON.stringify(nearest)}?`;
}
