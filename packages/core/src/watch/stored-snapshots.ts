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
  return {
    name: source.name,
    watch: withStoredCopy(source, times, () => {
      const keeper = new SnapshotKeeper(source.name, store);
      return {
        restore,
        reportsUnreadable: true,
        keep: (snapshot) => keeper.keep(snapshot),
        keepAgain: () => keeper.keepAgain(),
      };
    }),
  };

  /** Throws if the stored snapshot cannot be read. */
  async function* restore(): AsyncGenerator<RouteSnapshot> {
    const stored = await store.load(source.name).catch((cause: unknown) => {
      throw new Error(`no response yet, and the stored routes cannot be read: ${errorOf(cause).message}`, { cause });
    });
    if (stored === undefined) return;
    const { snapshot, savedAt: asOf } = stored;
    const warning = `no response yet, using routes stored on ${asOf.toISOString()}`;
    yield { ...warned(snapshot, warning, 'kept'), asOf };
  }
}

/** Stores the snapshots of one source, and adds a warning to the last one while it cannot be stored. */
class SnapshotKeeper {
  readonly #source: string;
  readonly #store: SnapshotStore;
  /** The last snapshot to store. */
  #last: RouteSnapshot | undefined;
  /** Why it is not stored. */
  #failure: Error | undefined;

  constructor(source: string, store: SnapshotStore) {
    this.#source = source;
    this.#store = store;
  }

  /** Yields and stores a snapshot. A source may repeat a snapshot as a sign of life: that needs no save. */
  async *keep(snapshot: RouteSnapshot): AsyncGenerator<RouteSnapshot> {
    const isRepeated = this.#last !== undefined && versionOf(snapshot) === this.#last.version;
    yield isRepeated ? this.#shown(snapshot) : snapshot;
    // Snapshots that will be refused are not stored.
    if (isRepeated || !(await isUsable(snapshot)) || snapshot.asOf !== undefined) return;
    // A copy: a source may reuse the yielded object.
    this.#last = { ...snapshot };
    this.#failure = undefined;
    if (await this.#hasChanged()) yield this.#shown(snapshot);
  }

  async *keepAgain(): AsyncGenerator<RouteSnapshot> {
    if (this.#last === undefined) return;
    const isKept = this.#failure === undefined && ((await this.#store.isKept?.(this.#source)) ?? true);
    if (!isKept && (await this.#hasChanged())) yield this.#shown(this.#last);
  }

  /** Stores the last snapshot. @returns whether success, or the reason for the failure, has changed */
  async #hasChanged(): Promise<boolean> {
    if (this.#last === undefined) return false;
    const before = this.#failure?.message;
    this.#failure = await this.#store.save(this.#source, this.#last).then(() => undefined, errorOf);
    return this.#failure?.message !== before;
  }

  #shown(snapshot: RouteSnapshot): RouteSnapshot {
    if (this.#failure === undefined) return snapshot;
    const { message } = this.#failure;
    return warned(
      snapshot,
      `routes cannot be stored for the next start: ${message}`,
      `not stored: ${systemCode(this.#failure) ?? this.#failure.name}`,
    );
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
  return { name: source.name, watch: withStoredCopy(source, times, listenerCopy) };

  function listenerCopy(): StoredCopy<readonly ListenAddress[]> {
    let last: readonly ListenAddress[] | undefined;
    let isKept = true;
    return { restore, keep, keepAgain };

    async function* keep(addresses: readonly ListenAddress[]): AsyncGenerator<readonly ListenAddress[]> {
      yield addresses;
      last = addresses;
      await save(last);
    }

    // oxlint-disable-next-line require-yield -- it has nothing to add to what was yielded
    async function* keepAgain(): AsyncGenerator<readonly ListenAddress[]> {
      if (last !== undefined && !(isKept && ((await store.isKept?.(source.name)) ?? true))) await save(last);
    }

    async function save(addresses: readonly ListenAddress[]): Promise<void> {
      isKept = await store.save(source.name, addresses).then(
        () => true,
        () => false,
      );
    }
  }

  async function* restore(): AsyncGenerator<readonly ListenAddress[]> {
    const kept = await store.load(source.name);
    if (kept !== undefined) yield kept;
  }
}

interface StoredCopy<T> {
  /** Yields the stored value while the source yields nothing. Throws if it cannot be read; it is called again then. */
  restore(): AsyncIterable<T>;
  /** Whether an unreadable store counts as a failure of the source, once; otherwise it is ignored. */
  readonly reportsUnreadable?: true;
  /** Stores a value of the source. Yields it, and again if a failure to store it changes its warnings. */
  keep(value: T): AsyncIterable<T>;
  /**
   * Stores the last value again if that failed, or if the stored one has disappeared; yields it if its warnings change.
   */
  keepAgain(): AsyncIterable<T>;
}

/**
 * Returns a `watch` with storage for `source`. The stored value is yielded once in the life of the process, before the
 * first value of the source, and never replaces one.
 *
 * @param copy called for each watch
 */
function withStoredCopy<T>(
  source: { watch(signal: AbortSignal): AsyncIterable<T> },
  { patienceMs = PATIENCE_MS, keepAgainMs = KEEP_AGAIN_MS }: StoreTimes,
  copy: () => StoredCopy<T>,
): (signal: AbortSignal) => AsyncGenerator<T> {
  let isKnown = false;
  let isReported = false;
  return async function* watch(signal) {
    const { restore, reportsUnreadable = false, keep, keepAgain } = copy();
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
          yield* isKnown ? keepAgain() : restored();
          continue;
        }
        // After a failure there is nothing to return from.
        hasEnded = true;
        const result = await next;
        if (result.done === true) return;
        hasEnded = false;
        isKnown = true;
        yield* keep(result.value);
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
        yield* restore();
        isKnown = true;
      } catch (reason) {
        if (isReported || !reportsUnreadable) return;
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
