import { randomBytes } from 'node:crypto';
import { ProxyError } from '@meshgate/core';
import {
  clientHello,
  inRecords,
  peerListener,
  rawClient,
  refusingAddress,
  silentAddress,
  tcpBackend,
} from '@meshgate/testkit';
import type { Peer, PeerListener } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { routeTo, startProxy } from './proxy.ts';

const HELLO = inRecords(clientHello({ serverName: 'backend.example' }));

function echoServer() {
  return tcpBackend('backend');
}

describe('a connection that is carried', () => {
  it('arrives at the backend from its first byte on, and ends normally', async () => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    const sent = Buffer.concat([HELLO, randomBytes(3_000_000)]);
    const sending = client.send(sent);
    expect((await client.receive(sent.length)).equals(sent)).toBe(true);
    await sending;
    client.end();
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ attempts: 1, transfer: { bytesUp: sent.length, bytesDown: sent.length } });
    expect(closed.error).toBeUndefined();
  });

  it('reports its events in order, and its end once', async () => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    client.end();
    await proxy.events.until('connection.closed');
    const observed = proxy.events.events.map(({ type }) => type).filter((type) => type.startsWith('connection.'));
    expect(observed).toEqual(
      ['accepted', 'sniffed', 'routed', 'connected', 'closed'].map((what) => `connection.${what}`),
    );
  });

  it.each([1, 2, 17, 512])('has its hello read from records of %i bytes', async (size) => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    const hello = inRecords(clientHello({ serverName: 'backend.example' }), size);
    await client.send(hello);
    expect((await client.receive(hello.length)).equals(hello)).toBe(true);
  });

  it('has its hello read from segments of one byte, and loses no following bytes', async () => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    const sent = Buffer.concat([HELLO, Buffer.from('early data')]);
    await client.sendInPieces(Array.from(sent, (byte) => Uint8Array.of(byte)));
    expect((await client.receive(sent.length)).equals(sent)).toBe(true);
  });

  it('may be half-closed by the client: the backend still responds', async () => {
    await using backend = await tcpBackend('backend', { conduct: { kind: 'answer-last' } });
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    client.end();
    expect((await client.receiveAll()).equals(HELLO)).toBe(true);
    expect(await proxy.ending()).toBe('OK');
  });

  it('may be half-closed by the backend: the client still sends', async () => {
    await using listener = await peerListener();
    await using proxy = await startProxy({ routes: [routeTo(listener.address)] });
    await using client = await rawClient(proxy.address, { halfOpen: true });
    await client.send(HELLO);
    const server = await listener.accept();
    server.end();
    await client.finished;
    await client.send('afterwards');
    client.end();
    expect((await server.receiveAll()).subarray(HELLO.length).toString()).toBe('afterwards');
    expect(await proxy.ending()).toBe('OK');
  });

  it('holds no more than a few reads for a client that does not read', async () => {
    await using backend = await tcpBackend('backend', { conduct: { kind: 'source', bytes: 200_000_000 } });
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    client.pause();
    await client.send(HELLO);
    await proxy.events.until('connection.connected');
    const before = process.memoryUsage().arrayBuffers;
    // Idle once no byte has moved for many turns of this event loop, which the proxy shares.
    for (let turns = 0, last = -1; turns < 200;) {
      const { bytesDown = 0 } = proxy.sessions.live()[0] ?? {};
      turns = bytesDown === last ? turns + 1 : 0;
      last = bytesDown;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8_000_000);
    expect(proxy.sessions.live()[0]?.bytesDown).toBeLessThan(50_000_000);
  });

  it('is closed when it is idle in both directions for too long; a byte postpones that', async () => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)], limits: { idleTimeoutMs: 150 } });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await client.receive(HELLO.length);
    const start = performance.now();
    await new Promise((resolve) => setTimeout(resolve, 90));
    await client.send('still here');
    await client.closed;
    expect(performance.now() - start).toBeGreaterThan(200);
    expect(await proxy.ending()).toBe('IDLE_TIMEOUT');
  });
});

