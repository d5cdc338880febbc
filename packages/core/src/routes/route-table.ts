import { atOnce } from '../watch/turns.ts';
import type { Route, RouteSnapshot } from './route.ts';

/** Kind of match: the exact name, a suffix, or `*`. */
export type MatchKind = 'exact' | 'suffix' | 'any';

/** A route that matches a server name. */
export interface Match {
  /** The kind of match. */
  readonly kind: MatchKind;
  /** The matching pattern of the route: the name itself, `*.suffix` or `*`. */
  readonly pattern: string;
  /** The source of the route. */
  readonly source: string;
  /** The route itself. */
  readonly route: Route;
}

/** Routes by name, for all listeners or for one. */
interface NameIndex {
  /** By server name. */
  readonly exact: ReadonlyMap<string, Route>;
  /** By suffix, without the `*`: `.apps.example.com`. */
  readonly suffixes: ReadonlyMap<string, Route>;
  /** The route that matches any name. */
  readonly any: Route | undefined;
  /** The route for clients that send no name or use an unknown protocol. */
  readonly fallback: Route | undefined;
}

/** The routes of one source, indexed: those for all listeners, and separately those for single listeners. Immutable. */
export interface RouteIndex extends NameIndex {
  /** The source's name. */
  readonly source: string;
  /** The indexed snapshot. */
  readonly snapshot: RouteSnapshot;
  /** By listener name. */
  readonly listeners: ReadonlyMap<string, NameIndex>;
  /** By route name. */
  readonly routes: ReadonlyMap<string, Route>;
}

/**
 * The routes of all sources at one moment: immutable, replaced as a whole, read synchronously. Exact beats suffix, the
 * longer suffix beats the shorter, any suffix beats `*`. If two sources claim the same pattern, the one listed first
 * wins; if two routes of one source do, the one that names the listener wins.
 */
export class RouteTable {
  /** One index for each source with routes, in order of precedence. */
  readonly indexes: readonly RouteIndex[];
  /** Indexes to search, for each listener that a route names; usually empty. */
  readonly #byListener: ReadonlyMap<string, readonly OwnedNames[]>;

  constructor(indexes: readonly RouteIndex[]) {
    this.indexes = indexes;
    const listeners = new Set(indexes.flatMap((index) => Array.from(index.listeners.keys())));
    this.#byListener = new Map(Array.from(listeners, (listener) => [listener, namesOf(indexes, listener)]));
  }

  /** Names of the listeners that routes name. */
  get listeners(): readonly string[] {
    return Array.from(this.#byListener.keys());
  }

  /** Number of routes of all sources. */
  get size(): number {
    return this.indexes.reduce((sum, { routes }) => sum + routes.size, 0);
  }

  /**
   * Returns the route that matches `serverName`.
   *
   * @param serverName lower case, without a trailing dot, as in `Hello.serverName`
   * @param listener name of the connection's listener; when absent, routes for single listeners are ignored
   */
  lookup(serverName: string, listener?: string): Route | undefined {
    const searched = this.#searched(listener);
    for (const { exact } of searched) {
      const route = exact.get(serverName);
      if (route !== undefined) return route;
    }
    return bySuffix(serverName, searched) ?? searched.find(({ any }) => any !== undefined)?.any;
  }

  /** Returns the route for clients without a server name and for those with an unknown protocol. */
  fallback(listener?: string): Route | undefined {
    return this.#searched(listener).find(({ fallback }) => fallback !== undefined)?.fallback;
  }

  /** Returns every match of `serverName`, in order of precedence: the first is the result of `lookup`. */
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

/** A name index with the name of its source. */
interface OwnedNames extends NameIndex {
  readonly source: string;
}

/** Within each source, routes that name the listener precede routes for all listeners. */
function namesOf(indexes: readonly RouteIndex[], listener: string): readonly OwnedNames[] {
  return indexes.flatMap((index) => {
    const own = index.listeners.get(listener);
    return own === undefined ? [index] : [{ ...own, source: index.source }, index];
  });
}

/** Runs for every connection: allocates no generator and no list. */
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

/** Index of the dot before the next shorter suffix, or -1 if there is none, or the text is too long to be a name. */
function nextSuffix(serverName: string, after: number): number {
  return serverName.length > MAX_NAME_CHARS ? -1 : serverName.indexOf('.', after + 1);
}

/**
 * RFC 1035, section 2.3.4. A sniffer of a plugin may return longer texts, in which the client chooses the number of
 * dots.
 */
const MAX_NAME_CHARS = 253;

/** Suffixes of a name, longest first, each with its leading dot. */
function suffixesOf(serverName: string): readonly string[] {
  const suffixes: string[] = [];
  for (let dot = nextSuffix(serverName, 0); dot !== -1; dot = nextSuffix(serverName, dot))
    suffixes.push(serverName.slice(dot));
  return suffixes;
}

// Between two yields: about 0.1 ms of work.
const ROUTES_PER_STEP = 200;

/**
 * Indexes a snapshot in steps, so that the caller can yield to the event loop in between: 100,000 routes take longer
 * than a connection should wait. If a name is claimed twice, the route listed first wins.
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

/** A mutable {@link NameIndex}: the route listed first wins. */
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
