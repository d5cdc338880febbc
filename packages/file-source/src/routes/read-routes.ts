import { ConfigProblems, type RouteSnapshot } from '@meshgate/core';
import { type FilesRead, readFiles } from '@meshgate/documents';
import { parseFiles } from './parse.ts';
import type { RouteFile } from './route-file.ts';

/** File name extensions of route files in a folder. */
export const ROUTE_FILE_ENDINGS: readonly string[] = ['.yaml', '.yml', '.json'];

/**
 * Reads a route file, or the route files of a folder, once: in the order of their names, without subfolders and hidden
 * files.
 *
 * @throws ConfigProblems with every problem of every file and its position; also when a file cannot be read
 */
export async function readRoutes(path: string): Promise<RouteSnapshot> {
  const read = await readFiles(path, ROUTE_FILE_ENDINGS);
  const { routes, problems } = await parseRouteFiles(path, read);
  if (problems.length > 0) throw new ConfigProblems(problems);
  return { version: read.digest, routes };
}

/**
 * Parses the routes in the files of `path`. An empty folder is a problem, since `routes: []` is the notation for no
 * routes. Rejects when `signal` aborts.
 */
export async function parseRouteFiles(path: string, read: FilesRead, signal?: AbortSignal): Promise<RouteFile> {
  const { files, problems } = read;
  const parsed = await parseFiles(files, signal);
  const found = [...problems, ...parsed.problems];
  if (files.length > 0 || problems.length > 0) return { routes: parsed.routes, problems: found };
  const message = `expected at least one file whose name ends in ${ROUTE_FILE_ENDINGS.join(', ')}, found none`;
  return { routes: [], problems: [{ message, path: [], at: { file: path, line: 1, column: 1 } }] };
}
