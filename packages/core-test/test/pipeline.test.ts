import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { ProxyError } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { clientHello, inRecords } from '@meshgate/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { backend, client, echo, refusing } from './peers.ts';
import type { Backend } from './peers.ts';
import { routeTo, startProxy } from './proxy.ts';
import type { ProxyOptions, TestProxy } from './proxy.ts';

const HELLO = inRecords(clientHello({ serverName: 'backend.example' }));

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function serving(serve: (socket: Socket) => void): Promise<Backend> {
  const served = await backend(serve);
  closers.push(() => served.close());
  return served;
}

async function proxied(
  options: Omit<ProxyOptions, 'routes'> & { readonly to: readonly Endpoint[] },
): Promise<TestProxy> {
  const proxy = await startProxy({ ...options, routes: [routeTo(...options.to)] });
  closers.push(() => proxy.stop());
  return proxy;
}

function dialled(proxy: TestProxy) {
  const one = client(proxy.address);
  closers.push(() => one.socket.destroy());
  return one;
}

describe('a connection that is carried', () => {
  it('arrives at the backend from its first byte on, and ends well', async () => {
    const proxy = await proxied({ to: [await serving(echo)] });
    const { socket, received } = dialled(proxy);
    const payload = randomBytes(3_000_000);
    socket.write(HELLO);
    socket.end(payload);
    expect((await received).equals(Buffer.concat([HELLO, payload]))).toBe(true);
    const { closed } = await proxy.events.until('connection.closed');
    const bytes = HELLO.length + payload.length;
    expect(closed).toMatchObject({ attempts: 1, transfer: { bytesUp: bytes, bytesDown: bytes } });
    expect(closed.error).toBeUndefined();
  });

  it('tells its life in order, and its end once', async () => {
    const proxy = await proxied({ to: [await serving(echo)] });
    const { socket, received } = dialled(proxy);
    socket.end(HELLO);
    await received;
    await proxy.events.until('connection.closed');
    const told = proxy.events.seen.map(({ type }) => type).filter((type) => type.startsWith('connection.'));
    expect(told).toEqual([
      'connection.accepted',
      'connection.sniffed',
      'connection.routed',
      'connection.connected',
      'connection.closed',
    ]);
  });

  it.each([1, 2, 17, 512])('has its hello read from records of %i bytes', async (size) => {
    const proxy = await proxied({ to: [await serving(echo)] });
    const { socket, received } = dialled(proxy);
    const hello = inRecords(clientHello({ serverName: 'backend.example' }), size);
    socket.end(hello);
    expect((await received).equals(hello)).toBe(true);
  });

  it('has its hello read from segments of one byte, and what follows it is not lost', async () => {
    const proxy = await proxied({ to: [await serving(echo)] });
    const { socket, received } = dialled(proxy);
    for (const byte of HELLO) {
      socket.write(Uint8Array.of(byte));
      await new Promise((resolve) => setImmediate(resolve));
    }
    socket.end('early data');
    expect((await received).subarray(HELLO.length).toString()).toBe('early data');
  });

  it('may be half-closed by the client: the backend still answers', async () => {
    const proxy = await proxied({
      to: [await serving((socket) => void once(socket.resume(), 'end').then(() => socket.end('answer')))],
    });
    const { socket, received } = dialled(proxy);
    socket.end(HELLO);
    expect((await received).toString()).toBe('answer');
    expect(await proxy.events.ending()).toBe('OK');
  });

  it('may be half-closed by the backend: the client still sends', async () => {
    const heard: Buffer[] = [];
    const served = await serving((socket) => {
      socket.end('greeting');
      socket.on('data', (chunk: Buffer) => heard.push(chunk));
    });
    const proxy = await proxied({ to: [served] });
    const { socket, received } = dialled(proxy);
    socket.write(HELLO);
    expect((await received).toString()).toBe('greeting');
    socket.end('afterwards');
    await once(await served.first(), 'close');
    expect(await proxy.events.ending()).toBe('OK');
    expect(Buffer.concat(heard).subarray(HELLO.length).toString()).toBe('afterwards');
  });

  it('fills no memory when the client does not read', async () => {
    const sent = { bytes: 0, full: false };
    const chunk = Buffer.alloc(65_536);
    const served = await serving((socket) => {
      const pour = (): void => {
        while (!sent.full && socket.write(chunk)) sent.bytes += chunk.length;
        sent.full = true;
        socket.once('drain', () => {
          sent.full = false;
          pour();
        });
      };
      socket.once('data', pour);
    });
    const proxy = await proxied({ to: [served] });
    const { socket } = dialled(proxy);
    socket.pause();
    socket.write(HELLO);
    await proxy.events.until('connection.connected');
    // The sender has come to rest when it has been full for many turns of this very process, the proxy's loop included.
    for (let turns = 0, last = -1; turns < 200; turns = last === sent.bytes ? turns + 1 : 0) {
      last = sent.bytes;
      await new Promise((resolve) => setImmediate(resolve));
    }
    const [live] = proxy.flights.live();
    expect(live?.bytesDown).toBeGreaterThan(0);
    // Kernel buffers hold the most; what the proxy itself holds is a read or two.
    expect(sent.bytes - (live?.bytesDown ?? 0)).toBeLessThan(16 * 1024 * 1024);
  });

  it('that is silent both ways is let go when the idle timeout is over, and a byte postpones it', async () => {
    const proxy = await proxied({ to: [await serving(echo)], limits: { idleTimeoutMs: 150 } });
    const { socket, ending } = dialled(proxy);
    socket.write(HELLO);
    await once(socket, 'data');
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 90));
    socket.write('still here');
    await ending;
    expect(performance.now() - start).toBeGreaterThan(200);
    expect(await proxy.events.ending()).toBe('IDLE_TIMEOUT');
  });
});

