import type { LayerFactory, PartUse, Problem, Route } from '@meshgate/core';
import { closestMatch } from 'leven';
import { problemsOf } from './plugin-problems.ts';

/** What is wrong with the parts of plugins that `routes` use, at the places where these are written. Makes each of them once. */
export function useProblems(routes: readonly Route[], offered: ReadonlyMap<string, LayerFactory>): readonly Problem[] {
  return routes.flatMap(({ use = [] }) => use.flatMap((one) => problemsWith(one, offered)));
}

function problemsWith({ name, settings, at }: PartUse, offered: ReadonlyMap<string, LayerFactory>): readonly Problem[] {
  const place = at === undefined ? {} : { at };
  const make = offered.get(name);
  if (make === undefined) return [{ path: [], ...place, message: unknownLayer(name, Array.from(offered.keys())) }];
  try {
    make(settings);
    return [];
  } catch (reason) {
    return problemsOf(reason, `the layer ${JSON.stringify(name)} refuses its settings`).map(({ message, path }) => ({
      path,
      ...place,
      message: path.length === 0 ? message : `${path.join('.')}: ${message}`,
    }));
  }
}

function unknownLayer(name: string, known: readonly string[]): string {
  const found = `expected a layer that a plugin offers, found ${JSON.stringify(name)}`;
  if (known.length === 0) return `${found}; no plugin offers one`;
  const nearest = closestMatch(name, known, { maxDistance: Math.max(1, Math.floor(name.length / 2)) });
  return nearest === undefined
    ? `${found}; known ones are ${known.join(', ')}`
    : `${found}: did you mean ${JSON.stringify(nearest)}?`;
}
