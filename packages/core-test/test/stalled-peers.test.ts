import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { clientHello, inRecords, until } from '@meshgate/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { proxyProcess } from './proxy-process.ts';

const HELLO = inRecords(clientHello({ serverName: 'backend.example' }));
const CONNECTIONS = 12;
const DESCRIPTORS = 512;

/**
 * Two reads of `net.Socket`: one being written, and one that arrived before the pause. The other transports hold less.
 */
const MOST_BYTES = 2 * 64 * 1024;
/** What a process may hold for all connections together: tables and reused buffers. */
const SPARE_BYTES = 1024 * 1024;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

describe('a peer that never reads', () => {
  it.each(['client', 'backend'] as const)(
    'costs the proxy no more than a read or two, however much the other side sends (%s)',
    { timeout: 60_000 },
    async (deaf) => {
      const accepted: Socket[] = [];
      const backend = createServer({ pauseOnConnect: true }, (socket) => void accepted.push(socket));
      await once(backend.listen(0, '127.0.0.1'), 'listening');
      const proxy = await proxyProcess((backend.address() as AddressInfo).port, DESCRIPTORS);
      closers.push(() => backend.close(), proxy.stop);
      const before = await proxy.usage();
      const clients = Array.from({ length: CONNECTIONS }, () => connect(proxy.port, '127.0.0.1').pause());
      for (const client of clients) client.write(HELLO);
      await until(() => accepted.length === CONNECTIONS);
      const [senders, sockets] = [deaf === 'client' ? accepted : clients, [...clients, ...accepted]];
      for (const socket of sockets) socket.on('error', () => undefined);
      for (const sender of senders) flood(sender);
      await stalled(senders);
      const during = await proxy.usage();
      expect(during.live).toBe(CONNECTIONS);
      expect(during.bufferBytes - before.bufferBytes).toBeLessThan(CONNECTIONS * MOST_BYTES + SPARE_BYTES);
      for (const socket of sockets) socket.destroy();
      const after = await proxy.empty();
      expect(after.bufferBytes - before.bufferBytes).toBeLessThan(SPARE_BYTES);
    },
  );
});

/** Sends until the socket accepts no more, and then some more. */
function flood(socket: Socket): void {
  const share = Buffer.alloc(256 * 1024, 'flood');
  const sendOn = (): void => {
    while (socket.write(share));
  };
  socket.on('drain', sendOn);
  sendOn();
}

/** Resolves when the kernel has accepted no byte from any of them for a while. */
async function stalled(senders: readonly Socket[]): Promise<void> {
  const accepted = (): number =>
    senders.reduce((sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength, 0);
  let [last, since] = [-1, performance.now()];
  await until(() => {
    const now = accepted();
    if (now !== last) [last, since] = [now, performance.now()];
    return performance.now() - since > QUIET_MS && senders.every(({ writableLength }) => writableLength > 0);
  });
}

const QUIET_MS = 300;
