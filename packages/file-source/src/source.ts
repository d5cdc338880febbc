import { isAbsolute } from 'node:path';
import type { Route, RouteSnapshot } from '@meshgate/core';
import { followFiles, readFiles, watchPathTo } from '@meshgate/documents';
import type { FileSource, FilesRead, FileText, ParseOutcome } from '@meshgate/documents';
import { parseRouteFiles, ROUTE_FILE_ENDINGS } from './routes/read-routes.ts';

/** Settings of {@link fileSource}. */
export interface FileSourceOptions {
  /** Absolute path of a route file, or of a folder of route files. */
  readonly path: string;
  /** Name of the source, unique within the proxy; a metric label. When absent: `file:` and the path. */
  readonly name?: string;
  /**
   * Poll interval in milliseconds, for network filesystems, which do not report changes. 0 for never; `DEFAULT_POLL_MS`
   * when absent.
   */
  readonly pollMs?: number;
}

/**
 * Follows the routes in a file or a folder through every kind of change: written in place, renamed over, links on the
 * path replaced, removed and restored.
 *
 * `watch` throws `ConfigProblems` when the first reading is invalid. Later it does not throw: for invalid or missing
 * files it yields their last good routes, with the current routes of the other files, and each problem as
 * `FILE:LINE:COLUMN: message` among the snapshot's warnings.
 *
 * @throws TypeError when `path` is not absolute
 */
export function fileSource({ path, name = `file:${path}`, ...options }: FileSourceOptions): FileSource {
  if (!isAbsolute(path)) throw new TypeError(`expected an absolute path, found ${JSON.stringify(path)}`);
  const parser = new IsolatingParser(path);
  const follower = followFiles(
    {
      what: 'routes',
      watchPath: () => watchPathTo(path, ROUTE_FILE_ENDINGS),
      read: () => readFiles(path, ROUTE_FILE_ENDINGS),
      parse: (read, signal) => parser.parse(read, signal),
    },
    options,
  );
  return { name, watch, refresh: follower.refresh };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    for await (const { value, ...rest } of follower.watch(signal)) yield { ...rest, routes: value };
  }
}

/**
 * Parses the files of a folder independently: an invalid file keeps its last good contents, or is ignored without any.
 */
class IsolatingParser {
  readonly #path: string;
  /** The last good contents, by file. */
  #good: ReadonlyMap<string, string> = new Map();

  constructor(path: string) {
    this.#path = path;
  }

  async parse(read: FilesRead, signal: AbortSignal): Promise<ParseOutcome<readonly Route[]>> {
    const { routes, problems } = await parseRouteFiles(this.#path, read, signal);
    if (problems.length === 0) {
      this.#good = contentsByFile(read.files);
      return { kind: 'good', value: routes };
    }
    const broken = new Set(problems.map(({ at }) => at?.file));
    const sound = read.files.filter(({ file }) => !broken.has(file));
    const kept = Array.from(this.#good, ([file, text]) => ({ file, text })).filter(({ file }) => broken.has(file));
    if (sound.length === 0) return { kind: 'wrong', problems };
    // Sorted by name, like the files of a folder: the first claim of a name wins.
    const files = [...sound, ...kept].toSorted((one, other) => (one.file < other.file ? -1 : 1));
    const rest = await parseRouteFiles(this.#path, { ...read, files, problems: [] }, signal);
    if (rest.problems.length > 0) return { kind: 'wrong', problems };
    this.#good = contentsByFile(files);
    return { kind: 'partial', value: rest.routes, problems, notes: [noteOn(kept, read.files.length - sound.length)] };
  }
}

/** Explains which routes are in use. @param broken number of invalid files */
function noteOn(kept: readonly FileText[], broken: number): string {
  const unused = broken > kept.length ? ', and nothing of files that were never valid' : '';
  return `the last good routes of invalid files are in use${unused}; changes of other files are applied`;
}

function contentsByFile(files: readonly FileText[]): ReadonlyMap<string, string> {
  return new Map(files.map(({ file, text }) => [file, text]));
}
