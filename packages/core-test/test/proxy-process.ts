import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { DrainProgress } from '@meshgate/core';
import { inject } from 'vitest';

/** What the proxy process holds, and what has happened so far. */
interface Usage {
  readonly live: number;
  readonly descriptors: number;
  readonly timers: number;
  /** After a full collection, in bytes. */
  readonly heapBytes: number;
  /** As above, for buffers. */
  readonly bufferBytes: number;
  /** Closed and refused connections by code; `OK` for those without an error. */
  readonly codes: Readonly<Record<string, number>>;
  /** Client ports of the closed connections, in the order of closing. */
  readonly closedPorts: readonly number[];
}

/** A proxy in a process of its own, so that its resources are counted apart from the test's. */
export interface ProxyProcess {
  readonly port: number;
  usage(): Promise<Usage>;
  drain(graceMs: number, spreadMs: number): Promise<DrainProgress>;
  /** Resolves once no connection is live. */
  empty(): Promise<Usage>;
  /** Resolve the first time that accepting pauses, or resumes. */
  until(what: 'paused' | 'resumed'): Promise<void>;
  stop(): Promise<void>;
}

/**
 * @param backendPort port on 127.0.0.1 for `backend.example`
 * @param descriptors limit of file descriptors of the process: lowered, or raised if the system allows it
 */
export async function proxyProcess(backendPort: number, descriptors: number): Promise<ProxyProcess> {
  const child = limitedProcess('proxy-process.mjs', [String(backendPort), inject('transport')], descriptors);
  const { port } = await message<{ port: number }>(child);
  return {
    port,
    usage: () => query<Usage>(child, { query: 'usage' }),
    drain: (graceMs, spreadMs) => query<DrainProgress>(child, { query: 'drain', graceMs, spreadMs }),
    empty: () => query<Usage>(child, { query: 'empty' }),
    until: (what) => query<void>(child, { query: what }),
    stop: () => stop(child),
  };
}

/** A backend in a process of its own that echoes what it receives. */
export interface EchoProcess {
  readonly port: number;
  stop(): Promise<void>;
}

/** @param descriptors as for {@link proxyProcess} */
export async function echoProcess(descriptors: number): Promise<EchoProcess> {
  const child = limitedProcess('echo-process.mjs', [], descriptors);
  const { port } = await message<{ port: number }>(child);
  return { port, stop: () => stop(child) };
}

/** The descriptor limit of a child process for which `wanted` are requested, and the limit of this process. */
export function descriptorLimits(wanted: number): { readonly child: number; readonly own: number } {
  const limit = (command: string): number => Number(execFileSync('sh', ['-c', `${command} ulimit -n`]).toString());
  return { child: limit(`ulimit -n ${wanted} 2>/dev/null;`), own: limit('') };
}

function limitedProcess(script: string, args: readonly string[], descriptors: number): ChildProcess {
  const path = new URL(`./fixtures/${script}`, import.meta.url).pathname;
  const limited = `ulimit -n ${descriptors} 2>/dev/null; exec "$@"`;
  const command = [process.execPath, '--expose-gc', path, ...args];
  return spawn('sh', ['-c', limited, 'sh', ...command], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
}

/** One query at a time: responses have no number. */
async function query<Result>(child: ChildProcess, request: object): Promise<Result> {
  child.send(request);
  return message<Result>(child);
}

function message<Message>(child: ChildProcess): Promise<Message> {
  return new Promise((resolve, reject) => {
    const onExit = (code: number | null): void =>
      reject(new Error(`expected a word of the process, found it gone with ${code}`));
    child.once('exit', onExit);
    child.once('message', (word) => {
      child.removeListener('exit', onExit);
      resolve(word as Message);
    });
  });
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  child.disconnect();
  await once(child, 'exit');
}
