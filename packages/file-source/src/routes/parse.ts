import { Worker } from 'node:worker_threads';
import type { Route } from '@meshgate/core';
import { onAbort } from '@meshgate/core/parts';
import type { FileText } from '@meshgate/documents';
import { mergeRouteFiles, parseRouteFilePart, type RouteFile } from './route-file.ts';

/**
 * The routes of several files. Large ones are parsed in a thread: YAML with positions takes about a tenth of a
 * millisecond a route, during which no connection would progress.
 *
 * Rejects when `signal` aborts or the thread dies.
 */
export async function parseFiles(files: readonly FileText[], signal?: AbortSignal): Promise<RouteFile> {
  const chars = files.reduce((sum, { text }) => sum + text.length, 0);
  // With anchors a short text may expand to a large one.
  const isShort = chars <= MAX_CHARS_IN_THIS_THREAD && !files.some(({ text }) => text.includes('&'));
  return isShort ? parseInThisThread(files) : parseInThread(files, signal);
}

/** The same, synchronously in this thread. */
export function parseInThisThread(files: readonly FileText[]): RouteFile {
  return mergeRouteFiles(files.map(({ file, text }) => parseRouteFilePart(text, file)));
}

/** The thread's reply to each request: copying all of a large file at once would block every connection. */
export interface RouteShare extends RouteFile {
  /** This part has all problems. */
  readonly isLast: boolean;
}

/** About 300 routes, which take about as long to parse here as a thread takes to start. */
const MAX_CHARS_IN_THIS_THREAD = 32 * 1024;

/** Valid from `src` and from `dist`: a thread can only run compiled code. */
const WORKER = new URL('../../dist/routes/parse-worker.js', import.meta.url);

function parseInThread(files: readonly FileText[], signal: AbortSignal | undefined): Promise<RouteFile> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORKER, { workerData: files });
    const release = signal && onAbort(signal, () => void worker.terminate());
    const routes: Route[] = [];
    worker.on('message', (share: RouteShare) => {
      routes.push(...share.routes);
      if (share.isLast) resolve({ routes, problems: share.problems });
      // Deferred: the reply could come before other work gets a turn.
      else setImmediate(() => worker.postMessage('more'));
    });
    worker.once('error', reject);
    worker.once('exit', (code) => {
      release?.();
      // No effect after a result: only a thread that was terminated has none.
      reject(new Error(`the thread that parses route files exited without a result, with status ${code}`));
    });
  });
}
