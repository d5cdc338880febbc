import { parentPort, workerData } from 'node:worker_threads';
import { inSlices } from '@meshgate/core/parts';
import type { FileText } from '@meshgate/documents';
import { parseInThisThread, type RouteShare } from './parse.ts';

// The worker thread of parse.ts. It parses a set of files, and sends routes and problems in parts on request.
const { routes, problems } = parseInThisThread(workerData as readonly FileText[]);
const shares = inSlices(routes);
hand();

function hand(): void {
  const next = shares.next();
  // The thread exits when it no longer listens.
  if (next.done !== true) parentPort?.once('message', hand);
  const share: RouteShare =
    next.done === true ? { routes: [], problems, isLast: true } : { routes: next.value, problems: [], isLast: false };
  parentPort?.postMessage(share);
}
