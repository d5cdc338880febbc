import { pause } from './backoff.ts';
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
 * `source` with a memory: when it fails or is silent at the start, what `archive` kept is used meanwhile, and says so as a
 * warning. Every new word of the source is kept. An archive that cannot be written is a warning too, one that cannot be read a
 * failure of the source: neither takes routes away.
 */
export function lastKnownGood(
  source: RouteSource,
  archive: SnapshotStore,
  patienceMs: number = PATIENCE_MS,
): RouteSource {
  return { name: source.name, watch: withMemory(source, patienceMs, () => ({ restore, keep: keeper() })) };

  /** Throws when what is kept cannot be read. */
  async function* restore(): AsyncGenerator<RouteSnapshot> {
    const archived = await archive.load(source.name).catch((cause: unknown) => {
      throw new Error(`no answer yet, and the routes kept cannot be read: ${text(cause)}`, { cause });
    });
    if (archived === undefined) return;
    const { snapshot, savedAt: asOf } = archived;
    yield { ...warned(snapshot, `no answer yet: routes are those kept on ${asOf.toISOString()}`), asOf };
  }

  function keeper(): Memory<RouteSnapshot>['keep'] {
    let keptVersion: string | undefined;
    return async function* keep(snapshot): AsyncGenerator<RouteSnapshot> {
      // A source may repeat itself to say that it is alive, or say what is kept already: the disk need not hear of that.
      if (snapshot.version === keptVersion || snapshot.asOf !== undefined) return;
      keptVersion = snapshot.version;
      const failure = await archive.save(source.name, snapshot).then(() => undefined, text);
      if (failure !== undefined) yield warned(snapshot, `routes cannot be kept for the next start: ${failure}`);
    };
  }
}

/**
 * The same for listeners, without which routes kept are of no use. What goes wrong with the archive is for the routes' to tell:
 * here a list that cannot be kept or read is as good as none.
 */
export function lastKnownListeners(
  source: ListenerSource,
  archive: ListenerStore,
  patienceMs: number = PATIENCE_MS,
): ListenerSource {
  return { name: source.name, watch: withMemory(source, patienceMs, () => ({ restore, keep })) };

  async function* restore(): AsyncGenerator<readonly ListenAddress[]> {
    const kept = await archive.load(source.name).catch(() => undefined);
    if (kept !== undefined) yield kept;
  }

  // oxlint-disable-next-line require-yield -- it has nothing to add to what was said
  async function* keep(addresses: readonly ListenAddress[]): AsyncGenerator<readonly ListenAddress[]> {
    await archive.save(source.name, addresses).catch(() => undefined);
  }
}

interface Memory<T> {
  /** What to say as long as the source itself says nothing. */
  restore(): AsyncIterable<T>;
  /** Keeps a word of the source; what to say after it. */
  keep(word: T): AsyncIterable<T>;
}

/**
 * How to watch `source` with a memory. What it kept is told at the start of the process only, and once: what has been said since is not
 * to be replaced by it, and each word makes the pauses short after which a source that fails is started again.
 *
 * @param memory called for each watch
 */
function withMemory<T>(
  source: { watch(signal: AbortSignal): AsyncIterable<T> },
  patienceMs: number,
  memory: () => Memory<T>,
): (signal: AbortSignal) => AsyncGenerator<T> {
  let known = false;
  return async function* watch(signal) {
    const { restore, keep } = memory();
    const leaving = new AbortController();
    const leave = (): void => leaving.abort(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
    const words = source.watch(leaving.signal)[Symbol.asyncIterator]();
    try {
      const first = words.next();
      if (!known && !(await answers(first, patienceMs)) && !signal.aborted) {
        known = true;
        yield* restore();
      }
      for (let word = await first; word.done !== true; word = await words.next()) {
        known = true;
        yield word.value;
        yield* keep(word.value);
      }
    } finally {
      signal.removeEventListener('abort', leave);
      // A source that is still silent cannot be told in any other way that nobody waits for it any more.
      leave();
      await words.return?.(undefined);
    }
  };
}

/** Whether the source spoke in time; a failure is no answer, and is thrown later by whoever awaits it for its value. */
async function answers(first: Promise<unknown>, patienceMs: number): Promise<boolean> {
  const patience = new AbortController();
  const spoke = first.then(
    () => true,
    () => false,
  );
  const answer = await Promise.race([spoke, pause(patienceMs, patience.signal).then(() => false)]);
  patience.abort();
  return answer;
}

function warned(snapshot: RouteSnapshot, warning: string): RouteSnapshot {
  return {
    ...snapshot,
    version: `${snapshot.version} (${warning})`,
    warnings: [...(snapshot.warnings ?? []), warning],
  };
}

function text(reason: unknown): string {
  return reason instanceof Error ? reason.message : String(reason);
}