describe('a client that does not behave', () => {
  it.each([
    ['garbage', Buffer.from([0xde, 0xad, 0xbe, 0xef]), 'SNIFF_UNRECOGNIZED'],
    ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: backend.example\r\n\r\n'), 'SNIFF_UNRECOGNIZED'],
    ['a hello that breaks its own format', Buffer.from('1603010004020000000000', 'hex'), 'SNIFF_MALFORMED'],
    ['a hello without a name', inRecords(clientHello({})), 'NO_SERVER_NAME'],
    ['a name that no route has', inRecords(clientHello({ serverName: 'other.example' })), 'ROUTE_NOT_FOUND'],
  ])('is turned away for %s, before any backend hears of it', async (_what, bytes, code) => {
    const served = await serving(echo);
    const proxy = await proxied({ to: [served] });
    const { socket, received } = dialled(proxy);
    socket.write(bytes);
    expect(await received).toHaveLength(0);
    expect(await proxy.events.ending()).toBe(code);
    expect(served.sockets).toHaveLength(0);
  });

  it('is let go when it is silent', async () => {
    const proxy = await proxied({ to: [], limits: { helloTimeoutMs: 50 } });
    await dialled(proxy).ending;
    expect(await proxy.events.ending()).toBe('SNIFF_TIMEOUT');
  });

  it('is let go when it drips: no byte extends the deadline', async () => {
    const proxy = await proxied({ to: [], limits: { helloTimeoutMs: 200 } });
    const { socket, ending } = dialled(proxy);
    let next = 0;
    const drip = setInterval(() => socket.write(HELLO.subarray(next, (next += 1))), 20);
    await ending;
    clearInterval(drip);
    expect(await proxy.events.ending()).toBe('SNIFF_TIMEOUT');
    expect(next).toBeGreaterThan(3);
  });

  it('is let go when its hello is larger than the limit', async () => {
    const proxy = await proxied({ to: [], limits: { helloMaxBytes: 1_000 } });
    const { socket, ending } = dialled(proxy);
    socket.write(inRecords(clientHello({ serverName: 'backend.example', padToBytes: 4_000 })).subarray(0, 2_000));
    await ending;
    expect(await proxy.events.ending()).toBe('SNIFF_TOO_LONG');
  });

  it('is noted when it leaves before its hello is whole', async () => {
    const proxy = await proxied({ to: [] });
    dialled(proxy).socket.end(HELLO.subarray(0, 20));
    expect(await proxy.events.ending()).toBe('DOWNSTREAM_RESET');
  });

  it('ends the dial that is made for it when it resets', async () => {
    const served = await serving(() => undefined);
    const proxy = await proxied({ to: [served] });
    const { socket } = dialled(proxy);
    socket.write(HELLO);
    await proxy.events.until('connection.routed');
    socket.resetAndDestroy();
    expect(await proxy.events.ending()).toBe('DOWNSTREAM_RESET');
  });

  it('that resets in the middle is passed on to the backend as a reset', async () => {
    const served = await serving((socket) => void socket.resume());
    const proxy = await proxied({ to: [served] });
    const { socket } = dialled(proxy);
    socket.write(HELLO);
    const upstream = await served.first();
    await once(upstream, 'data');
    const lost = once(upstream, 'error') as Promise<[NodeJS.ErrnoException]>;
    socket.resetAndDestroy();
    expect((await lost)[0].code).toBe('ECONNRESET');
    expect(await proxy.events.ending()).toBe('DOWNSTREAM_RESET');
  });
});

