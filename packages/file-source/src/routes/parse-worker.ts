import { parentPort, workerData } from 'node:worker_threads';
import { inSlices } from '@meshgate/core/parts';
import type { FileText } from '@meshgate/documents';
import { parseInPlace, type RouteShare } from './parse.ts';

// The body of the thread that parse.ts starts: one set of files in, their routes and problems out, a share each time it is asked.
const { routes, problems } = parseInPlace(workerData as readonly FileText[]);
const shares = inSlices(routes);
hand();

function hand(): void {
  const next = shares.next();
  // The thread ends when it listens no more.
  if (next.done !== true) parentPort?.once('message', hand);
  const share: RouteShare =
    next.done === true ? { routes: [], problems, isLast: true } : { routes: next.value, problems: [], isLast: false };
  parentPort?.postMessage(share);
}
