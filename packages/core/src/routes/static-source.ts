import { createHash } from 'node:crypto';
import { Cell } from '../watch/cell.ts';
import type { Route, RouteSnapshot, RouteSource } from './route.ts';

/** A source with routes set by the program. */
export interface StaticSource extends RouteSource {
  /**
   * Replaces all routes. They are copied; setting equal routes has no effect.
   *
   * @param warnings current problems although the routes are served, one sentence each
   */
  set(routes: readonly Route[], warnings?: readonly string[]): void;
  /** Makes every active watch throw `error`. The routes stay: later watches yield them. */
  fail(error: Error): void;
}

/**
 * Creates a source for programs that provide routes themselves: it starts with `routes`, and `set` replaces them. A
 * slow reader of a watch skips snapshots that have been replaced in the meantime.
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
  /** The last failure: it ends the watches that were active then. */
  readonly failure: { readonly error: Error } | undefined;
}

/** The version is a digest of the content: equal versions mean equal content. */
function snapshotOf(routes: readonly Route[], warnings: readonly string[]): RouteSnapshot {
  const content = structuredClone({ routes, ...(warnings.length === 0 ? {} : { warnings }) });
  return {
    version: createHash('sha256').update(JSON.stringify(content)).digest('hex').slice(0, VERSION_DIGITS),
    ...content,
  };
}

// 64 bits: enough to distinguish all contents within one process, short enough to read.
const VERSION_DIGITS = 16;
