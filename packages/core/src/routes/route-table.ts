import { atOnce } from '../watch/turns.ts';
import type { Route, RouteSnapshot } from './route.ts';

/** How a server name was found: by itself, by a suffix, or by `*`. */
export type MatchKind = 'exact' | 'suffix' | 'any';

/** One route that takes a server name. */
export interface Match {
  /** How it was found. */
  readonly kind: MatchKind;
  /** What the route claims: the name itself, `*.suffix` or `*`. */
  readonly pattern: string;
  /** The source that the route came from. */
  readonly source: string;
  /** The route itself. */
  readonly route: Route;
}

/** Which route takes which name, on all listeners or on one. */
interface NameIndex {
  /** By server name. */
  readonly exact: ReadonlyMap<string, Route>;
  /** By suffix without `*`: `.apps.example.com`. */
  readonly suffixes: ReadonlyMap<string, Route>;
  /** The route that takes any name. */
  readonly any: Route | undefined;
  /** The route that takes clients that send no name, or speak no known protocol. */
  readonly fallback: Route | undefined;
}

/** One source's routes, ready to be searched: those that hold on all listeners, and beside them those of single ones. Immutable. */
export interface RouteIndex extends NameIndex {
  /** The source's name. */
  readonly source: string;
  /** What was indexed. */
  readonly snapshot: RouteSnapshot;
  /** By listener. */
  readonly listeners: ReadonlyMap<string, NameIndex>;
  /** By route name. */
  readonly routes: ReadonlyMap<string, Route>;
}

/**
 * All sources' routes at one moment: immutable, swapped whole, read synchronously.
 * Exact beats suffix, the longer suffix beats the shorter, any suffix beats `*`; where two sources claim the same, the one listed
 * first wins; where two routes of one source do, the one that names the listener.
 */
export class RouteTable {
  /** One for each source that has routes, in order of precedence. */
  readonly indexes: readonly RouteIndex[];
  /** What is searched for connections of a listener that a route names: empty when none does, which is the usual case. */
  readonly #byListener: ReadonlyMap<string, readonly OwnedNames[]>;

  constructor(indexes: readonly RouteIndex[]) {
    this.indexes = indexes;
    const listeners = new Set(indexes.flatMap((index) => Array.from(index.listeners.keys())));
    this.#byListener = new Map(Array.from(listeners, (listener) => [listener, namesOf(indexes, listener)]));
  }

