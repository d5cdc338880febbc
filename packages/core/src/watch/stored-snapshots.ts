import { judgingSnapshot } from '../routes/snapshot-problems.ts';
import { errorOf, systemCode } from '../errors.ts';
import { Cell } from './cell.ts';
import { STOP_MS } from './follow.ts';
import { openScope, settlesWithin } from './scope.ts';
import { versionOf } from './source-follower.ts';
import { inTurns } from './turns.ts';
import type { ListenAddress, ListenerSource, RouteSnapshot, RouteSource } from '../routes/route.ts';

/** A stored snapshot. */
export interface StoredSnapshot {
  /** The source's last snapshot. */
  readonly snapshot: RouteSnapshot;
  /** Time of the save. */
  readonly savedAt: Date;
}

/** Persistent storage for the last snapshot of each source. */
export interface SnapshotStore {
  /** Loads the stored snapshot, or `undefined` if there is none. Rejects if it cannot be read. */
  load(source: string): Promise<StoredSnapshot | undefined>;
  /** Replaces the stored snapshot, atomically. One call at a time per source. */
  save(source: string, snapshot: RouteSnapshot): Promise<void>;
  /**
   * Whether the stored snapshot still exists: its folder may have been deleted. Never rejects. Omit it if stored
   * snapshots cannot disappear.
   */
  isKept?(source: string): Promise<boolean>;
}

/** Persistent storage for the last list of each listener source. The contract is that of {@link SnapshotStore}. */
export interface ListenerStore {
  /** Loads the stored list, or `undefined` if there is none. */
  load(source: string): Promise<readonly ListenAddress[] | undefined>;
  /** Replaces the stored list. */
  save(source: string, addresses: readonly ListenAddress[]): Promise<void>;
  /** Whether the stored list still exists. */
  isKept?(source: string): Promise<boolean>;
}

// A healthy local agent or disk responds in a fraction of this.
const PATIENCE_MS = 1_000;
// Operators free disk space or mount a folder again by hand.
const KEEP_AGAIN_MS = 5_000;

/** Timing of a source with storage, in milliseconds. */
export interface StoreTimes {
  /** How long a source may be silent at the start before the stored data is used; 1 s when absent. */
  readonly patienceMs?: number;
  /** Interval of checks that the last data is stored; 5 s when absent. */
  readonly keepAgainMs?: number;
}

/**
 * Adds storage to `source`: if it fails or is silent at the start, the stored snapshot is used in the meantime, with a
 * warning. Every new valid snapshot is stored. While saving fails, a warning reports it; a failure to load is a failure
 * of the source. Neither removes routes.
 */
export function lastKnownGood(source: RouteSource, store: SnapshotStore, times: StoreTimes = {}): RouteSource {
  const { name } = source;
  const storage: Storage<RouteSnapshot> = {
    load,
    save: (snapshot) => store.save(name, snapshot),
    isKept: async () => store.isKept?.(name),
    reportsUnreadable: true,
    isRepeated: (snapshot, last) => versionOf(snapshot) === last.version,
    // Snapshots that will be refused are not stored. A copy: a source may reuse the yielded object.
    toStore: async (snapshot) =>
      (await isUsable(snapshot)) && snapshot.asOf === undefined ? { ...snapshot } : undefined,
    unstored: (snapshot, failure) =>
      warned(
        snapshot,
        `routes cannot be stored for the next start: ${failure.message}`,
        `not stored: ${systemCode(failure) ?? failure.name}`,
      ),
  };
  return { name, watch: withStorage(source, times, storage) };

  async function load(): Promise<RouteSnapshot | undefined> {
    const stored = await store.load(name).catch((cause: unknown) => {
      throw new Error(`no response yet, and the stored routes cannot be read: ${errorOf(cause).message}`, { cause });
    });
    if (stored === undefined) return undefined;
    const { snapshot, savedAt: asOf } = stored;
    const warning = `no response yet, using routes stored on ${asOf.toISOString()}`;
    return { ...warned(snapshot, warning, 'kept'), asOf };
  }
}

/**
 * Adds storage to a listener source: stored routes are useless without listeners. Errors of the store are reported by
 * the route source; here a list that cannot be saved or loaded counts as absent.
 */
export function lastKnownListeners(
  source: ListenerSource,
  store: ListenerStore,
  times: StoreTimes = {},
): ListenerSource {
  const { name } = source;
  const storage: Storage<readonly ListenAddress[]> = {
    load: () => store.load(name),
    save: (addresses) => store.save(name, addresses),
    isKept: async () => store.isKept?.(name),
    toStore: (addresses) => Promise.resolve(addresses),
  };
  return { name, watch: withStorage(source, times, storage) };
}

/** Storage of the values of one source. */
interface Storage<T> {
  /** Loads the value to yield while the source yields nothing. Rejects if it cannot be read; it is called again then. */
  load(): Promise<T | undefined>;
  /** Whether an unreadable store counts as a failure of the source, once; otherwise it is ignored. */
  readonly reportsUnreadable?: true;
  save(value: T): Promise<void>;
  /** Whether the stored value still exists; `undefined` if the store cannot tell. */
  isKept(): Promise<boolean | undefined>;
  /** Whether `value` is a sign of life, equal to the `last` one, which needs no save. None is when absent. */
  isRepeated?(value: T, last: T): boolean;
  /** Returns what to save of `value`; `undefined`: nothing. */
  toStore(value: T): Promise<T | undefined>;
  /** Adds a warning to a value that could not be saved. Not reported when absent. */
  unstored?(value: T, failure: Error): T;
}

