import { connect } from 'node:net';
import { Worker } from 'node:worker_threads';
import { loadLibc } from '@meshgate/linux';
import { expect, it } from 'vitest';
import { UringKernel } from '../src/kernel.ts';
import { DEFAULTS } from '../src/options.ts';
import { transportOver } from '../src/transport.ts';
import { describeWithUring } from './available.ts';

/** Connects to the port that it finds in its memory, and then writes 0 there. */
const CLIENT = `
  const { workerData: memory } = require('node:worker_threads');
  const { connect } = require('node:net');
  (function next() {
    const port = Atomics.load(memory, 0);
    if (port === 0) return void setImmediate(next);
    connect(port, '127.0.0.1').on('error', () => undefined);
    // Not before the system call, which comes in the next tick.
    process.nextTick(() => Atomics.store(memory, 0, 0));
    setImmediate(next);
  })();
`;

/** A transport that calls `first` before each `io_uring_enter`. */
function transportThat(first: () => void) {
  return transportOver(async () => {
    const libc = await loadLibc();
    const enter: typeof libc.io_uring_enter = (...args) => {
      first();
      return libc.io_uring_enter(...args);
    };
    return new UringKernel({ ...libc, io_uring_enter: enter }, DEFAULTS);
  });
}

describeWithUring('a listener on io_uring that passes its socket on', () => {
  it('accepts the client for which it was woken as it stopped accepting', async () => {
    const memory = new Int32Array(new SharedArrayBuffer(4));
    const client = new Worker(CLIENT, { eval: true, workerData: memory });
    let port = 0;
    // The client connects after the last system call before the one that stops accepting: the kernel wakes this process
    // only.
    const transport = transportThat(() => {
      Atomics.store(memory, 0, port);
      port = 0;
      while (Atomics.load(memory, 0) !== 0);
    });
    const options = { backlog: 16, keepAlive: { idleMs: 60_000 }, onPause: () => undefined };
    // In most rounds: after an interrupt in between, the client has been accepted before.
    for (let round = 0; round < ROUNDS; round += 1) {
      let count = 0;
      let onFirst = (): void => undefined;
      const first = new Promise<void>((resolve) => (onFirst = resolve));
      const listening = await transport.listen({ host: '127.0.0.1', port: 0 }, options, (connection) => {
        count += 1;
        connection.destroy();
        onFirst();
      });
      // From then on an accept request is pending.
      connect(listening.address.port, '127.0.0.1').on('error', () => undefined);
      await first;
      port = listening.address.port;
      await listening.held?.release();
      expect(count).toBe(2);
    }
    await client.terminate();
  });
});

const ROUNDS = 60;
