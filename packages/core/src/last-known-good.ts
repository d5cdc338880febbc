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
 * warning. Every word of the source is kept. An archive that fails is a warning too: it never takes routes away.
 */
export function lastKnownGood(
  source: RouteSource,
  archive: SnapshotArchive,
  patienceMs: number = PATIENCE_MS,
): RouteSource {
  return { name: source.name, watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot> {
    const words = source.watch(signal)[Symbol.asyncIterator]();
    try {
      const first = words.next();
      if (!(await answers(first, signal))) yield* kept();
      let keptVersion: string | undefined;
      for (let word = await first; word.done !== true; word = await words.next()) {
        yield word.value;
        // A source may repeat itself to say that it is alive: the disk need not hear of that.
        if (word.value.version === keptVersion) continue;
        keptVersion = word.value.version;
        yield* keep(word.value);
      }
    } finally {
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

  async function* kept(): AsyncGenerator<RouteSnapshot> {
    const archived = await archive.load(source.name).catch((reason: unknown) => text(reason));
    if (archived === undefined) return;
    if (typeof archived === 'string')
      yield warned({ version: 'none', routes: [] }, `kept routes cannot be read: ${archived}`);
    else
      yield {
        ...warned(archived.snapshot, `no answer yet: routes are those kept on ${archived.savedAt.toISOString()}`),
        asOf: archived.savedAt,
      };
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
