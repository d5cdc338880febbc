import { Worker } from 'node:worker_threads';
import type { Route } from '@meshgate/core';
import { onAbort } from '@meshgate/core/parts';
import type { FileText } from '@meshgate/documents';
import { mergeRouteFiles, parseRouteFilePart, type RouteFile } from './route-file.ts';

/**
 * Parses the routes of several files. Large files are parsed in a worker thread: YAML with positions takes about 0.1 ms
 * per route, during which no connection would make progress.
 *
 * Rejects when `signal` aborts or the thread dies.
 */
export async function parseFiles(files: readonly FileText[], signal?: AbortSignal): Promise<RouteFile> {
  const chars = files.reduce((sum, { text }) => sum + text.length, 0);
  // With anchors, a short text may expand to a large one.
  const isShort = chars <= MAX_CHARS_IN_THIS_THREAD && !files.some(({ text }) => text.includes('&'));
  return isShort ? parseInThisThread(files) : parseInThread(files, signal);
}

/** Parses the routes of several files synchronously, in this thread. */
export function parseInThisThread(files: readonly FileText[]): RouteFile {
  return mergeRouteFiles(files.map(({ file, text }) => parseRouteFilePart(text, file)));
}

/**
 * The worker thread's reply to one request. Copying all routes of a large file at once would block every connection.
 */
export interface RouteShare extends RouteFile {
  /** The last part, which contains all problems. */
  readonly isLast: boolean;
}

/** About 300 routes: parsing them takes about as long as starting a thread. */
const MAX_CHARS_IN_THIS_THREAD = 32 * 1024;

/** Resolves to the compiled file from `src` as well as from `dist`, since a worker thread cannot run TypeScript. */
const WORKER = new URL('../../dist/routes/parse-worker.js', import.meta.url);

function parseInThread(files: readonly FileText[], signal: AbortSignal | undefined): Promise<RouteFile> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORKER, { workerData: files });
    const release = signal && onAbort(signal, () => void worker.terminate());
    const routes: Route[] = [];
    worker.on('message', (share: RouteShare) => {
      routes.push(...share.routes);
      if (share.isLast) resolve({ routes, problems: share.problems });
      // Deferred, so that other events are handled between two replies.
      else setImmediate(() => worker.postMessage('more'));
    });
    worker.once('error', reject);
    worker.once('exit', (code) => {
      release?.();
      // Without effect after a result: only a terminated thread exits without one.
      reject(new Error(`the thread that parses route files exited without a result, with status ${code}`));
    });
  });
}