describe('a client that does not behave', () => {
  it.each([
    ['garbage', Buffer.from([0xde, 0xad, 0xbe, 0xef]), 'SNIFF_UNRECOGNIZED'],
    ['plain HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: backend.example\r\n\r\n'), 'SNIFF_UNRECOGNIZED'],
    ['a hello that breaks its own format', Buffer.from('1603010004020000000000', 'hex'), 'SNIFF_MALFORMED'],
  ])('is refused for %s, before any backend is dialled', async (_what, bytes, code) => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    await client.send(bytes);
    await client.closed;
    expect(client.bytesReceived).toBe(0);
    expect(await proxy.ending()).toBe(code);
    expect(backend.accepted).toBe(0);
  });

  it.each([
    ['no name', inRecords(clientHello({})), 'NO_SERVER_NAME', 109],
    ['a name that no route has', inRecords(clientHello({ serverName: 'other.example' })), 'ROUTE_NOT_FOUND', 112],
  ])('is refused for %s, with an alert', async (_what, bytes, code, alert) => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    await client.send(bytes);
    expect([...(await client.receiveAll())]).toEqual([21, 3, 1, 0, 2, 2, alert]);
    expect(await proxy.ending()).toBe(code);
    expect(backend.accepted).toBe(0);
  });

  it('receives its alert although it keeps sending: its data is dropped, and does not reset the connection', async () => {
    await using proxy = await startProxy({ routes: [] });
    const clients = Array.from({ length: 20 }, async () => {
      await using client = await rawClient(proxy.address);
      client.send(Buffer.concat([HELLO, randomBytes(64 * 1024)])).catch(() => undefined);
      client.send(randomBytes(64 * 1024)).catch(() => undefined);
      return [...(await client.receiveAll())];
    });
    for (const received of await Promise.all(clients)) expect(received).toEqual([21, 3, 1, 0, 2, 2, 112]);
  });

  it.each([
    ['missing', 0, 'no hello within 200 ms: a protocol whose server sends first, or packets lost on the path (MTU)'],
    [
      'incomplete',
      100,
      'hello incomplete after 200 ms: 100 bytes received; the client is slow, or larger packets are lost on the way (MTU)',
    ],
  ])(
    'is closed when its ClientHello is %s after the timeout, and the reason says what came',
    async (_what, bytes, message) => {
      await using proxy = await startProxy({ routes: [], limits: { helloTimeoutMs: 200 } });
      await using client = await rawClient(proxy.address);
      await client.send(HELLO.subarray(0, bytes));
      await client.closed;
      const { closed } = await proxy.events.until('connection.closed');
      expect(closed.error).toMatchObject({ code: 'SNIFF_TIMEOUT', message });
    },
  );

  it('is served when its ClientHello arrived in time, but the process was stopped beyond the timeout', async () => {
    await using proxy = await startProxy({ routes: [], limits: { helloTimeoutMs: 500 } });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO.subarray(0, 100));
    await proxy.events.until('connection.accepted');
    void client.send(HELLO.subarray(100));
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_200);
    expect(await proxy.ending()).toBe('ROUTE_NOT_FOUND');
  });

  it('is closed when it sends its ClientHello byte by byte: no byte extends the deadline', async () => {
    await using proxy = await startProxy({ routes: [], limits: { helloTimeoutMs: 200 } });
    await using client = await rawClient(proxy.address);
    let sent = 0;
    const drip = setInterval(() => void client.send(HELLO.subarray(sent, (sent += 1))).catch(() => undefined), 20);
    await client.closed;
    clearInterval(drip);
    expect(await proxy.ending()).toBe('SNIFF_TIMEOUT');
    expect(sent).toBeGreaterThan(3);
  });

  it.each([
    ['in part', 2_000],
    ['whole', 5_000],
  ])('is closed when its hello exceeds the limit, of which it sends at once %s', async (_what, bytes) => {
    await using proxy = await startProxy({ routes: [], limits: { helloMaxBytes: 1_000 } });
    await using client = await rawClient(proxy.address);
    const hello = inRecords(clientHello({ serverName: 'backend.example', padToBytes: 4_000 }));
    await client.send(hello.subarray(0, bytes));
    await client.closed;
    expect(await proxy.ending()).toBe('SNIFF_TOO_LONG');
  });

  it('is reported when it closes before its hello is complete', async () => {
    await using proxy = await startProxy({ routes: [] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO.subarray(0, 20));
    client.end();
    expect(await proxy.ending()).toBe('DOWNSTREAM_RESET');
  });

  it.each(['end', 'reset'] as const)(
    'has ended normally when it closes without a byte, as health checks do (%s)',
    async (how) => {
      await using proxy = await startProxy({ routes: [] });
      await using client = await rawClient(proxy.address);
      await proxy.events.until('connection.accepted');
      client[how]();
      expect(await proxy.ending()).toBe('OK');
    },
  );

  it('that resets while a backend is dialled for it ends the dial', async () => {
    await using silent = await silentAddress();
    await using proxy = await startProxy({ routes: [routeTo(silent.address)] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await proxy.events.until('connection.routed');
    client.reset();
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ attempts: 1, error: { code: 'DOWNSTREAM_RESET' } });
  });

  it('that resets in the middle is passed on to the backend as a reset', async () => {
    await using listener = await peerListener();
    await using proxy = await startProxy({ routes: [routeTo(listener.address)] });
    await using client = await rawClient(proxy.address);
    const server = await helloThrough(client, listener);
    client.reset();
    expect(await server.closed).toMatchObject({ kind: 'lost', error: { code: 'ECONNRESET' } });
    expect(await proxy.ending()).toBe('DOWNSTREAM_RESET');
  });
});

