import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { clientHello, inRecords } from '@meshgate/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { descriptorLimits, echoProcess, proxyProcess } from './proxy-process.ts';
import type { ProxyProcess } from './proxy-process.ts';

const HELLO = inRecords(clientHello({ serverName: 'backend.example' }));
const PAYLOAD_BYTES = 1024;

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function proxied(descriptors: number): Promise<ProxyProcess> {
  const backend = await echoProcess(WANTED_DESCRIPTORS);
  closers.push(() => backend.stop());
  const proxy = await proxyProcess(backend.port, descriptors);
  closers.push(() => proxy.stop());
  return proxy;
}

/** A client that has sent its hello and a payload, and has received both back. */
async function held(port: number, number: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
  const payload = Buffer.alloc(PAYLOAD_BYTES, `connection ${number};`);
  socket.write(HELLO);
  socket.write(payload);
  const expected = Buffer.concat([HELLO, payload]);
  const received: Buffer[] = [];
  for (let bytes = 0; bytes < expected.length;) {
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    received.push(chunk);
    bytes += chunk.length;
  }
  expect(Buffer.concat(received).equals(expected)).toBe(true);
  return socket;
}

/** `count` clients, of which a limited number connect at the same time. */
async function holdMany(port: number, count: number): Promise<Socket[]> {
  const sockets: Socket[] = [];
  const lanes = Array.from({ length: 100 }, async (_, lane) => {
    for (let number = lane; number < count; number += 100) sockets.push(await held(port, number));
  });
  await Promise.all(lanes);
  return sockets;
}

async function finished(socket: Socket): Promise<void> {
  socket.end();
  socket.resume();
  if (!socket.closed) await once(socket, 'close');
}

// The proxy has two sockets per connection, the others one; the rest is what every process needs.
const SPARE = 400;
const WANTED_DESCRIPTORS = 2 * 10_000 + SPARE;
const LIMITS = descriptorLimits(WANTED_DESCRIPTORS);
/** 10,000, or fewer if the limits of this machine require it. */
const WANTED = Math.min(10_000, LIMITS.own - SPARE, Math.floor((LIMITS.child - SPARE) / 2));

describe('very many connections', () => {
  it(
    `${WANTED} of them opened, held and closed lose no byte and leave nothing behind`,
    { timeout: 120_000 },
    async () => {
      const proxy = await proxied(WANTED_DESCRIPTORS);
      // Compiled code, type feedback, and tables at their largest size remain: they appear with the first of two equal
      // waves.
      await Promise.all((await holdMany(proxy.port, WANTED)).map(finished));
      const before = await proxy.empty();
      const sockets = await holdMany(proxy.port, WANTED);
      expect((await proxy.usage()).live).toBe(WANTED);
      await Promise.all(sockets.map(finished));
      const after = await proxy.empty();
      expect(after.codes).toEqual({ OK: 2 * WANTED });
      expect(after.descriptors).toBe(before.descriptors);
      // A transport may use one timer for all deadlines, until the next of them expires.
      expect(after.timers).toBeLessThanOrEqual(before.timers + 1);
      // Less per connection than its access log line alone would take.
      expect(after.heapBytes - before.heapBytes).toBeLessThan(WANTED * 100);
    },
  );

  it('a drain of 1,000 live streams cuts none that finishes within the grace period', { timeout: 60_000 }, async () => {
    const proxy = await proxied(4_096);
    const sockets = await holdMany(proxy.port, 1_000);
    const drained = proxy.drain(30_000, 1_000);
    for (const socket of sockets) {
      socket.write('more');
      const [chunk] = (await once(socket, 'data')) as [Buffer];
      expect(chunk.toString()).toBe('more');
      await finished(socket);
    }
    expect(await drained).toMatchObject({ state: 'drained', remaining: 0, finished: 1_000, cut: 0 });
  });

  it('a drain at the end of its grace period closes the remaining connections gradually, the longest idle first', async () => {
    const proxy = await proxied(4_096);
    const sockets = await holdMany(proxy.port, 20);
    const closedAt: number[] = [];
    for (const socket of sockets) {
      socket.on('error', () => undefined);
      socket.once('close', () => closedAt.push(performance.now()));
      socket.once('end', () => socket.end());
    }
    const [first] = sockets;
    if (first === undefined) throw new Error('expected 20 sockets, found none');
    const port = first.localPort;
    first.write('still here');
    await once(first, 'data');
    const beganAt = performance.now();
    expect(await proxy.drain(0, 400)).toMatchObject({ finished: 0, cut: 20, remaining: 0 });
    await Promise.all(sockets.map((socket) => socket.closed || once(socket, 'close')));
    expect((await proxy.usage()).closedPorts.at(-1)).toBe(port);
    // Only a lower bound: a busy machine may close all of them late, but never the last one early.
    expect((closedAt.at(-1) ?? 0) - beganAt).toBeGreaterThan(300);
  });
});

it('without a file descriptor left, accepting pauses, and resumes when there are some again', async () => {
  // Enough for Node's loader, which opens all modules at once.
  const proxy = await proxied(192);
  const crowd = Array.from({ length: 188 }, () => connect({ port: proxy.port, host: '127.0.0.1' }));
  for (const socket of crowd) socket.on('error', () => undefined).resume();
  // Each silent client holds a descriptor until none are left.
  await proxy.until('paused');
  for (const socket of crowd) socket.end(HELLO);
  await proxy.until('resumed');
  await finished(await held(proxy.port, 1));
  const { codes } = await proxy.empty();
  expect(codes['LOCAL_RESOURCE']).toBeGreaterThan(0);
  expect(codes['OK']).toBeGreaterThan(0);
});
