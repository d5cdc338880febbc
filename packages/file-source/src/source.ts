import { isAbsolute } from 'node:path';
import type { RouteSnapshot } from '@meshgate/core';
import { type FileSource, followFiles, readFiles, watchPathTo } from '@meshgate/documents';
import { parseRouteFiles, ROUTE_FILE_ENDINGS } from './routes/read-routes.ts';

/** Settings of {@link fileSource}. */
export interface FileSourceOptions {
  /** Route file, or folder of route files. Absolute. */
  readonly path: string;
  /** Unique within the proxy; a metric label. `file:` and the path when absent. */
  readonly name?: string;
  /**
   * Milliseconds between two looks at the files when the system reports no change: for network filesystems, which report none.
   * 0 for never; `DEFAULT_POLL_MS` when absent.
   */
  readonly pollMs?: number;
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
export function fileSource({ path, name = `file:${path}`, ...options }: FileSourceOptions): FileSource {
  if (!isAbsolute(path)) throw new TypeError(`expected an absolute path, found ${JSON.stringify(path)}`);
  const follower = followFiles(
    {
      what: 'routes',
      watchPath: () => watchPathTo(path, ROUTE_FILE_ENDINGS),
      read: () => readFiles(path, ROUTE_FILE_ENDINGS),
      parse: async (read, signal) => {
        const { routes, problems } = await parseRouteFiles(path, read, signal);
        return problems.length === 0 ? { kind: 'good', value: routes } : { kind: 'wrong', problems };
      },
    },
    options,
  );
  return { name, watch, refresh: follower.refresh };

  async function* watch(signal: AbortSignal): AsyncGenerator<RouteSnapshot, void, void> {
    for await (const { value, ...rest } of follower.watch(signal)) yield { ...rest, routes: value };
  }
}
