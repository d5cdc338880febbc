import { Worker } from 'node:worker_threads';
import type { Route } from '@meshgate/core';
import { onAbort } from '@meshgate/core/parts';
import type { FileText } from '@meshgate/documents';
import { mergeRouteFiles, parseRouteFilePart, type RouteFile } from './route-file.ts';

/**
 * The routes of several files. Large ones are read in a thread of their own: YAML with positions takes about a tenth of a
 * millisecond a route, during which no connection would move.
 *
 * Rejects when `signal` aborts or the thread dies.
 */
export async function parseFiles(files: readonly FileText[], signal?: AbortSignal): Promise<RouteFile> {
  const chars = files.reduce((sum, { text }) => sum + text.length, 0);
  // With anchors a short text may stand for a great deal.
  const isShort = chars <= IN_PLACE_CHARS && !files.some(({ text }) => text.includes('&'));
  return isShort ? parseInPlace(files) : parseInThread(files, signal);
}

/** The same, at once and in this thread. */
export function parseInPlace(files: readonly FileText[]): RouteFile {
  return mergeRouteFiles(files.map(({ file, text }) => parseRouteFilePart(text, file)));
}

/** What the thread gives each time it is asked: to copy all of a large file at once would keep every connection waiting. */
export interface RouteShare extends RouteFile {
  /** The problems are all in this one. */
  readonly isLast: boolean;
}

/** About 300 routes, which take about as long here as a thread takes to start. */
const IN_PLACE_CHARS = 32 * 1024;

/** Seen from `src` and from `dist` alike: a thread can run only what is built. */
const WORKER = new URL('../../dist/routes/parse-worker.js', import.meta.url);

function parseInThread(files: readonly FileText[], signal: AbortSignal | undefined): Promise<RouteFile> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORKER, { workerData: files });
    const release = signal && onAbort(signal, () => void worker.terminate());
    const routes: Route[] = [];
    worker.on('message', (share: RouteShare) => {
      routes.push(...share.routes);
      if (share.isLast) resolve({ routes, problems: share.problems });
      // Not at once: the answer could come before everybody else has had a turn.
      else setImmediate(() => worker.postMessage('more'));
    });
    worker.once('error', reject);
    worker.once('exit', (code) => {
      release?.();
      // Of no effect after a result: only a thread that was ended has given none.
      reject(new Error(`the thread that reads route files ended without a result, with status ${code}`));
    });
  });
}
