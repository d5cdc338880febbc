import { pause } from './backoff.ts';
import type { RouteSnapshot, RouteSource } from './route.ts';

/** A snapshot as it was kept. */
export interface ArchivedSnapshot {
  readonly snapshot: RouteSnapshot;
  readonly savedAt: Date;
}

/** Remembers each source's last snapshot beyond the life of the process. */
export interface SnapshotArchive {
  /** `undefined` when nothing is kept. Rejects when what is kept cannot be read. */
  load(source: string): Promise<ArchivedSnapshot | undefined>;
  /** Replaces what is kept, whole or not at all. One call at a time for each source. */
  save(source: string, snapshot: RouteSnapshot): Promise<void>;
}

// A healthy local agent or disk answers in a fraction of this.
const PATIENCE_MS = 1_000;

/**
 * `source` with a memory: when it fails or is silent at the start, what `archive` kept is used meanwhile, and says so as a
 * warning. Every word of the source is kept. An archive that cannot be written is a warning too, one that cannot be read a failure of the source: neither takes routes away.
 */
export function lastKnownGood(
  source: RouteSource,
  archive: SnapshotArchive,
  patienceMs: number = PATIENCE_MS,
): RouteSource {
  let unreadable = false;
  return { name: source.name, watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot> {
    const leaving = new AbortController();
    const leave = (): void => leaving.abort(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    if (signal.aborted) leave();
    const words = source.watch(leaving.signal)[Symbol.asyncIterator]();
    try {
      const first = words.next();
      if (!unreadable && !(await answers(first, signal))) yield* kept();
      let keptVersion: string | undefined;
      for (let word = await first; word.done !== true; word = await words.next()) {
        yield word.value;
        // A source may repeat itself to say that it is alive: the disk need not hear of that.
        if (word.value.version === keptVersion) continue;
        keptVersion = word.value.version;
        yield* keep(word.value);
      }
    } finally {
      signal.removeEventListener('abort', leave);
      // A source that is still silent cannot be told in any other way that nobody waits for it any more.
      leave();
      await words.return?.(undefined);
    }
  }

  /** Whether the source spoke in time; a failure is no answer, and is thrown later by whoever awaits it for its value. */
  async function answers(first: Promise<unknown>, signal: AbortSignal): Promise<boolean> {
    const patience = new AbortController();
    const spoke = first.then(
      () => true,
      () => false,
    );
    const answer = await Promise.race([spoke, pause(patienceMs, patience.signal).then(() => false)]);
    patience.abort();
    return answer || signal.aborted;
  }

  async function* keep(snapshot: RouteSnapshot): AsyncGenerator<RouteSnapshot> {
    const failure = await archive.save(source.name, snapshot).then(() => undefined, text);
    if (failure !== undefined) yield warned(snapshot, `routes cannot be kept for the next start: ${failure}`);
  }

  /** Throws, once, when what is kept cannot be read: the source is then started again, and waited for however long it takes. */
  async function* kept(): AsyncGenerator<RouteSnapshot> {
    const archived = await archive.load(source.name).catch((cause: unknown) => {
      unreadable = true;
      throw new Error(`no answer yet, and the routes kept cannot be read: ${text(cause)}`, { cause });
    });
    if (archived === undefined) return;
    const { snapshot, savedAt: asOf } = archived;
    yield { ...warned(snapshot, `no answer yet: routes are those kept on ${asOf.toISOString()}`), asOf };
  }
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
