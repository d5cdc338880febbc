import { type FSWatcher, watch } from 'node:fs';
import { basename } from 'node:path';
import type { WatchStep } from './watch-path.ts';

/**
 * Watches folders for some of the names in them. Own code over `node:fs`, because what must be watched is a set of names that
 * changes with every link that is replaced: see docs/adr/0005-following-files.md.
 */
export class FolderWatchers {
  readonly #watchers = new Map<string, WatchedFolder>();
  readonly #onEvent: () => void;

  /** @param onEvent called when one of the names may have changed; more often than it did */
  constructor(onEvent: () => void) {
    this.#onEvent = onEvent;
  }

  /**
   * Watches exactly what `steps` name from now on. Folders that were watched already stay watched, without a gap.
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

  /** Leaves nothing behind. */
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
      // The folder's own name says that it was itself moved or deleted: this watcher may report nothing from now on.
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
  /** Of the system, for example `ENOSPC` when the user has no more inotify watches. */
  readonly code: string;
}

interface WatchedFolder {
  readonly watcher: FSWatcher;
  /** With `undefined` among them every name matters. */
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

/** Some systems do not say which name it was. */
function matters(names: ReadonlySet<string | undefined>, name: string | Buffer | null): boolean {
  return name === null || names.has(undefined) || names.has(String(name));
}

function codeOf(reason: unknown): string {
  return reason instanceof Error && 'code' in reason ? String(reason.code) : String(reason);
}
