import { type FSWatcher, watch } from 'node:fs';
import { basename } from 'node:path';
import type { WatchStep } from './watch-path.ts';

/**
 * Watches folders for some of their names. Uses `node:fs` directly, because the watched names change whenever a link is
 * replaced: see docs/adr/0005-following-files.md.
 */
export class FolderWatchers {
  readonly #watchers = new Map<string, WatchedFolder>();
  readonly #onEvent: () => void;

  /** @param onEvent called when a watched name may have changed, sometimes without a change */
  constructor(onEvent: () => void) {
    this.#onEvent = onEvent;
  }

  /**
   * Watches exactly the names in `steps` from now on. A folder that was watched before has no gap.
   *
   * @returns folders that cannot be watched, with the system's error code
   */
  set(steps: readonly WatchStep[]): readonly Unwatched[] {
    const wanted = byFolder(steps);
    for (const [key, { watcher }] of this.#watchers) {
      if (wanted.has(key)) continue;
      watcher.close();
      this.#watchers.delete(key);
    }
    return [...wanted].flatMap(([key, { folder, names }]) => this.#watch(key, folder, names) ?? []);
  }

  /** Stops all watchers. */
  close(): void {
    this.set([]);
  }

  #watch(key: string, folder: string, names: ReadonlySet<string | undefined>): Unwatched | undefined {
    const known = this.#watchers.get(key);
    if (known !== undefined) {
      known.names = names;
      return undefined;
    }
    try {
      this.#watchers.set(key, this.#open(key, folder, names));
      return undefined;
    } catch (reason) {
      return { folder, code: codeOf(reason) };
    }
  }

  #open(key: string, folder: string, names: ReadonlySet<string | undefined>): WatchedFolder {
    const watched: WatchedFolder = { watcher: watch(folder), names };
    watched.watcher.on('change', (_type, name) => {
      // An event for the folder's own name means that it was moved or deleted: this watcher may not report further
      // events.
      const own = name === basename(folder);
      if (own) this.#forget(key, watched);
      if (own || matters(watched.names, name)) this.#onEvent();
    });
    watched.watcher.on('error', () => {
      this.#forget(key, watched);
      this.#onEvent();
    });
    return watched;
  }

  #forget(key: string, watched: WatchedFolder): void {
    watched.watcher.close();
    if (this.#watchers.get(key) === watched) this.#watchers.delete(key);
  }
}

/** A folder whose changes are not reported. */
export interface Unwatched {
  readonly folder: string;
  /** The system's error code, such as `ENOSPC` when the user has no inotify watches left. */
  readonly code: string;
}

interface WatchedFolder {
  readonly watcher: FSWatcher;
  /** `undefined` among them matches every name. */
  names: ReadonlySet<string | undefined>;
}

interface WantedFolder {
  readonly folder: string;
  readonly names: Set<string | undefined>;
}

function byFolder(steps: readonly WatchStep[]): ReadonlyMap<string, WantedFolder> {
  const wanted = new Map<string, WantedFolder>();
  for (const { folder, id, name } of steps) {
    const key = `${id} ${folder}`;
    const entry = wanted.get(key) ?? { folder, names: new Set() };
    entry.names.add(name);
    wanted.set(key, entry);
  }
  return wanted;
}

/** Matches an event without a name, which some systems send. */
function matters(names: ReadonlySet<string | undefined>, name: string | Buffer | null): boolean {
  return name === null || names.has(undefined) || names.has(String(name));
}

function codeOf(reason: unknown): string {
  return reason instanceof Error && 'code' in reason ? String(reason.code) : String(reason);
}
