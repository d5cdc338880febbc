import { judgingSnapshot } from '../routes/snapshot-problems.ts';
import { errorOf } from '../errors.ts';
import { Cell } from './cell.ts';
import { openScope, settlesWithin } from './scope.ts';
import { versionOf } from './source-follower.ts';
import { inTurns } from './turns.ts';
import type { ListenAddress, ListenerSource, RouteSnapshot, RouteSource } from '../routes/route.ts';

/** A snapshot as it was kept. */
export interface StoredSnapshot {
  /** What the source yielded last. */
  readonly snapshot: RouteSnapshot;
  /** When it was kept. */
  readonly savedAt: Date;
}

/** Remembers each source's last snapshot beyond the life of the process. */
export interface SnapshotStore {
  /** `undefined` when nothing is kept. Rejects when what is kept cannot be read. */
  load(source: string): Promise<StoredSnapshot | undefined>;
  /** Replaces what is kept, whole or not at all. One call at a time for each source. */
  save(source: string, snapshot: RouteSnapshot): Promise<void>;
  /** Whether something is kept still: its folder may have been deleted. Absent: what was kept stays. Never rejects. */
  isKept?(source: string): Promise<boolean>;
}

/** Remembers what each listener source listed last. The same obligations as {@link SnapshotStore}. */
export interface ListenerStore {
  /** `undefined` when nothing is kept. */
  load(source: string): Promise<readonly ListenAddress[] | undefined>;
  /** Replaces what is kept. */
  save(source: string, addresses: readonly ListenAddress[]): Promise<void>;
  /** Whether something is kept still. */
  isKept?(source: string): Promise<boolean>;
}

// A healthy local agent or disk answers in a fraction of this.
const PATIENCE_MS = 1_000;
// Room is made, or a folder mounted again, by people.
const KEEP_AGAIN_MS = 5_000;

/** How patient a source with a memory is, in milliseconds. */
export interface StoreTimes {
  /** Until a source that is silent at the start is replaced by what was kept; 1 s when absent. */
  readonly patienceMs?: number;
  /** Between looks at whether everything is kept; 5 s when absent. */
  readonly keepAgainMs?: number;
}

/**
 * `source` with a memory: when it fails or is silent at the start, what `store` kept is used meanwhile, and says so as a warning. Every
 * new snapshot that can be used is kept. A store that cannot be written is a warning too, for as long as that is so, one that cannot be
 * read a failure of the source: neither takes routes away.
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

  /** Throws when what is kept cannot be read. */
  async function* restore(): AsyncGenerator<RouteSnapshot> {
    const stored = await store.load(source.name).catch((cause: unknown) => {
      throw new Error(`no response yet, and the routes kept cannot be read: ${errorOf(cause).message}`, { cause });
    });
    if (stored === undefined) return;
    const { snapshot, savedAt: asOf } = stored;
    const warning = `no response yet: routes are those kept on ${asOf.toISOString()}`;
    yield { ...warned(snapshot, warning, 'kept'), asOf };
  }
}

/** Keeps the snapshots of one source, and shows the last of them with a warning while it cannot be kept. */
class SnapshotKeeper {
  readonly #source: string;
  readonly #store: SnapshotStore;
  /** The last one that should be kept. */
  #last: RouteSnapshot | undefined;
  /** Why it is not. */
  #failure: Error | undefined;

  constructor(source: string, store: SnapshotStore) {
    this.#source = source;
    this.#store = store;
  }

  /** A source may repeat itself to say that it is alive: the disk need not hear of that. */
  async *keep(snapshot: RouteSnapshot): AsyncGenerator<RouteSnapshot> {
    const isRepeated = this.#last !== undefined && versionOf(snapshot) === this.#last.version;
    yield isRepeated ? this.#shown(snapshot) : snapshot;
    // What is refused is not kept.
    if (isRepeated || !(await isUsable(snapshot)) || snapshot.asOf !== undefined) return;
    this.#last = snapshot;
    this.#failure = undefined;
    if (await this.#hasChanged()) yield this.#shown(snapshot);
  }

  async *keepAgain(): AsyncGenerator<RouteSnapshot> {
    if (this.#last === undefined) return;
    const isKept = this.#failure === undefined && ((await this.#store.isKept?.(this.#source)) ?? true);
    if (!isKept && (await this.#hasChanged())) yield this.#shown(this.#last);
  }

  /** Keeps the last one. Whether it can be has changed, or why not. */
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
      `routes cannot be kept for the next start: ${message}`,
      `not kept: ${codeOf(this.#failure)}`,
    );
  }
}

/**
 * The same for listeners, without which routes kept are of no use. What goes wrong with the store is for the routes' source to report:
 * here a list that cannot be kept or read is as good as none.
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
  /** What to yield as long as the source itself yields nothing. Throws when that cannot be read, to be called again. */
  restore(): AsyncIterable<T>;
  /** Who is to hear of that: for once the source has failed. Nobody when absent. */
  readonly reportsUnreadable?: true;
  /** Keeps a value of the source. Yields it, and what follows from whether it could be kept. */
  keep(value: T): AsyncIterable<T>;
  /** Keeps the last value once more where that failed, or where it is kept no longer; what to yield then. */
  keepAgain(): AsyncIterable<T>;
}

/**
 * How to watch `source` with a memory. What it kept is yielded once in the life of the process, before the first value of the source,
 * and never replaces one.
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
    try {
      let next = values.next();
      let settled = whenSettled(next);
      if (!isKnown && !(await responses(next, patienceMs)) && !signal.aborted) yield* restored();
      for (;;) {
        await settled.changed(0, signal, keepAgainMs);
        if (settled.revision === 0 && !signal.aborted) {
          yield* isKnown ? keepAgain() : restored();
          continue;
        }
        const result = await next;
        if (result.done === true) return;
        isKnown = true;
        yield* keep(result.value);
        next = values.next();
        settled = whenSettled(next);
      }
    } finally {
      // The only way to stop a source that has not yielded yet.
      scope.end();
      await values.return?.(undefined);
    }

    /** A store that could not be read is read again later: its failure is one of the source only once, which is not restarted for it. */
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

/** Set once `work` has settled: it may be waited for any number of times, of which a promise would remember each. */
function whenSettled(work: Promise<unknown>): Cell<true> {
  const cell = new Cell<true>();
  const settle = (): void => cell.set(true);
  work.then(settle, settle);
  return cell;
}

/** Whether the source answers in time; a failure is no response, and is thrown later by whoever awaits it for its value. */
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

/** Sources are JavaScript: a snapshot that cannot be routed by, or that throws when it is read, is not stored. */
async function isUsable(snapshot: unknown): Promise<boolean> {
  try {
    return (await inTurns(judgingSnapshot(snapshot))).every(({ severity }) => severity !== 'error');
  } catch {
    return false;
  }
}

/** @param mark tells it from the snapshot without the warning, which has the same routes */
function warned(snapshot: RouteSnapshot, warning: string, mark: string): RouteSnapshot {
  return {
    ...snapshot,
    version: `${snapshot.version} (${mark})`,
    warnings: [...(snapshot.warnings ?? []), warning],
  };
}

/** Of the system, such as `ENOSPC`. */
function codeOf(error: Error): string {
  return 'code' in error ? String(error.code) : error.name;
}
