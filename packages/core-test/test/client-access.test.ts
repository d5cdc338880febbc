import { createProxy, staticSource } from '@meshgate/core';
import type { AccessRules, ConnectionFilter, Endpoint, ProxyOptions, Route } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';
import { clientHello, inRecords, rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

const HELLO = inRecords(clientHello({ serverName: 'api.example.com' }));

/** Sets the address of each client to `host`, as a PROXY protocol header would. */
function clientAt(host: string): ConnectionFilter {
  return {
    name: 'from',
    filter(client) {
      client.setRemote({ host, port: 4711 });
      return Promise.resolve(undefined);
    },
  };
}

function routeTo(backends: readonly Endpoint[], more: Partial<Route> = {}): Route {
  return {
    name: 'api',
    serverNames: ['api.example.com'],
    backends: backends.map((address, priority) => ({ address, weight: 1, healthy: true, priority })),
    ...more,
  };
}

interface Options {
  readonly route: Route;
  readonly access?: AccessRules;
  readonly filters?: readonly ConnectionFilter[];
  readonly limits?: ProxyOptions['limits'];
}

async function proxyWith({ route, access, filters = [], limits = {} }: Options) {
  const events = recorder();
  const endpoint = { host: '127.0.0.1', port: 0 };
  const proxy = createProxy({
    listen: [{ name: 'edge', endpoint, ...(access !== undefined && { access }) }],
    routes: [route],
    sniffers: [sniSniffer()],
    observers: [events],
    filters,
    limits,
    drain: { graceMs: 0, spreadMs: 0 },
  });
  await proxy.start();
  return {
    events,
    get address() {
      return proxy.address;
    },
    [Symbol.asyncDispose]: () => proxy.stop(),
  };
}

/** A client that has sent its hello. */
async function greeting(address: Endpoint) {
  const client = await rawClient(address);
  await client.send(HELLO);
  return client;
}

describe('access rules of a listener', () => {
  it.each([
    ['allow', { allow: ['127.0.0.0/8'] }, true],
    ['allow others', { allow: ['192.0.2.0/24'] }, false],
    ['deny', { deny: ['127.0.0.1'] }, false],
    ['deny others', { deny: ['192.0.2.0/24'] }, true],
    ['allow and deny', { allow: ['127.0.0.0/8'], deny: ['127.0.0.1'] }, false],
    ['name a file that nobody reads', { allowFile: '/etc/allowed.txt' }, false],
  ])('that %s a client', async (_what, access, isLetIn) => {
    await using backend = await tcpBackend('api');
    await using proxy = await proxyWith({ route: routeTo([backend.address]), access });
    await using client = await rawClient(proxy.address);
    if (isLetIn) {
      await client.send(HELLO);
      expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    } else {
      const { listener, error } = await proxy.events.until('connection.refused');
      expect([listener, error.code]).toEqual(['edge', 'CLIENT_DENIED']);
      await client.closed;
    }
  });

  it('check the client set by a filter, not the TCP peer', async () => {
    await using backend = await tcpBackend('api');
    const access = { allow: ['192.0.2.0/24'] };
    await using inside = await proxyWith({
      route: routeTo([backend.address]),
      access,
      filters: [clientAt('192.0.2.1')],
    });
    await using client = await greeting(inside.address);
    expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    await using outside = await proxyWith({
      route: routeTo([backend.address]),
      access,
      filters: [clientAt('127.0.0.1')],
    });
    await using other = await greeting(outside.address);
    const { closed } = await outside.events.until('connection.closed');
    expect(closed.error?.message).toBe('access of listener edge: its address is not among those allowed');
    await other.closed;
  });
});

describe('access rules of a route', () => {
  it('exclude a client from that route, and no backend is dialled', async () => {
    await using backend = await tcpBackend('api');
    const route = routeTo([backend.address], { access: { deny: ['127.0.0.0/8'] } });
    await using proxy = await proxyWith({ route });
    await using client = await greeting(proxy.address);
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ route: { name: 'api' }, attempts: 0, error: { code: 'CLIENT_DENIED' } });
    expect(backend.accepted).toBe(0);
    await client.closed;
  });
});

