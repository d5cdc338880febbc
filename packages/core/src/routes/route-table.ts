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

/** One source's routes, ready to be searched. Immutable. */
export interface RouteIndex {
  /** The source's name. */
  readonly source: string;
  /** What was indexed. */
  readonly snapshot: RouteSnapshot;
  /** By server name. */
  readonly exact: ReadonlyMap<string, Route>;
  /** By suffix without `*`: `.apps.example.com`. */
  readonly suffixes: ReadonlyMap<string, Route>;
  /** The route that takes any name. */
  readonly any: Route | undefined;
  /** By route name. */
  readonly routes: ReadonlyMap<string, Route>;
}

/**
 * All sources' routes at one moment: immutable, swapped whole, read synchronously.
 * Exact beats suffix, the longer suffix beats the shorter, any suffix beats `*`; where two sources claim the same, the one listed
 * first wins.
 */
export class RouteTable {
  /** One for each source that has routes, in order of precedence. */
  readonly indexes: readonly RouteIndex[];
  readonly #hasSuffixes: boolean;

  constructor(indexes: readonly RouteIndex[]) {
    this.indexes = indexes;
    this.#hasSuffixes = indexes.some(({ suffixes }) => suffixes.size > 0);
  }

  /** How many routes there are, all sources together. */
  get size(): number {
    return this.indexes.reduce((sum, { routes }) => sum + routes.size, 0);
  }

  /**
   * The route that takes `serverName`.
   *
   * @param serverName lower case, without a trailing dot, as in `Hello.serverName`
   */
  lookup(serverName: string): Route | undefined {
    for (const { exact } of this.indexes) {
      const route = exact.get(serverName);
      if (route !== undefined) return route;
    }
    return this.#bySuffix(serverName) ?? this.#byAny();
  }

  /** Every route that takes `serverName`, the one that `lookup` answers first. */
  matches(serverName: string): readonly Match[] {
    return [
      ...this.#matching('exact', serverName, ({ exact }) => exact.get(serverName)),
      ...suffixesOf(serverName).flatMap((suffix) =>
        this.#matching('suffix', `*${suffix}`, ({ suffixes }) => suffixes.get(suffix)),
      ),
      ...this.#matching('any', '*', ({ any }) => any),
    ];
  }

  /** On the way of every connection: no generator, no list. */
  #bySuffix(serverName: string): Route | undefined {
    if (!this.#hasSuffixes) return undefined;
    for (let dot = nextSuffix(serverName, 0); dot !== -1; dot = nextSuffix(serverName, dot)) {
      const suffix = serverName.slice(dot);
      for (const { suffixes } of this.indexes) {
        const route = suffixes.get(suffix);
        if (route !== undefined) return route;
      }
    }
    return undefined;
  }

  #byAny(): Route | undefined {
    return this.indexes.find(({ any }) => any !== undefined)?.any;
  }

  #matching(kind: MatchKind, pattern: string, find: (index: RouteIndex) => Route | undefined): Match[] {
    return this.indexes.flatMap((index) => {
      const route = find(index);
      return route === undefined ? [] : [{ kind, pattern, source: index.source, route }];
    });
  }
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
 * Indexes a snapshot step by step, so that whoever runs it can let others have their turn in between: 100,000 routes take longer
 * than a connection should wait. A name claimed twice goes to the route listed first.
 */
export function* indexing(source: string, snapshot: RouteSnapshot): Generator<void, RouteIndex> {
  const exact = new Map<string, Route>();
  const suffixes = new Map<string, Route>();
  const routes = new Map<string, Route>();
  let any: Route | undefined;
  let untilPause = ROUTES_PER_STEP;
  for (const route of snapshot.routes) {
    routes.set(route.name, route);
    for (const name of route.serverNames) {
      if (name === '*') any ??= route;
      else if (name.startsWith('*.')) claim(suffixes, name.slice(1), route);
      else claim(exact, name, route);
    }
    untilPause -= 1;
    if (untilPause > 0) continue;
    untilPause = ROUTES_PER_STEP;
    yield;
  }
  return { source, snapshot, exact, suffixes, any, routes };
}

function claim(names: Map<string, Route>, name: string, route: Route): void {
  if (!names.has(name)) names.set(name, route);
}

/** {@link indexing} in one go, for tables that nobody waits for: tests, `--check`, the command line. */
export function indexRoutes(source: string, snapshot: RouteSnapshot): RouteIndex {
  const steps = indexing(source, snapshot);
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
  }
}