/** Sends a ClientHello and returns the backend's side, once the ClientHello has arrived there. */
async function helloThrough(client: Peer, listener: PeerListener): Promise<Peer> {
  await client.send(HELLO);
  const backend = await listener.accept();
  await backend.receive(HELLO.length);
  return backend;
}

describe('a reset on a route whose protocol ends with resets', () => {
  const SIDES = ['client', 'backend'] as const;

  it.each(SIDES)('ends the connection normally after a response, and is passed on: by the %s', async (side) => {
    await using listener = await peerListener();
    await using proxy = await startProxy({ routes: [{ ...routeTo(listener.address), resetsEndWell: true }] });
    await using client = await rawClient(proxy.address);
    const backend = await helloThrough(client, listener);
    await backend.send('answer');
    await client.receive(6);
    const other = side === 'client' ? backend : client;
    (side === 'client' ? client : backend).reset();
    expect(await other.closed).toMatchObject({ kind: 'lost' });
    expect(await proxy.ending()).toBe('OK');
  });

  it.each(SIDES)('is still a failure before a response: by the %s', async (side) => {
    await using listener = await peerListener();
    await using proxy = await startProxy({ routes: [{ ...routeTo(listener.address), resetsEndWell: true }] });
    await using client = await rawClient(proxy.address);
    const backend = await helloThrough(client, listener);
    (side === 'client' ? client : backend).reset();
    expect(await proxy.ending()).toBe(side === 'client' ? 'DOWNSTREAM_RESET' : 'UPSTREAM_RESET');
  });
});

describe('a backend that does not behave', () => {
  it('and refuses is skipped', async () => {
    await using backend = await echoServer();
    await using one = await refusingAddress();
    await using other = await refusingAddress();
    await using proxy = await startProxy({ routes: [routeTo(one.address, backend.address, other.address)] });
    for (let count = 0; count < 6; count += 1) {
      await using client = await rawClient(proxy.address);
      await client.send(HELLO);
      expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    }
    expect(proxy.events.all('dial.failed').length).toBeGreaterThan(0);
  });

  it('and hangs is skipped, within the one deadline', async () => {
    await using backend = await echoServer();
    await using silent = await silentAddress();
    await using proxy = await startProxy({
      routes: [{ ...routeTo(silent.address, backend.address), connectTimeoutMs: 600 }],
    });
    for (let count = 0; count < 2; count += 1) {
      await using client = await rawClient(proxy.address);
      await client.send(HELLO);
      expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    }
    expect(proxy.events.all('dial.failed')).toMatchObject([{ error: { code: 'CONNECT_TIMEOUT' } }]);
  });

  it('and is the only one ends the connection with its code', async () => {
    await using refusing = await refusingAddress();
    await using proxy = await startProxy({ routes: [routeTo(refusing.address)] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ attempts: 1, error: { code: 'CONNECT_REFUSED', side: 'upstream' } });
  });

  it('and resets after the connect is passed on to the client as a reset', async () => {
    await using backend = await tcpBackend('backend', { conduct: { kind: 'reset', afterBytes: HELLO.length } });
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    expect(await client.closed).toMatchObject({ kind: 'lost', error: { code: 'ECONNRESET' } });
    expect(await proxy.ending()).toBe('UPSTREAM_RESET');
  });

  it('and resets on accept is at fault, whether or not the dial had succeeded by then', async () => {
    await using backend = await tcpBackend('backend', { conduct: { kind: 'reset', afterBytes: 0 } });
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await client.closed;
    expect(['UPSTREAM_RESET', 'CONNECT_FAILED']).toContain(await proxy.ending());
  });

  it('does not exist: the route has none', async () => {
    await using proxy = await startProxy({ routes: [routeTo()] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await client.closed;
    expect(await proxy.ending()).toBe('NO_BACKEND');
  });

  it('is dialled nevertheless when all are unhealthy', async () => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo({ ...backend.address, healthy: false })] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
  });
});

