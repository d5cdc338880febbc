import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFile, readlink } from 'node:fs/promises';
import { settlesWithin } from '@meshgate/core/parts';
import type { InheritedSocket } from './inherited-sockets.ts';
import { HANDOVER_VARIABLE } from './predecessor.ts';

/** A process that is ready to replace this one. */
export interface Successor {
  readonly pid: number;
}

/**
 * Starts the same executable with the same arguments, as they are on disk now. The new process inherits `sockets` and
 * the standard outputs, and is independent of this process once it is ready.
 *
 * @param withinMs time limit in milliseconds
 * @throws Error with the reason when the process is not ready in time; it has then exited
 */
export async function startSuccessor(sockets: readonly InheritedSocket[], withinMs: number): Promise<Successor> {
  const whyNot = await boundToContainer();
  if (whyNot !== undefined) throw new Error(`${whyNot}: start a new container`);
  const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
    // A session of its own, because an interrupt from the terminal is for this process.
    detached: true,
    env: { ...process.env, [HANDOVER_VARIABLE]: JSON.stringify(sockets.map(({ fd: _fd, ...socket }) => socket)) },
    stdio: ['ignore', 1, 2, ...sockets.map(({ fd }) => fd), 'ipc'],
  });
  const started = readiness(child, withinMs);
  if (!(await settlesWithin(started, withinMs))) child.kill('SIGKILL');
  try {
    await started;
  } catch (reason) {
    child.kill('SIGKILL');
    throw reason;
  }
  child.removeAllListeners();
  child.unref();
  if (child.connected) child.disconnect();
  return { pid: child.pid ?? 0 };
}

/** Read at the start: later, another process may have adopted this one. */
const STARTED_BY = process.ppid;

/** Returns why a container would end with this process, and thus with its successor; `undefined` when it would not. */
async function boundToContainer(): Promise<string | undefined> {
  if (process.pid === 1) return 'process 1 of a container cannot be replaced from within';
  if (STARTED_BY !== 1 || process.platform !== 'linux') return undefined;
  const [namespace, name] = await Promise.all([readlink('/proc/self/ns/pid'), readFile('/proc/1/comm', 'utf8')]).catch(
    () => [INITIAL_NAMESPACE, ''],
  );
  // tini, dumb-init and a shell exit with their child process; an init system does not.
  if (namespace === INITIAL_NAMESPACE || INIT_SYSTEMS.has(name.trim())) return undefined;
  return `process 1 of this container, ${name.trim()}, has started this process and exits with it`;
}

/** `PROC_PID_INIT_INO` of Linux. */
const INITIAL_NAMESPACE = 'pid:[4026531836]';
const INIT_SYSTEMS: ReadonlySet<string> = new Set(['systemd', 'init']);

/** Resolves when the process is ready. Rejects when it exits before. */
function readiness(child: ChildProcess, withinMs: number): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('error', (error) => reject(new Error(`cannot start ${process.execPath}: ${error.message}`)));
    child.once('exit', (status, signal) => reject(new Error(whyNotReady(status, signal, withinMs))));
    child.once('message', () => resolve());
  });
}

function whyNotReady(status: number | null, signal: string | null, withinMs: number): string {
  if (signal === 'SIGKILL') return `the successor was not ready within ${Math.round(withinMs / 1_000)} s`;
  const how = signal === null ? `status ${status}` : signal;
  const why = status === 2 ? 'its configuration or command line is invalid, --check reports the problems' : SEE_LOG;
  return `the successor exited with ${how} before it was ready: ${why}`;
}

const SEE_LOG = 'see the log or the standard error of the gateway';
