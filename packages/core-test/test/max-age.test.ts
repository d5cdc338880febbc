import { createProxy } from '@meshgate/core';
import type { ProxyOptions, Route } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';
import { clientHello, inRecords, rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import type { TestBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { transportUnderTest } from './transport-under-test.ts';

const HELLO = inRecords(clientHello({ serverName: 'api.example.com' }));

async function proxyTo({ address }: TestBackend, limits: ProxyOptions['limits'], ofRoute?: Route['limits']) {
  const events = recorder();
  const backends = [{ address, weight: 1, healthy: true }];
  const route = { name: 'api', serverNames: ['api.example.com'], backends, ...(ofRoute && { limits: ofRoute }) };
  const proxy = createProxy({
    listen: { host: '127.0.0.1', port: 0 },
    routes: [route],
    sniffers: [sniSniffer()],
    observers: [events],
    transport: transportUnderTest(),
    ...(limits && { limits }),
    drain: { graceMs: 0, spreadMs: 0 },
  });
  await proxy.start();
  return { events, address: proxy.address, [Symbol.asyncDispose]: () => proxy.stop() };
}

describe('a connection', () => {
  it.each([
    ['of the proxy', { maxAgeMs: 60 }, undefined],
    ['of its route, whatever the proxy says', { maxAgeMs: 3_600_000 }, { maxAgeMs: 60 }],
  ])('ends at the maximum age %s, even with traffic', async (_whose, limits, ofRoute) => {
    await using backend = await tcpBackend('api');
    await using proxy = await proxyTo(backend, limits, ofRoute);
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error).toMatchObject({ code: 'MAX_AGE', message: 'its maximum age of 60 ms is over' });
    const lasted = closed.closedAt - (closed.connectedAt ?? 0);
    expect(lasted).toBeGreaterThan(50);
    await client.closed;
  });

  it('of a route without a limit outlasts the maximum age of the proxy', async () => {
    await using backend = await tcpBackend('api');
    await using proxy = await proxyTo(backend, { maxAgeMs: 30 }, { maxAgeMs: Infinity });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await client.receive(HELLO.length);
    await using other = await tcpBackend('api');
    await using aging = await proxyTo(other, { maxAgeMs: 60 });
    await using second = await rawClient(aging.address);
    await second.send(HELLO);
    await aging.events.until('connection.closed');
    await client.send(HELLO);
    expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
  });

  it('of a route ends after the idle timeout of the route', async () => {
    await using backend = await tcpBackend('api');
    await using proxy = await proxyTo(backend, {}, { idleTimeoutMs: 40 });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error?.code).toBe('IDLE_TIMEOUT');
  });

  it('of a route ends after the half-close timeout of the route', async () => {
    await using backend = await tcpBackend('api', { conduct: { kind: 'linger' } });
    await using proxy = await proxyTo(backend, { halfCloseTimeoutMs: 3_600_000 }, { halfCloseTimeoutMs: 40 });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await client.receive(HELLO.length);
    client.end();
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error?.code).toBe('HALF_CLOSE_TIMEOUT');
  });
});
