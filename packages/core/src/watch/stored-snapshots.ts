import { judgingSnapshot } from '../routes/snapshot-problems.ts';
import { errorOf } from '../errors.ts';
import { openScope, settlesWithin } from './scope.ts';
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
}

/** Remembers what each listener source listed last. The same obligations as {@link SnapshotStore}. */
export interface ListenerStore {
  /** `undefined` when nothing is kept. */
  load(source: string): Promise<readonly ListenAddress[] | undefined>;
  /** Replaces what is kept. */
  save(source: string, addresses: readonly ListenAddress[]): Promise<void>;
}

// A healthy local agent or disk answers in a fraction of this.
const PATIENCE_MS = 1_000;

/**
 * `source` with a memory: when it fails or is silent at the start, what `store` kept is used meanwhile, and says so as a warning. Every
 * new snapshot that can be used is kept. A store that cannot be written is a warning too, one that cannot be read a failure of the
 * source: neither takes routes away.
 */
export function lastKnownGood(
  source: RouteSource,
  store: SnapshotStore,
  patienceMs: number = PATIENCE_MS,
): RouteSource {
  return { name: source.name, watch: withMemory(source, patienceMs, () => ({ restore, keep: keeper() })) };

  /** Throws when what is kept cannot be read. */
  async function* restore(): AsyncGenerator<RouteSnapshot> {
    const stored = await store.load(source.name).catch((cause: unknown) => {
      throw new Error(`no answer yet, and the routes kept cannot be read: ${errorOf(cause).message}`, { cause });
    });
    if (stored === undefined) return;
    const { snapshot, savedAt: asOf } = stored;
    yield { ...warned(snapshot, `no answer yet: routes are those kept on ${asOf.toISOString()}`), asOf };
  }

  function keeper(): Memory<RouteSnapshot>['keep'] {
    let keptVersion: string | undefined;
    return async function* keep(snapshot): AsyncGenerator<RouteSnapshot> {
      // What is refused is not kept. A source may repeat itself to say that it is alive: the disk need not hear of that.
      if (!(await isUsable(snapshot)) || snapshot.version === keptVersion || snapshot.asOf !== undefined) return;
      keptVersion = snapshot.version;
      const failure = await store.save(source.name, snapshot).then(() => undefined, errorOf);
      if (failure !== undefined) yield warned(snapshot, `routes cannot be kept for the next start: ${failure.message}`);
    };
  }
}

/**
 * The same for listeners, without which routes kept are of no use. What goes wrong with the store is for the routes' source to report:
 * here a list that cannot be kept or read is as good as none.
 */
export function lastKnownListeners(
  source: ListenerSource,
  store: ListenerStore,
  patienceMs: number = PATIENCE_MS,
): ListenerSource {
  return { name: source.name, watch: withMemory(source, patienceMs, () => ({ restore, keep })) };

  async function* restore(): AsyncGenerator<readonly ListenAddress[]> {
    const kept = await store.load(source.name).catch(() => undefined);
    if (kept !== undefined) yield kept;
  }

  // oxlint-disable-next-line require-yield -- it has nothing to add to what was yielded
  async function* keep(addresses: readonly ListenAddress[]): AsyncGenerator<readonly ListenAddress[]> {
    await store.save(source.name, addresses).catch(() => undefined);
  }
}

interface Memory<T> {
  /** What to yield as long as the source itself yields nothing. */
  restore(): AsyncIterable<T>;
  /** Keeps a value of the source; what to yield after it. */
  keep(value: T): AsyncIterable<T>;
}

/**
 * How to watch `source` with a memory. What it kept is yielded once in the life of the process, before the first value of the source,
 * and never replaces one.
 *
 * @param memory called for each watch
 */
function withMemory<T>(
  source: { watch(signal: AbortSignal): AsyncIterable<T> },
  patienceMs: number,
  memory: () => Memory<T>,
): (signal: AbortSignal) => AsyncGenerator<T> {
  let isKnown = false;
  return async function* watch(signal) {
    const { restore, keep } = memory();
    const scope = openScope(signal);
    const values = source.watch(scope.signal)[Symbol.asyncIterator]();
    try {
      const first = values.next();
      if (!isKnown && !(await answers(first, patienceMs)) && !signal.aborted) {
        isKnown = true;
        yield* restore();
      }
      for (let value = await first; value.done !== true; value = await values.next()) {
        isKnown = true;
        yield value.value;
        yield* keep(value.value);
      }
    } finally {
      // A source that is still silent cannot be told in any other way that nobody waits for it any more.
      scope.end();
      await values.return?.(undefined);
    }
  };
}

/** Whether the source answers in time; a failure is no answer, and is thrown later by whoever awaits it for its value. */
async function answers(first: Promise<unknown>, patienceMs: number): Promise<boolean> {
  const isSettled = await settlesWithin(first, patienceMs);
  return (
    isSettled &&
    first.then(
      () => true,
      () => false,
    )
  );
}

/** Sources are JavaScript: a snapshot that nobody could be routed by, or that throws when it is looked at, is not one to keep. */
async function isUsable(snapshot: unknown): Promise<boolean> {
  try {
    return (await inTurns(judgingSnapshot(snapshot))).every(({ severity }) => severity !== 'error');
  } catch {
    return false;
  }
}

function warned(snapshot: RouteSnapshot, warning: string): RouteSnapshot {
  return {
    ...snapshot,
    version: `${snapshot.version} (${warning})`,
    warnings: [...(snapshot.warnings ?? []), warning],
  };
}
