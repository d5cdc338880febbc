// Where keepalive probes do not apply: bytes that were sent and that the peer does not acknowledge or read.
import { createProxy } from '@meshgate/core';
import type { KeepAlive } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';
import { clientHello, inRecords, peerListener, rawClient, recorder } from '@meshgate/testkit';
import type { Peer } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { transportUnderTest } from '../transport-under-test.ts';

const HELLO = inRecords(clientHello({ serverName: 'api.example.com' }));
// More than the buffers of two sockets hold (tcp_rmem, tcp_wmem).
const MUCH = Buffer.alloc(48 * 1024 * 1024);

/**
 * How a connection ends when one of its ends stops reading and is sent much data; `undefined` while it has not ended.
 */
async function ending(deaf: 'client' | 'backend', keepAlive: KeepAlive) {
  const events = recorder();
  const backend = await peerListener();
  const proxy = createProxy({
    listen: { host: '127.0.0.1', port: 0 },
    routes: [
      {
        name: 'api',
        serverNames: ['api.example.com'],
        backends: [{ address: backend.address, weight: 1, healthy: true }],
      },
    ],
    sniffers: [sniSniffer()],
    observers: [events],
    transport: transportUnderTest(),
    keepAlive,
    drain: { graceMs: 0, spreadMs: 0 },
  });
  await proxy.start();
  const client = await rawClient(proxy.address);
  await client.send(HELLO);
  const accepted = await backend.accept();
  const [sender, receiver]: readonly Peer[] = deaf === 'client' ? [accepted, client] : [client, accepted];
  receiver?.pause();
  const sentAt = performance.now();
  sender?.send(MUCH).catch(() => undefined);
  const { closed } = await events.until('connection.closed');
  for (const one of [client, accepted, backend]) await one[Symbol.asyncDispose]();
  await proxy.stop();
  return { code: closed.error?.code, message: closed.error?.message, afterMs: closed.closedAt - sentAt };
}

describe('bytes that stay unacknowledged for longer than keepAlive.userTimeoutMs', () => {
  it.each([
    ['client', 'DOWNSTREAM_RESET'],
    ['backend', 'UPSTREAM_RESET'],
  ] as const)('end the connection, with the %s at fault', async (deaf, code) => {
    const ended = await ending(deaf, { idleMs: 60_000, userTimeoutMs: 400 });
    expect(ended).toMatchObject({ code, message: expect.stringContaining('ETIMEDOUT') as string });
    expect(ended.afterMs).toBeGreaterThan(390);
  });
});
