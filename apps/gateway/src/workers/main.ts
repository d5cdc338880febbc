// The entry point of a worker process. Signals reach all processes of a terminal or a service, but only the primary
// handles them.
import cluster from 'node:cluster';
import type { SendHandle } from 'node:child_process';
import { forbidExit } from '../run/plugin-limits.ts';
import { onStray } from '../run/stray-error.ts';
import { disablePretenuring } from '../run/v8-flags.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import { WorkerRun } from './worker.ts';

disablePretenuring();

const { worker } = cluster;
if (worker === undefined) throw new Error('expected to be started by a primary: run meshgate instead');

// SIGUSR1 would open Node's inspector.
for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const)
  process.on(signal, () => undefined);

const exit = forbidExit();
const run = new WorkerRun({ send });
onStray((error, kind) => (run.onStray(error, kind), true));
worker.on('message', (message: ToWorker, handle?: { readonly fd: number }) => run.receive(message, handle));
worker.on('disconnect', () => {
  // Prevents Node's default: it would exit a worker at once when its primary is gone, with all connections.
  worker.exitedAfterDisconnect = true;
  run.onOrphaned();
});
await send({ kind: 'loaded' });
exit(await run.ended);

function send(message: FromWorker, handle?: unknown): Promise<void> {
  return new Promise((resolve) => {
    if (process.connected) process.send?.(message, handle as SendHandle, undefined, () => resolve());
    else resolve();
  });
}