  /** The listeners that routes name. */
  get listeners(): readonly string[] {
    return Array.from(this.#byListener.keys());
  }

  /** How many routes there are, all sources together. */
  get size(): number {
    return this.indexes.reduce((sum, { routes }) => sum + routes.size, 0);
  }

  /**
   * The route that takes `serverName`.
   *
   * @param serverName lower case, without a trailing dot, as in `Hello.serverName`
   * @param listener whose connection it is; routes of single listeners are left out when absent
   */
  lookup(serverName: string, listener?: string): Route | undefined {
    const searched = this.#searched(listener);
    for (const { exact } of searched) {
      const route = exact.get(serverName);
      if (route !== undefined) return route;
    }
    return bySuffix(serverName, searched) ?? searched.find(({ any }) => any !== undefined)?.any;
  }

  /** The route that takes clients without a server name, and those of no known protocol. */
  fallback(listener?: string): Route | undefined {
    return this.#searched(listener).find(({ fallback }) => fallback !== undefined)?.fallback;
  }

  /** Every route that takes `serverName`, the one that `lookup` answers first. */
  matches(serverName: string, listener?: string): readonly Match[] {
    const searched = this.#searched(listener);
    return [
      ...matching(searched, { kind: 'exact', pattern: serverName }, ({ exact }) => exact.get(serverName)),
      ...suffixesOf(serverName).flatMap((suffix) =>
        matching(searched, { kind: 'suffix', pattern: `*${suffix}` }, ({ suffixes }) => suffixes.get(suffix)),
      ),
      ...matching(searched, { kind: 'any', pattern: '*' }, ({ any }) => any),
    ];
  }

  #searched(listener: string | undefined): readonly OwnedNames[] {
    if (this.#byListener.size === 0 || listener === undefined) return this.indexes;
    return this.#byListener.get(listener) ?? this.indexes;
  }
}

/** Names, and the source that they come from. */
interface OwnedNames extends NameIndex {
  readonly source: string;
}

/** In each source what names the listener goes before what holds on all. */
function namesOf(indexes: readonly RouteIndex[], listener: string): readonly OwnedNames[] {
  return indexes.flatMap((index) => {
    const own = index.listeners.get(listener);
    return own === undefined ? [index] : [{ ...own, source: index.source }, index];
  });
}

/** On the way of every connection: no generator, no list. */
function bySuffix(serverName: string, searched: readonly NameIndex[]): Route | undefined {
  if (!searched.some(({ suffixes }) => suffixes.size > 0)) return undefined;
  for (let dot = nextSuffix(serverName, 0); dot !== -1; dot = nextSuffix(serverName, dot)) {
    const suffix = serverName.slice(dot);
    for (const { suffixes } of searched) {
      const route = suffixes.get(suffix);
      if (route !== undefined) return route;
    }
  }
  return undefined;
}

function matching(
  searched: readonly OwnedNames[],
  claimed: Pick<Match, 'kind' | 'pattern'>,
  find: (names: NameIndex) => Route | undefined,
): readonly Match[] {
  return searched.flatMap((names) => {
    const route = find(names);
    return route === undefined ? [] : [{ ...claimed, source: names.source, route }];
  });
}

/** Where the next shorter suffix begins, with its dot; the name itself is none. -1 after the last. */
function nextSuffix(serverName: string, after: number): number {
  return serverName.indexOf('.', after + 1);
}

/** Longest first, each beginning with its dot. */
function suffixesOf(serverName: string): readonly string[] {
  const suffixes: string[] = [];
  for (let dot = nextSuffix(serverName, 0); dot !== -1; dot = nextSuffix(serverName, dot))
    suffixes.push(serverName.slice(dot));
  return suffixes;
}

// Between two looks at the clock: about a tenth of a millisecond's work.
const ROUTES_PER_STEP = 200;

/**
 * Indexes a snapshot in steps, so that the caller can yield the event loop in between: 100,000 routes take longer
 * than a connection should wait. A name claimed twice goes to the route listed first.
 */
export function* indexing(source: string, snapshot: RouteSnapshot): Generator<void, RouteIndex> {
  const general = new Names();
  const listeners = new Map<string, Names>();
  const routes = new Map<string, Route>();
  let untilPause = ROUTES_PER_STEP;
  for (const route of snapshot.routes) {
    routes.set(route.name, route);
    if (route.listeners === undefined) general.add(route);
    else for (const listener of route.listeners) namesIn(listeners, listener).add(route);
    untilPause -= 1;
    if (untilPause > 0) continue;
    untilPause = ROUTES_PER_STEP;
    yield;
  }
  const { exact, suffixes, any, fallback } = general;
  return { source, snapshot, exact, suffixes, any, fallback, listeners, routes };
}

/** A {@link NameIndex} in the making: the route listed first wins. */
class Names implements NameIndex {
  readonly exact = new Map<string, Route>();
  readonly suffixes = new Map<string, Route>();
  any: Route | undefined;
  fallback: Route | undefined;

  add(route: Route): void {
    for (const name of route.serverNames) {
      if (name === '*') this.any ??= route;
      else if (name.startsWith('*.')) claim(this.suffixes, name.slice(1), route);
      else claim(this.exact, name, route);
    }
    if (route.fallback === true) this.fallback ??= route;
  }
}

function namesIn(listeners: Map<string, Names>, listener: string): Names {
  const known = listeners.get(listener);
  if (known !== undefined) return known;
  const names = new Names();
  listeners.set(listener, names);
  return names;
}

function claim(names: Map<string, Route>, name: string, route: Route): void {
  if (!names.has(name)) names.set(name, route);
}

/** {@link indexing} in one go, where no connection waits: tests, `--check`, the command line. */
export function indexRoutes(source: string, snapshot: RouteSnapshot): RouteIndex {
  return atOnce(indexing(source, snapshot));
}