describe('limits of a route', () => {
  it('refuse a connection above the limit, and accept one again when another has ended', async () => {
    await using backend = await tcpBackend('api');
    await using proxy = await proxyWith({ route: routeTo([backend.address], { limits: { connections: 1 } }) });
    {
      await using first = await greeting(proxy.address);
      await first.receive(HELLO.length);
      await using second = await greeting(proxy.address);
      await second.closed;
      const { closed } = await proxy.events.until('connection.closed');
      expect(closed.error).toMatchObject({
        code: 'LIMIT_REACHED',
        message: 'route api: limits.connections: all 1 are in use',
      });
    }
    await proxy.events.until('connection.closed', ({ closed }) => closed.error?.code !== 'LIMIT_REACHED');
    await using third = await greeting(proxy.address);
    expect((await third.receive(HELLO.length)).equals(HELLO)).toBe(true);
  });

  it('count a connection that reaches no backend only while it lasts', async () => {
    const nobody = { host: '127.0.0.1', port: 1 };
    await using proxy = await proxyWith({ route: routeTo([nobody], { limits: { connections: 1, perBackend: 1 } }) });
    for (let index = 0; index < 3; index += 1) {
      await using client = await greeting(proxy.address);
      await client.closed;
    }
    await proxy.events.until('connection.closed', () => proxy.events.all('connection.closed').length === 3);
    const codes = proxy.events.all('connection.closed').map(({ closed }) => closed.error?.code);
    expect(codes).toEqual(['CONNECT_REFUSED', 'CONNECT_REFUSED', 'CONNECT_REFUSED']);
  });

  it('refuse new connections above the rate', async () => {
    await using backend = await tcpBackend('api');
    const limits = { rate: { count: 2, perMs: 3_600_000 } };
    await using proxy = await proxyWith({ route: routeTo([backend.address], { limits }) });
    for (let index = 0; index < 3; index += 1) {
      await using client = await greeting(proxy.address);
      if (index < 2) await client.receive(HELLO.length);
      else await client.closed;
    }
    const limited = await proxy.events.until(
      'connection.closed',
      ({ closed }) => closed.error?.code === 'LIMIT_REACHED',
    );
    expect(limited.closed.error?.message).toBe('route api: limits.rate: more than 2/h');
  });

  it('keep usage over a reload that changes them', async () => {
    await using backend = await tcpBackend('api');
    const limited = (count: number, connections: number): Route =>
      routeTo([backend.address], { limits: { rate: { count, perMs: 3_600_000 }, connections } });
    const source = staticSource('test', [limited(2, 10)]);
    const events = recorder();
    const proxy = createProxy({
      listen: { host: '127.0.0.1', port: 0 },
      sources: [source],
      sniffers: [sniSniffer()],
      observers: [events],
      drain: { graceMs: 0, spreadMs: 0 },
    });
    await proxy.start();
    const reasons = async (clients: number): Promise<readonly (string | undefined)[]> => {
      const found: (string | undefined)[] = [];
      for (let index = 0; index < clients; index += 1) {
        const client = await greeting(proxy.address);
        held.push(client);
        const first = await Promise.race([client.receive(HELLO.length).catch(() => undefined), client.closed]);
        const last = events.all('connection.closed').at(-1)?.closed.error?.message;
        found.push(first === undefined ? last : undefined);
      }
      return found;
    };
    const held: Awaited<ReturnType<typeof greeting>>[] = [];
    const tooFast = (rate: string): string => `route api: limits.rate: more than ${rate}`;
    expect(await reasons(3)).toEqual([undefined, undefined, tooFast('2/h')]);
    // Two of the thousand tokens are spent, and two of the three connections are in use.
    source.set([limited(1_000, 3)]);
    await events.untilCount('routes.replaced', 2);
    expect(await reasons(2)).toEqual([undefined, 'route api: limits.connections: all 3 are in use']);
    for (const client of held) await client[Symbol.asyncDispose]();
    await proxy.stop();
  });

  it('fill one backend, then the next, then the next priority, and then refuse', async () => {
    await using first = await tcpBackend('first');
    await using second = await tcpBackend('second');
    await using backup = await tcpBackend('backup');
    const backends = [first, second, backup].map(({ address }, index) => {
      return { address, weight: 1, healthy: true, priority: Math.floor(index / 2) };
    });
    const route = { ...routeTo([]), backends, limits: { perBackend: 1 } };
    await using proxy = await proxyWith({ route, limits: { dials: 1 } });
    await using one = await greeting(proxy.address);
    await one.receive(HELLO.length);
    await using two = await greeting(proxy.address);
    await two.receive(HELLO.length);
    await using three = await greeting(proxy.address);
    await three.receive(HELLO.length);
    expect([first.accepted, second.accepted, backup.accepted]).toEqual([1, 1, 1]);
    expect(proxy.events.all('connection.connected').at(-1)?.upstream.address).toEqual(backup.address);
    await using refused = await greeting(proxy.address);
    await refused.closed;
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error).toMatchObject({
      code: 'LIMIT_REACHED',
      message: 'route api: limits.perBackend: no backend has less than 1 connections',
    });
  });
});
