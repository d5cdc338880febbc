import type { ConnectionFilter, Problem } from '@meshgate/core';
import { postgres, proxyProtocol } from '@meshgate/filters';
import type { ListenerSettings } from './config-schema.ts';

/** Filters that listeners may name without a plugin; those with settings have a key of their own. */
const BUILT_IN: readonly ConnectionFilter[] = [postgres()];

/** The name by which clients of PostgreSQL are served: what it asks of them is then asked of backends, too. */
export const POSTGRES_FILTER: string = postgres().name;

const NONE: readonly ConnectionFilter[] = [];

/**
 * The filters of each listener, in their order; the PROXY protocol is always first, since it comes first on the wire.
 *
 * @param added those of plugins
 * @returns `undefined` when no listener has any
 */
export function filtersByListener(
  listeners: readonly ListenerSettings[],
  added: readonly ConnectionFilter[],
): ((listener: string) => readonly ConnectionFilter[]) | undefined {
  const known = byName(added);
  const filters = new Map<string, readonly ConnectionFilter[]>();
  for (const { name, filters: names = [], proxyProtocol: trusted } of listeners) {
    const named = names.flatMap((each) => known.get(each) ?? []);
    const all = trusted === undefined ? named : [proxyProtocol(trusted), ...named];
    if (all.length > 0) filters.set(name, all);
  }
  return filters.size === 0 ? undefined : (listener) => filters.get(listener) ?? NONE;
}

/** Names that no filter has. */
export function filterProblems(
  listeners: readonly ListenerSettings[],
  added: readonly ConnectionFilter[],
): readonly Problem[] {
  const known = byName(added);
  const names = [...known.keys()].join(', ');
  return listeners.flatMap(({ filters = [] }, listener) =>
    filters.flatMap((name, index): readonly Problem[] =>
      known.has(name)
        ? []
        : [
            {
              message: `expected one of ${names}, found ${JSON.stringify(name)}`,
              path: ['listeners', listener, 'filters', index],
            },
          ],
    ),
  );
}

/** The first of a name has it: ours before those of plugins. */
function byName(added: readonly ConnectionFilter[]): ReadonlyMap<string, ConnectionFilter> {
  const known = new Map<string, ConnectionFilter>();
  for (const filter of [...BUILT_IN, ...added]) if (!known.has(filter.name)) known.set(filter.name, filter);
  return known;
}
