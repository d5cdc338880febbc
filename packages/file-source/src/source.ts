import { isAbsolute } from 'node:path';
import { ConfigProblems, formatProblem, type RouteSnapshot, type RouteSource } from '@meshgate/core';
import { digestOf, readFiles } from './files.ts';
import { FolderWatchers, type Unwatched } from './folder-watchers.ts';
import { wayTo } from './lookups.ts';
import { parseRouteFiles, ROUTE_FILE_ENDINGS } from './routes/read-routes.ts';
import { Rounds } from './rounds.ts';

/** Settings of {@link fileSource}. */
export interface FileSourceOptions {
  /** Route file, or folder of route files. Absolute. */
  readonly path: string;
  /** Unique within the proxy; a metric label. `file:` and the path when absent. */
  readonly name?: string;
  /**
   * Milliseconds between two looks at the files when the system reports no change: for network filesystems, which report none.
   * 0 for never; {@link DEFAULT_POLL_MS} when absent.
   */
  readonly pollMs?: number;
}

/** Rare enough that reading the files again costs nothing that shows; soon enough for somebody who waits for it. */
export const DEFAULT_POLL_MS = 30_000;

/** A route source that can be told to look at its files. */
export interface FileSource extends RouteSource {
  /** Reads the files again now, or when they are no longer being written; what is unchanged is not yielded again. */
  refresh(): void;
}

/**
 * Routes from a file or a folder, followed while they change, in whichever way: written in place, renamed over, by links that
 * are replaced on the way there, or gone and back.
 *
 * `watch` throws `ConfigProblems` when the first reading is wrong. Afterwards it does not throw: while the files are wrong or
 * missing it yields the last good routes, with each problem as `FILE:LINE:COLUMN: message` among the snapshot's warnings.
 *
 * @throws TypeError when `path` is not absolute
 */
export function fileSource({ path, name = `file:${path}`, pollMs = DEFAULT_POLL_MS }: FileSourceOptions): FileSource {
  if (!isAbsolute(path)) throw new TypeError(`expected an absolute path, found ${JSON.stringify(path)}`);
  const running = new Set<Rounds>();
  return { name, watch, refresh };

  function refresh(): void {
    for (const rounds of running) rounds.hurry();
  }

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    const rounds = new Rounds({ quietMs: QUIET_MS, burstMs: BURST_MS, pollMs });
    const watchers = new FolderWatchers(() => rounds.note());
    const close = (): void => {
      watchers.close();
      rounds.close();
      running.delete(rounds);
    };
    signal.addEventListener('abort', close, { once: true });
    running.add(rounds);
    try {
      for (let last: Reading | undefined; !signal.aborted; await rounds.next()) {
        const next = await look({ path, signal }, await watchWay(path, watchers), last);
        if (next.snapshot.version !== last?.snapshot.version) yield next.snapshot;
        last = next;
      }
    } catch (reason) {
      if (!signal.aborted) throw reason;
    } finally {
      signal.removeEventListener('abort', close);
      close();
    }
  }
}

/** Editors and `cp` pause for less than this between truncating a file and having written it. */
const QUIET_MS = 50;

/** A folder in which something is always being written is still read once a second. */
const BURST_MS = 1_000;

/** What a round has found. */
interface Reading {
  /** Of what was read: when it has not changed, there is nothing to parse. */
  readonly digest: string;
  /** The last routes that had no problem. */
  readonly good: RouteSnapshot;
  /** What the source says: `good`, or with warnings. */
  readonly snapshot: RouteSnapshot;
}

interface Subject {
  readonly path: string;
  readonly signal: AbortSignal;
}

/** @throws ConfigProblems when nothing good was read before, and something else when `signal` aborts */
async function look(at: Subject, warnings: readonly string[], last: Reading | undefined): Promise<Reading> {
  const { path, signal } = at;
  const read = await readFiles(path, ROUTE_FILE_ENDINGS);
  const digest = digestOf([read.digest, ...warnings]);
  if (digest === last?.digest) return last;
  const { routes, problems } = await parseRouteFiles(path, read, signal);
  signal.throwIfAborted();
  if (problems.length > 0 && last === undefined) throw new ConfigProblems(problems);
  const good = problems.length > 0 && last !== undefined ? last.good : { version: read.digest, routes };
  const broken = problems.length > 0 ? [...problems.map(formatProblem), LAST_GOOD] : [];
  return { digest, good, snapshot: withWarnings(good, [...broken, ...warnings]) };
}

const LAST_GOOD = 'the routes in use are the last good ones, until the problems above are mended';

function withWarnings(good: RouteSnapshot, warnings: readonly string[]): RouteSnapshot {
  if (warnings.length === 0) return good;
  return { ...good, version: `${good.version}+${digestOf(warnings)}`, warnings };
}

/** A way that changes more often than this while it is being watched is caught by the events of the next round. */
const MAX_WALKS = 5;

/** Watches all that decides what stands at `path`, before it is read: what changes later is then heard of. */
async function watchWay(path: string, watchers: FolderWatchers): Promise<readonly string[]> {
  let way = await wayTo(path, ROUTE_FILE_ENDINGS);
  let unwatched: readonly Unwatched[] = [];
  for (let walks = 1; walks <= MAX_WALKS; walks += 1) {
    unwatched = watchers.set(way);
    const now = await wayTo(path, ROUTE_FILE_ENDINGS);
    if (JSON.stringify(now) === JSON.stringify(way)) break;
    way = now;
  }
  return unwatched.filter(({ code }) => !EXPECTED_CODES.has(code)).map(toWarning);
}

/** Gone in between: the next round sees it. And folders that may be passed but not read, such as a parent of somebody else's. */
const EXPECTED_CODES: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM']);

function toWarning({ folder, code }: Unwatched): string {
  return `changes in ${folder} are not reported by the system (${code}): they are noticed by polling only`;
}
