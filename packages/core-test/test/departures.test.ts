import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { createProxy, nodeTransport, staticSource } from '@meshgate/core';
import type { Backend, Endpoint, Route, Transport } from '@meshgate/core';
import { Departures, indexRoutes, RouteTable } from '@meshgate/core/parts';
import { sniSniffer } from '@meshgate/sni';
import { clientHello, inRecords, peerListener, rawClient, recorder } from '@meshgate/testkit';
import type { Peer, PeerListener } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

const HELLO = inRecords(clientHello({ serverName: 'api.example.com' }));
const AT_ONCE = { graceMs: 0, spreadMs: 0 };

function routeTo(backends: readonly Pick<PeerListener, 'address'>[], more: Partial<Route> = {}): Route {
  const all = backends.map(({ address }): Backend => ({ address, weight: 1, healthy: true }));
  return { name: 'api', serverNames: ['api.example.com'], backends: all, ...more };
}

async function proxyOf(...routes: readonly Route[]) {
  return proxyOn(nodeTransport(), ...routes);
}

async function proxyOn(transport: Transport, ...routes: readonly Route[]) {
  const events = recorder();
  const source = staticSource('test', routes);
  const proxy = createProxy({
    listen: { host: '127.0.0.1', port: 0 },
    sources: [source],
    sniffers: [sniSniffer()],
    observers: [events],
    transport,
    drain: { graceMs: 0, spreadMs: 0 },
  });
  await proxy.start();
  return { address: proxy.address, events, source, [Symbol.asyncDispose]: () => proxy.stop() };
}

