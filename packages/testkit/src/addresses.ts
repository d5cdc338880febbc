import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Endpoint } from '@meshgate/core';
import { bind, LOOPBACK, unbind } from './bind.ts';

/** An address that keeps its behaviour until it is disposed of. */
export interface HeldAddress extends AsyncDisposable {
  /** The address itself. */
  readonly address: Endpoint;
}

/**
 * Returns a loopback port that refuses connections: an outgoing connection occupies it, so that no other process can
 * listen on it.
 */
export async function refusingAddress(): Promise<HeldAddress> {
  const server = createServer();
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const at = await bind(server, LOOPBACK);
  const holder = connect({ host: at.host, port: at.port });
  await once(holder, 'connect');
  const [other] = await accepted;
  const closed = unbind(server);
  const address = { host: at.host, port: holder.localPort ?? 0 };
  return {
    address,
    async [Symbol.asyncDispose]() {
      // With a reset, so that the port does not stay in TIME-WAIT.
      holder.resetAndDestroy();
      other.destroy();
      await closed;
    },
  };
}

/**
 * Returns a loopback port that never answers: a dial neither succeeds nor fails. Its listener is in a sleeping thread,
 * which accepts nothing, and its backlog is full: the kernel drops further SYNs, on Linux and on macOS.
 */
export async function silentAddress(): Promise<HeldAddress> {
  const sleep = new Int32Array(new SharedArrayBuffer(8));
  const listener = new Worker(SLEEPING_LISTENER, { eval: true, workerData: sleep });
  const [port] = (await once(listener, 'message')) as [number];
  // Only after the port was received: the last message of a thread before it sleeps may not be delivered.
  listener.postMessage('sleep');
  while (Atomics.load(sleep, IS_ASLEEP) === 0) await new Promise((resolve) => setImmediate(resolve));
  const address = { host: LOOPBACK.host, port };
  const fillers = Array.from({ length: MORE_THAN_THE_QUEUE_HOLDS }, () => connect(address));
  for (const filler of fillers) filler.on('error', () => undefined);
  // On loopback, all of them have passed the kernel before any of them can be notified.
  await Promise.any(fillers.map((filler) => once(filler, 'connect')));
  return {
    address,
    async [Symbol.asyncDispose]() {
      for (const filler of fillers) filler.destroy();
      const gone = once(listener, 'exit');
      Atomics.store(sleep, IS_OVER, 1);
      Atomics.notify(sleep, IS_OVER);
      await gone;
    },
  };
}

/** Returns the path of a unix socket that does not exist yet, in its own folder, which is removed with the address. */
export async function unixAddress(): Promise<HeldAddress> {
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-'));
  return {
    address: { host: `unix:${join(folder, 'socket')}`, port: 0 },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

// A backlog of 1 holds two connections on Linux. Further ones keep retrying, and take any free slot.
const MORE_THAN_THE_QUEUE_HOLDS = 8;

/** Indexes of flags: set by the thread, and for the thread. */
const IS_ASLEEP = 0;
const IS_OVER = 1;

// CommonJS, like every worker created from a string.
const SLEEPING_LISTENER = `
const { createServer } = require('node:net');
const { parentPort, workerData: sleep } = require('node:worker_threads');
const server = createServer().listen({ host: '127.0.0.1', port: 0, backlog: 1 }, () => {
  parentPort.postMessage(server.address().port);
});
parentPort.once('message', () => {
  Atomics.store(sleep, ${IS_ASLEEP}, 1);
  Atomics.wait(sleep, ${IS_OVER}, 0);
  process.exit();
});
`;