/** Saves the values of one watch. */
class Keeper<T> {
  readonly #storage: Storage<T>;
  /** The last value to save. */
  #last: T | undefined;
  /** Why it is not saved. */
  #failure: Error | undefined;

  constructor(storage: Storage<T>) {
    this.#storage = storage;
  }

  /** Yields and saves a value of the source. Yields it again if its warnings change. */
  async *keep(value: T): AsyncGenerator<T> {
    const isRepeated = this.#last !== undefined && this.#storage.isRepeated?.(value, this.#last) === true;
    yield isRepeated ? this.#shown(value) : value;
    const stored = isRepeated ? undefined : await this.#storage.toStore(value);
    if (stored === undefined) return;
    this.#last = stored;
    this.#failure = undefined;
    yield* this.#save(stored);
  }

  /**
   * Saves the last value again if that failed, or if the stored one has disappeared; yields it if its warnings change.
   */
  async *keepAgain(): AsyncGenerator<T> {
    if (this.#last === undefined) return;
    const isKept = this.#failure === undefined && ((await this.#storage.isKept()) ?? true);
    if (!isKept) yield* this.#save(this.#last);
  }

  async *#save(value: T): AsyncGenerator<T> {
    const before = this.#failure?.message;
    this.#failure = await this.#storage.save(value).then(() => undefined, errorOf);
    if (this.#storage.unstored !== undefined && this.#failure?.message !== before) yield this.#shown(value);
  }

  #shown(value: T): T {
    return this.#failure === undefined ? value : (this.#storage.unstored?.(value, this.#failure) ?? value);
  }
}

/**
 * Returns a `watch` with storage for `source`. The stored value is yielded once in the life of the process, before the
 * first value of the source, and never replaces one.
 */
function withStorage<T>(
  source: { watch(signal: AbortSignal): AsyncIterable<T> },
  { patienceMs = PATIENCE_MS, keepAgainMs = KEEP_AGAIN_MS }: StoreTimes,
  storage: Storage<T>,
): (signal: AbortSignal) => AsyncGenerator<T> {
  let isKnown = false;
  let isReported = false;
  return async function* watch(signal) {
    const keeper = new Keeper(storage);
    const scope = openScope(signal);
    const values = source.watch(scope.signal)[Symbol.asyncIterator]();
    const readNext = async (): Promise<IteratorResult<T>> => values.next();
    let hasEnded = false;
    try {
      let next = readNext();
      let settled = whenSettled(next);
      if (!isKnown && !(await responses(next, patienceMs)) && !signal.aborted) yield* restored();
      for (;;) {
        await settled.changed(0, signal, keepAgainMs);
        if (settled.revision === 0 && !signal.aborted) {
          yield* isKnown ? keeper.keepAgain() : restored();
          continue;
        }
        // After a failure there is nothing to return from.
        hasEnded = true;
        const result = await next;
        if (result.done === true) return;
        hasEnded = false;
        isKnown = true;
        yield* keeper.keep(result.value);
        next = readNext();
        settled = whenSettled(next);
      }
    } finally {
      // The only way to stop a source that has not yielded yet.
      scope.end();
      if (!hasEnded) await settlesWithin(leave(values), STOP_MS);
    }

    /**
     * Loads again later if the store could not be read. The failure counts as one of the source only once, since the
     * source is not restarted for it.
     */
    async function* restored(): AsyncGenerator<T> {
      try {
        const stored = await storage.load();
        if (stored !== undefined) yield stored;
        isKnown = true;
      } catch (reason) {
        if (isReported || storage.reportsUnreadable !== true) return;
        isReported = true;
        throw reason;
      }
    }
  };
}

async function leave(values: AsyncIterator<unknown>): Promise<void> {
  await values.return?.(undefined);
}

/** Returns a cell that is set once `work` has settled: unlike a promise, it does not retain each of many waits. */
function whenSettled(work: Promise<unknown>): Cell<true> {
  const cell = new Cell<true>();
  const settle = (): void => cell.set(true);
  work.then(settle, settle);
  return cell;
}

/** Whether the source yields in time. A failure is not a response; awaiting the value throws it later. */
async function responses(first: Promise<unknown>, patienceMs: number): Promise<boolean> {
  const isSettled = await settlesWithin(first, patienceMs);
  return (
    isSettled &&
    first.then(
      () => true,
      () => false,
    )
  );
}

/**
 * Whether a snapshot can be stored: sources may be plain JavaScript, and yield an invalid snapshot or one that throws
 * when it is read.
 */
async function isUsable(snapshot: unknown): Promise<boolean> {
  try {
    return (await inTurns(judgingSnapshot(snapshot))).every(({ severity }) => severity !== 'error');
  } catch {
    return false;
  }
}

/**
 * @param mark distinguishes its version from that of the snapshot without the warning, which has the same routes
 */
function warned(snapshot: RouteSnapshot, warning: string, mark: string): RouteSnapshot {
  return {
    ...snapshot,
    version: `${snapshot.version} (${mark})`,
    warnings: [...(snapshot.warnings ?? []), warning],
  };
}