/** A transport whose dials complete only when the test allows it. */
function heldUp(): { readonly transport: Transport; readonly dialled: Promise<void>; letThrough(): void } {
  const inner = nodeTransport();
  let onDial: () => void = () => undefined;
  let letThrough: () => void = () => undefined;
  const dialled = new Promise<void>((resolve) => (onDial = resolve));
  const isLet = new Promise<void>((resolve) => (letThrough = resolve));
  const dial: Transport['dial'] = (to, options) => {
    onDial();
    const begun = inner.dial(to, options);
    return { cut: (reason) => begun.cut(reason), done: isLet.then(() => begun.done) };
  };
  return { transport: { ...inner, dial }, dialled, letThrough };
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** A client that is connected to this backend. */
async function through(to: Endpoint, backend: PeerListener): Promise<Peer> {
  const client = await rawClient(to);
  await client.send(HELLO);
  const peer = await backend.accept();
  await peer.receive(HELLO.length);
  await peer.send('.');
  await client.receive(1);
  return client;
}

describe('connections whose backend is removed from its route', () => {
  it('are closed with BACKEND_REMOVED, and no others', async () => {
    await using first = await peerListener();
    await using second = await peerListener();
    await using proxy = await proxyOf(routeTo([first], { onBackendRemoved: AT_ONCE }));
    await using gone = await through(proxy.address, first);
    proxy.source.set([routeTo([first, second], { onBackendRemoved: AT_ONCE, balance: 'round_robin' })]);
    await proxy.events.untilCount('routes.replaced', 2);
    proxy.source.set([routeTo([second], { onBackendRemoved: AT_ONCE })]);
    const departed = await proxy.events.until('backend.departed');
    expect(departed).toMatchObject({ backend: first.address, why: 'removed', connections: 1, route: { name: 'api' } });
    const { closed } = await proxy.events.until('connection.closed');
    const message = `127.0.0.1:${first.address.port} was removed, of route api`;
    expect(closed.error).toMatchObject({ code: 'BACKEND_REMOVED', message });
    await gone.closed;
    await using kept = await through(proxy.address, second);
    proxy.source.set([routeTo([second], { onBackendRemoved: AT_ONCE, connectTimeoutMs: 1_000 })]);
    await proxy.events.untilCount('routes.replaced', 4);
    await kept.send('still here');
    expect(proxy.events.all('connection.closed')).toHaveLength(1);
  });

  it('continue if the route keeps them, the default', async () => {
    await using first = await peerListener();
    await using second = await peerListener();
    await using proxy = await proxyOf(routeTo([first]));
    await using client = await through(proxy.address, first);
    proxy.source.set([routeTo([second])]);
    await proxy.events.untilCount('routes.replaced', 2);
    proxy.source.set([]);
    await proxy.events.untilCount('routes.replaced', 3);
    await client.send('still here');
    expect(proxy.events.all('backend.departed')).toEqual([]);
  });

  it('are closed, too, when the whole route is removed', async () => {
    await using backend = await peerListener();
    await using proxy = await proxyOf(routeTo([backend], { onBackendRemoved: AT_ONCE }));
    await using client = await through(proxy.address, backend);
    proxy.source.set([]);
    expect((await proxy.events.until('connection.closed')).closed.error?.code).toBe('BACKEND_REMOVED');
    await client.closed;
  });

  it('continue during the grace period, and stay when the backend returns within it', async () => {
    await using backend = await peerListener();
    await using other = await peerListener();
    const drain = { onBackendRemoved: { graceMs: 150, spreadMs: 0 } };
    const routes = [routeTo([backend], drain), { ...routeTo([other], drain), name: 'db', serverNames: ['db.example'] }];
    await using proxy = await proxyOf(...routes);
    await using client = await through(proxy.address, backend);
    await using leaving = await rawClient(proxy.address);
    await leaving.send(inRecords(clientHello({ serverName: 'db.example' })));
    await (await other.accept()).receive(1);
    const removedAt = performance.now();
    proxy.source.set([]);
    await proxy.events.untilCount('backend.departed', 2);
    proxy.source.set(routes.slice(0, 1));
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ route: { name: 'db' }, error: { code: 'BACKEND_REMOVED' } });
    expect(closed.closedAt - removedAt).toBeGreaterThan(140);
    await client.send('still here');
    expect(proxy.events.all('connection.closed')).toHaveLength(1);
  });

  it('are closed as soon as they are established, when the backend was removed during the dial', async () => {
    await using backend = await peerListener();
    const { transport, dialled, letThrough } = heldUp();
    await using proxy = await proxyOn(transport, routeTo([backend], { onBackendRemoved: AT_ONCE }));
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await dialled;
    proxy.source.set([]);
    await proxy.events.untilCount('routes.replaced', 2);
    letThrough();
    const { closed } = await proxy.events.until('connection.closed');
    expect([closed.error?.code, proxy.events.all('connection.connected').length]).toEqual(['BACKEND_REMOVED', 1]);
    await client.closed;
  });

  it('continue when the backend returns during the dial', async () => {
    await using backend = await peerListener();
    const { transport, dialled, letThrough } = heldUp();
    const route = routeTo([backend], { onBackendRemoved: AT_ONCE });
    await using proxy = await proxyOn(transport, route);
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await dialled;
    proxy.source.set([]);
    await proxy.events.untilCount('routes.replaced', 2);
    proxy.source.set([route]);
    await proxy.events.untilCount('routes.replaced', 3);
    letThrough();
    const peer = await backend.accept();
    await peer.receive(HELLO.length);
    await peer.send('.');
    expect((await client.receive(1)).toString()).toBe('.');
  });

  it('are closed when a retry leads to a backend that was removed while another one did not respond', async () => {
    await using silent = await peerListener();
    await using removed = await peerListener();
    const drain = { onBackendRemoved: AT_ONCE, retryBeforeFirstByte: true };
    const { backends, ...rest } = routeTo([silent, removed], drain);
    const route = { ...rest, backends: backends.map((backend, priority) => ({ ...backend, priority })) };
    await using proxy = await proxyOf(route);
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    const peer = await silent.accept();
    await peer.receive(HELLO.length);
    proxy.source.set([routeTo([silent], drain)]);
    await proxy.events.untilCount('routes.replaced', 2);
    peer.reset();
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ error: { code: 'BACKEND_REMOVED' }, retries: 1 });
    await client.closed;
  });

  it('are closed when their route with egress is gone, or no longer covers their name', async () => {
    await using service = await peerListener();
    const route = (...serverNames: readonly string[]): Route => ({
      name: 'out',
      serverNames,
      backends: [],
      egress: { port: service.address.port, allowAddresses: ['127.0.0.1', '::1'] },
      onBackendRemoved: AT_ONCE,
    });
    await using proxy = await proxyOf(route('*.localhost'));
    const querying = async (serverName: string): Promise<Peer> => {
      const client = await rawClient(proxy.address);
      const hello = inRecords(clientHello({ serverName }));
      await client.send(hello);
      await (await service.accept()).receive(hello.length);
      return client;
    };
    await using narrowed = await querying('a.localhost');
    await using gone = await querying('b.localhost');
    proxy.source.set([route('b.localhost')]);
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ hello: { serverName: 'a.localhost' }, error: { code: 'BACKEND_REMOVED' } });
    await narrowed.closed;
    proxy.source.set([]);
    await proxy.events.untilCount('connection.closed', 2);
    await gone.closed;
  });

  it('are closed over the spread of the route', async () => {
    await using backend = await peerListener();
    await using proxy = await proxyOf(routeTo([backend], { onBackendRemoved: { graceMs: 0, spreadMs: 200 } }));
    const clients = await Promise.all(Array.from({ length: 5 }, () => through(proxy.address, backend)));
    proxy.source.set([]);
    const closes = await proxy.events.untilCount('connection.closed', 5);
    const times = closes.map(({ closed }) => closed.closedAt);
    expect(Math.max(...times) - Math.min(...times)).toBeGreaterThan(100);
    for (const client of clients) await client[Symbol.asyncDispose]();
  });
});

