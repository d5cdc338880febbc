// What a worker process runs. It does as the primary says, and nothing else: signals go to all processes of a terminal or of a
// service, and it is the primary that knows what they mean.
import cluster from 'node:cluster';
import { disablePretenuring } from '../run/v8-flags.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import { WorkerRun } from './worker.ts';

disablePretenuring();

const { worker } = cluster;
if (worker === undefined) throw new Error('expected to be started by a primary: run meshgate instead');

for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => undefined);

const run = new WorkerRun({ tell });
process.on('uncaughtException', (reason) => run.onStray(asError(reason), 'exception'));
process.on('unhandledRejection', (reason) => run.onStray(asError(reason), 'rejection'));
worker.on('message', (message: ToWorker) => run.hear(message));
worker.on('disconnect', () => {
  // Left to itself, node ends a worker at once when its primary is gone, with all of its connections.
  worker.exitedAfterDisconnect = true;
  run.onOrphaned();
});
await tell({ kind: 'loaded' });
process.exit(await run.ended);

function tell(message: FromWorker): Promise<void> {
  return new Promise((resolve) => {
    // The primary may be gone: then nobody needs to know.
    if (process.connected) process.send?.(message, undefined, undefined, () => resolve());
    else resolve();
  });
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
