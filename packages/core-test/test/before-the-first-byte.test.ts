import { createProxy, staticSource } from '@meshgate/core';
import type { Endpoint, ProxyOptions, Route } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';
import { clientHello, inRecords, peerListener, rawClient, recorder } from '@meshgate/testkit';
import type { PeerListener } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { transportUnderTest } from './transport-under-test.ts';

const HELLO = inRecords(clientHello({ serverName: 'shop.example.com' }));

interface Started extends AsyncDisposable {
  readonly address: Endpoint;
  readonly events: ReturnType<typeof recorder>;
}

/** A route that retries, with these backends, in this order. */
async function proxyTo(
  backends: readonly Pick<PeerListener, 'address'>[],
  route: Partial<Route> = {},
  options: Partial<ProxyOptions> = {},
): Promise<Started> {
  const events = recorder();
  const all = backends.map(({ address }, priority) => ({ address, weight: 1, healthy: true, priority }));
  const shop = { name: 'shop', serverNames: ['shop.example.com'], backends: all, retryBeforeFirstByte: true, ...route };
  const proxy = createProxy({
    listen: { host: '127.0.0.1', port: 0 },
    sources: [staticSource('test', [shop])],
    sniffers: [sniSniffer()],
    observers: [events],
    transport: transportUnderTest(),
    drain: { graceMs: 0, spreadMs: 0 },
    ...options,
  });
  await proxy.start();
  return { address: proxy.address, events, [Symbol.asyncDispose]: () => proxy.stop() };
}

/** Receives the hello, and disconnects. */
async function leaves(backend: PeerListener, how: 'end' | 'reset'): Promise<void> {
  const peer = await backend.accept();
  await peer.receive(HELLO.length);
  peer[how]();
}

describe('a route with retryBeforeFirstByte', () => {
  it.each(['end', 'reset'] as const)(
    'sends the hello to another backend when one ends without a byte after receiving it: %s',
    async (how) => {
      await using first = await peerListener();
      await using second = await peerListener();
      await using proxy = await proxyTo([first, second]);
      await using client = await rawClient(proxy.address);
      await client.send(HELLO);
      await leaves(first, how);
      const backend = await second.accept();
      expect((await backend.receive(HELLO.length)).equals(HELLO)).toBe(true);
      await backend.send('welcome');
      expect((await client.receive(7)).toString()).toBe('welcome');
      await client.send('thanks');
      expect((await backend.receive(6)).toString()).toBe('thanks');
      client.end();
      const { closed } = await proxy.events.until('connection.closed');
      expect(closed).toMatchObject({ attempts: 2, retries: 1, transfer: { bytesUp: HELLO.length + 6, bytesDown: 7 } });
      expect(closed.error).toBeUndefined();
      const retried = proxy.events.all('connection.retried');
      expect(retried.map(({ upstream }) => upstream.address)).toEqual([first.address]);
      expect(proxy.events.all('connection.connected')).toHaveLength(2);
    },
  );

  it('passes the end of the last backend on to the client', async () => {
    await using first = await peerListener();
    await using second = await peerListener();
    await using proxy = await proxyTo([first, second]);
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await leaves(first, 'end');
    await leaves(second, 'reset');
    expect(await client.closed).toMatchObject({ kind: 'lost' });
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ retries: 1, error: { code: 'UPSTREAM_RESET' } });
  });

  it('ends with the code of the dial when no other backend is reached', async () => {
    await using first = await peerListener();
    const gone = await peerListener();
    await gone[Symbol.asyncDispose]();
    await using proxy = await proxyTo([first, gone]);
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await leaves(first, 'end');
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ retries: 1, attempts: 2, error: { code: 'CONNECT_REFUSED' } });
    await client.closed;
  });

  it('does not retry once the client has sent more than its hello', async () => {
    await using first = await peerListener();
    await using second = await peerListener();
    await using proxy = await proxyTo([first, second]);
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    const backend = await first.accept();
    await backend.receive(HELLO.length);
    await client.send('more');
    await backend.receive(4);
    backend.reset();
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ attempts: 1, error: { code: 'UPSTREAM_RESET' } });
    expect(closed.retries).toBe(0);
  });

  it('does not retry when the hello offers early data', async () => {
    const hello = inRecords(clientHello({ serverName: 'shop.example.com', earlyData: true }));
    await using first = await peerListener();
    await using second = await peerListener();
    await using proxy = await proxyTo([first, second]);
    await using client = await rawClient(proxy.address);
    await client.send(hello);
    const backend = await first.accept();
    await backend.receive(hello.length);
    backend.reset();
    expect(await proxy.events.until('connection.closed')).toMatchObject({ closed: { attempts: 1, retries: 0 } });
  });

  it('respects the maximum number of dials of a connection', async () => {
    const backends = await Promise.all(Array.from({ length: 4 }, () => peerListener()));
    await using proxy = await proxyTo(backends, {}, { limits: { dials: 2 } });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await Promise.all(backends.slice(0, 2).map((backend) => leaves(backend, 'end')));
    client.end();
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ attempts: 2, retries: 1 });
    for (const backend of backends) await backend[Symbol.asyncDispose]();
  });

  it('respects the connect timeout of the connection: a later end is passed on', async () => {
    await using first = await peerListener();
    await using second = await peerListener();
    await using proxy = await proxyTo([first, second], { connectTimeoutMs: 40 });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    const { at } = await proxy.events.until('connection.connected');
    const backend = await first.accept();
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, at + 60 - performance.now())));
    backend.end();
    await client.finished;
    client.end();
    expect(await proxy.events.until('connection.closed')).toMatchObject({ closed: { attempts: 1, retries: 0 } });
  });

  it('ends with a client that disconnects while another backend is dialled', async () => {
    await using first = await peerListener();
    await using proxy = await proxyTo([first, { address: UNREACHABLE }], { connectTimeoutMs: 30_000 });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await leaves(first, 'end');
    await proxy.events.until('connection.retried');
    client.reset();
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.retries).toBe(1);
    expect(closed.error?.side).not.toBe('proxy');
  });

  it('releases every slot, and counts one connection of the route', async () => {
    await using first = await peerListener();
    await using second = await peerListener();
    const limits = { connections: 1, perBackend: 1, rate: { count: 2, perMs: 3_600_000 } };
    await using proxy = await proxyTo([first, second], { limits });
    for (const round of [1, 2]) {
      await using client = await rawClient(proxy.address);
      await client.send(HELLO);
      await leaves(first, 'reset');
      const other = await second.accept();
      await other.receive(HELLO.length);
      await other.send('.');
      await client.receive(1);
      client.end();
      other.end();
      await proxy.events.untilCount('connection.closed', round);
    }
    const codes = proxy.events.all('connection.closed').map(({ closed }) => closed.error?.code);
    expect(codes).toEqual([undefined, undefined]);
  });
});

describe('a route without retryBeforeFirstByte', () => {
  it('passes the end of a backend on', async () => {
    await using first = await peerListener();
    await using second = await peerListener();
    await using proxy = await proxyTo([first, second], { retryBeforeFirstByte: false });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await leaves(first, 'end');
    await client.finished;
    client.end();
    expect(await proxy.events.until('connection.closed')).toMatchObject({ closed: { attempts: 1, retries: 0 } });
  });
});

/** Reserved for documentation (RFC 5737): no answer, or an ICMP error. */
const UNREACHABLE: Endpoint = { host: '192.0.2.1', port: 443 };