describe('a backend that does not behave', () => {
  it('and refuses is passed over for the next', async () => {
    const proxy = await proxied({ to: [await refusing(), await serving(echo), await refusing()] });
    for (let count = 0; count < 6; count += 1) {
      const { socket, received } = dialled(proxy);
      socket.end(HELLO);
      expect((await received).equals(HELLO)).toBe(true);
    }
    expect(proxy.events.all('dial.failed').length).toBeGreaterThan(0);
  });

  it('and is the only one ends the connection with its code', async () => {
    const proxy = await proxied({ to: [await refusing()] });
    dialled(proxy).socket.write(HELLO);
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ attempts: 1, error: { code: 'CONNECT_REFUSED', side: 'upstream' } });
  });

  it('and resets after it was reached is passed on to the client as a reset', async () => {
    const proxy = await proxied({
      to: [await serving((socket) => void socket.once('data', () => socket.resetAndDestroy()))],
    });
    const { socket, ending } = dialled(proxy);
    socket.write(HELLO);
    expect(await ending).toBe('ECONNRESET');
    expect(await proxy.events.ending()).toBe('UPSTREAM_RESET');
  });

  it('does not exist: the route has none', async () => {
    const proxy = await proxied({ to: [] });
    const { socket, received } = dialled(proxy);
    socket.write(HELLO);
    expect(await received).toHaveLength(0);
    expect(await proxy.events.ending()).toBe('NO_BACKEND');
  });

  it('is dialled all the same when all are unhealthy', async () => {
    const served = await serving(echo);
    const proxy = await startProxy({ routes: [routeTo({ ...served, healthy: false })] });
    closers.push(() => proxy.stop());
    const { socket, received } = dialled(proxy);
    socket.end(HELLO);
    expect((await received).equals(HELLO)).toBe(true);
  });
});

describe('limits', () => {
  it('refuse a connection too many, and count it', async () => {
    const proxy = await proxied({ to: [await serving(echo)], limits: { connections: 1 } });
    const first = dialled(proxy);
    first.socket.write(HELLO);
    await once(first.socket, 'data');
    expect(await dialled(proxy).received).toHaveLength(0);
    expect(await proxy.events.until('connection.refused')).toMatchObject({
      listener: 'test',
      error: { code: 'LIMIT_REACHED' },
    });
  });

  it('for silent clients leave those that speak alone', async () => {
    const proxy = await proxied({ to: [await serving(echo)], limits: { pendingHellos: 2 } });
    const speaking = dialled(proxy);
    speaking.socket.write(HELLO);
    await once(speaking.socket, 'data');
    dialled(proxy);
    dialled(proxy);
    while (proxy.flights.size < 3) await new Promise((resolve) => setImmediate(resolve));
    await dialled(proxy).ending;
    expect(proxy.events.all('connection.refused')).toHaveLength(1);
    speaking.socket.end('bye');
    expect((await speaking.received).subarray(HELLO.length).toString()).toBe('bye');
  });
});

it('an observer that throws harms no connection', async () => {
  const broken = {
    name: 'broken',
    observe: () => {
      throw new Error('no disk');
    },
  };
  const proxy = await proxied({ to: [await serving(echo)], observers: [broken] });
  const { socket, received } = dialled(proxy);
  socket.end(HELLO);
  expect((await received).equals(HELLO)).toBe(true);
  expect(proxy.events.all('observer.threw')).toMatchObject([{ observer: 'broken', error: { message: 'no disk' } }]);
});

it('a live connection can be seen, and cut', async () => {
  const proxy = await proxied({ to: [await serving(echo)] });
  const { socket, ending } = dialled(proxy);
  socket.write(HELLO);
  await once(socket, 'data');
  const [live] = proxy.flights.live();
  expect(live).toMatchObject({
    state: 'splicing',
    hello: { serverName: 'backend.example' },
    bytesUp: HELLO.length,
    bytesDown: HELLO.length,
  });
  expect(proxy.flights.cut(live?.connection.id ?? '', new ProxyError('CLOSED_BY_DRAIN', 'by hand'))).toBe(true);
  await ending;
  expect(await proxy.events.ending()).toBe('CLOSED_BY_DRAIN');
  expect(proxy.flights.cut('none', new ProxyError('INTERNAL', 'x'))).toBe(false);
});