describe('50,000 connections', () => {
  it('are scanned and closed in turns with all other work', async () => {
    const backends = Array.from({ length: 1_000 }, (_, index): Backend => {
      return { address: { host: `10.0.${index >> 8}.${index & 255}`, port: 443 }, weight: 1, healthy: true };
    });
    const route: Route = { name: 'api', serverNames: ['api.example.com'], backends, onBackendRemoved: AT_ONCE };
    const live = new Set<object>();
    const sessions = Array.from({ length: 50_000 }, (_, index) => {
      const backend = backends[index % backends.length] as Backend;
      const reached = { upstream: { route, backend, address: backend.address }, connectedAt: 1 };
      const cut = (): boolean => live.delete(session);
      const session = { reached, lastByteAt: index, watchReached: () => undefined, cut };
      live.add(session);
      return session;
    });
    const next = { version: '2', routes: [{ ...route, backends: backends.slice(500) }] };
    const table = new RouteTable([indexRoutes('test', next)]);
    const events = recorder();
    const departures = new Departures({ sessions: sessions as never, table: () => table, observer: events });
    const previous = { version: '1', routes: [route] };
    departures.observe({ type: 'routes.replaced', source: 'test', snapshot: next, previous, removed: [], tookMs: 0 });
    let turns = 0;
    for (; live.size > 25_000; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(turns).toBeGreaterThan(5);
    expect(events.all('backend.departed')).toHaveLength(500);
    await departures.stop();
  });
});

describe('connections whose backend is down', () => {
  it('are closed when health checks say so', async () => {
    // It can stop listening while its connections continue.
    const server = createServer((socket) => socket.on('error', () => undefined).resume());
    const address = { host: '127.0.0.1', port: await listening(server) };
    const healthCheck = { kind: 'tcp', intervalMs: 30, timeoutMs: 500, rise: 1, fall: 1 } as const;
    await using proxy = await proxyOf(routeTo([{ address }], { healthCheck, onBackendDown: AT_ONCE }));
    await proxy.events.until('backend.checked', ({ passed }) => passed);
    const client = await rawClient(proxy.address);
    await client.send(HELLO);
    await proxy.events.until('connection.connected');
    const stopped = once(server, 'close');
    server.close();
    const departed = await proxy.events.until('backend.departed');
    expect(departed).toMatchObject({ backend: address, why: 'down', connections: 1 });
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error?.message).toBe(`127.0.0.1:${address.port} is down, of route api`);
    await client.closed;
    await client[Symbol.asyncDispose]();
    await stopped;
  });

  it('are closed when their source reports it as unhealthy; later connections are not, nor any by default', async () => {
    await using backend = await peerListener();
    const sick = (more: Partial<Route>): Route => {
      const { backends, ...rest } = routeTo([backend], more);
      return { ...rest, backends: backends.map((one) => ({ ...one, healthy: false })) };
    };
    await using proxy = await proxyOf(routeTo([backend]));
    await using client = await through(proxy.address, backend);
    proxy.source.set([sick({})]);
    await proxy.events.untilCount('routes.replaced', 2);
    proxy.source.set([routeTo([backend], { onBackendDown: AT_ONCE })]);
    await proxy.events.untilCount('routes.replaced', 3);
    proxy.source.set([sick({ onBackendDown: AT_ONCE })]);
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error?.code).toBe('BACKEND_REMOVED');
    await using after = await through(proxy.address, backend);
    await after.send('still here');
    expect(proxy.events.all('connection.closed')).toHaveLength(1);
    await client.closed;
  });
});
