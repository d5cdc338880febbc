import { createHash } from 'node:crypto';
import { Cell } from '../watch/cell.ts';
import type { Route, RouteSnapshot, RouteSource } from './route.ts';

/** A source whose routes are those that it was last given. */
export interface StaticSource extends RouteSource {
  /**
   * From now on these are all the routes. They are copied; setting equal ones again changes nothing.
   *
   * @param warnings what is wrong at the moment although the routes are served, one sentence each
   */
  set(routes: readonly Route[], warnings?: readonly string[]): void;
  /** Makes every watch that is under way throw `error`. The routes stay: a watch that starts later yields them. */
  fail(error: Error): void;
}

/**
 * A source for programs that know their routes themselves: it starts with `routes`, and `set` replaces them.
 * A watch whose reader is slow skips what has been replaced meanwhile.
 *
 * @param name unique within the proxy; a metric label
 */
export function staticSource(name: string, routes: readonly Route[] = []): StaticSource {
  const changes = new Cell<StaticState>();
  let state: StaticState = { snapshot: snapshotOf(routes, []), failure: undefined };
  changes.set(state);
  return { name, watch, set, fail };

  function set(next: readonly Route[], warnings: readonly string[] = []): void {
    change({ snapshot: snapshotOf(next, warnings) });
  }

  function fail(error: Error): void {
    change({ failure: { error } });
  }

  function change(part: Partial<StaticState>): void {
    state = { ...state, ...part };
    changes.set(state);
  }

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    const before = state.failure;
    let version: string | undefined;
    for await (const { snapshot, failure } of changes.watch(signal)) {
      if (failure !== undefined && failure !== before) throw failure.error;
      if (snapshot.version !== version) yield snapshot;
      version = snapshot.version;
    }
  }
}

interface StaticState {
  readonly snapshot: RouteSnapshot;
  /** The last one: it ends the watches that were under way then. */
  readonly failure: { readonly error: Error } | undefined;
}

/** The version is a digest of the rest, so that versions are equal when and only when that is. */
function snapshotOf(routes: readonly Route[], warnings: readonly string[]): RouteSnapshot {
  const content = structuredClone({ routes, ...(warnings.length === 0 ? {} : { warnings }) });
  return {
    version: createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, VERSION_DIGITS),
    ...content,
  };
}

// 64 bits: enough to tell the contents of one process's life apart, short enough to read.
const VERSION_DIGITS = 16;