describe('limits', () => {
  it('refuse a connection above the limit, and count it', async () => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)], limits: { connections: 1 } });
    await using first = await rawClient(proxy.address);
    await first.send(HELLO);
    await first.receive(HELLO.length);
    await using second = await rawClient(proxy.address);
    await second.closed;
    const refused = await proxy.events.until('connection.refused');
    expect(refused).toMatchObject({ listener: 'test', error: { code: 'LIMIT_REACHED' } });
  });

  it('for silent clients do not affect active ones, and accept a new one in place of the oldest', async () => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)], limits: { pendingHellos: 2 } });
    await using speaking = await rawClient(proxy.address);
    await speaking.send(HELLO);
    await speaking.receive(HELLO.length);
    await using one = await rawClient(proxy.address);
    await proxy.events.untilCount('connection.accepted', 2);
    await using other = await rawClient(proxy.address);
    await proxy.events.untilCount('connection.accepted', 3);
    await using third = await rawClient(proxy.address);
    await one.closed;
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error).toMatchObject({ code: 'LIMIT_REACHED' });
    expect(proxy.events.all('connection.closed')).toHaveLength(1);
    expect(proxy.events.all('connection.refused')).toHaveLength(0);
    await third.send(HELLO);
    expect(await third.receive(HELLO.length)).toHaveLength(HELLO.length);
    expect([one.bytesReceived, other.bytesReceived]).toEqual([0, 0]);
    await speaking.send('still here');
    expect((await speaking.receive(10)).toString()).toBe('still here');
  });

  it.each([
    ['that change nothing of it', {}],
    ['with another time for hellos', { helloTimeoutMs: 9_000 }],
  ])('for silent clients close the oldest, including those from before a reload %s', async (_claim, changed) => {
    await using backend = await echoServer();
    await using proxy = await startProxy({ routes: [routeTo(backend.address)], limits: { pendingHellos: 1 } });
    await using before = await rawClient(proxy.address);
    await proxy.events.untilCount('connection.accepted', 1);
    proxy.use({ pendingHellos: 1, ...changed });
    await using after = await rawClient(proxy.address);
    await before.closed;
    await after.send(HELLO);
    expect(await after.receive(HELLO.length)).toHaveLength(HELLO.length);
    expect(proxy.events.all('connection.refused')).toHaveLength(0);
  });
});

it('an observer that throws affects no connection', async () => {
  const broken = {
    name: 'broken',
    observe: () => {
      throw new Error('no disk');
    },
  };
  await using backend = await echoServer();
  await using proxy = await startProxy({ routes: [routeTo(backend.address)], observers: [broken] });
  await using client = await rawClient(proxy.address);
  await client.send(HELLO);
  expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
  expect(proxy.events.all('observer.threw')).toMatchObject([{ observer: 'broken', error: { message: 'no disk' } }]);
});

it('a live connection is listed, and can be cut', async () => {
  await using backend = await echoServer();
  await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
  await using client = await rawClient(proxy.address);
  await client.send(HELLO);
  await client.receive(HELLO.length);
  const [live] = proxy.sessions.live();
  const bytes = { bytesUp: HELLO.length, bytesDown: HELLO.length };
  expect(live).toMatchObject({ state: 'splicing', hello: { serverName: 'backend.example' }, ...bytes });
  const byHand = new ProxyError('CLOSED_BY_DRAIN', 'by hand');
  expect(proxy.sessions.cut(live?.connection.id ?? '', byHand)).toBe(true);
  await client.closed;
  expect(await proxy.ending()).toBe('CLOSED_BY_DRAIN');
  expect(proxy.sessions.cut('none', byHand)).toBe(false);
});
