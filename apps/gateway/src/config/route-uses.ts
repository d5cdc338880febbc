import type { PartUse, Problem, Route } from '@meshgate/core';
import type { PluginParts } from '@meshgate/core/parts';
import { closestMatch } from 'leven';
import { problemsOf } from './plugin-problems.ts';

/** What plugins offer to routes. */
type Offered = Pick<PluginParts, 'offeredLayers' | 'offeredBalances'>;

/** What is wrong with the parts of plugins that `routes` use, at the places where these are written. Makes each of them once. */
export function useProblems(routes: readonly Route[], { offeredLayers, offeredBalances }: Offered): readonly Problem[] {
  const balances = new Map(
    Array.from(offeredBalances, ([name, make]) => [name, (settings: PartUse['settings']) => make(settings, IDLE)]),
  );
  return routes.flatMap(({ use = [], balance }) => [
    ...use.flatMap((one) => problemsWith(one, 'layer', offeredLayers)),
    ...(typeof balance === 'object' ? problemsWith(balance, 'balance', balances) : []),
  ]);
}

/** For pickers that are made to see whether their settings are right. */
const IDLE = { load: () => 0, random: () => 0 };

function problemsWith(
  { name, settings, at }: PartUse,
  kind: 'layer' | 'balance',
  offered: ReadonlyMap<string, (settings: PartUse['settings']) => unknown>,
): readonly Problem[] {
  const place = at === undefined ? {} : { at };
  const make = offered.get(name);
  if (make === undefined) return [{ path: [], ...place, message: unknownPart(kind, name, Array.from(offered.keys())) }];
  try {
    make(settings);
    return [];
  } catch (reason) {
    return problemsOf(reason, `the ${kind} ${JSON.stringify(name)} refuses its settings`).map(({ message, path }) => ({
      path,
      ...place,
      message: path.length === 0 ? message : `${path.join('.')}: ${message}`,
    }));
  }
}

function unknownPart(kind: 'layer' | 'balance', name: string, known: readonly string[]): string {
  const found = `expected a ${kind} that a plugin offers, found ${JSON.stringify(name)}`;
  if (known.length === 0) return `${found}; no plugin offers one`;
  const nearest = closestMatch(name, known, { maxDistance: Math.max(1, Math.floor(name.length / 2)) });
  return nearest === undefined
    ? `${found}; known ones are ${known.join(', ')}`
    : `${found}: did you mean ${JSON.stringify(nearest)}?`;
}
