import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ProxyError } from '@meshgate/core';
import { descriptorsByKind, peerListener, rawClient, relay, loopsIdle, unixAddress, until } from '@meshgate/testkit';
import { transportUnderTest, variantsUnderTest } from './transport-under-test.ts';

const MIB = 1024 * 1024;

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

describe('a splice', () => {
  for (const [variant, create] of variantsUnderTest()) {
    it(`carries bulk both ways at once, every byte, and counts exactly (${variant})`, async () => {
      await using backend = await peerListener();
      await using proxy = await relay(create(), backend.address);
      await using client = await rawClient(proxy.address);
      await using server = await backend.accept();
      const [up, down] = [randomBytes(24 * MIB + 17), randomBytes(16 * MIB + 5)];
      const sent = [client.send(up).then(() => client.end()), server.send(down).then(() => server.end())];
      expect(digest(await server.receiveAll())).toBe(digest(up));
      expect(digest(await client.receiveAll())).toBe(digest(down));
      await Promise.all(sent);
      const { bytesUp, bytesDown, error } = await proxy.transfer(0);
      expect({ bytesUp, bytesDown, error }).toEqual({ bytesUp: up.length, bytesDown: down.length, error: undefined });
    });

    it(`blocks the sender while a receiver does not read, and loses nothing (${variant})`, async () => {
      await using backend = await peerListener();
      await using proxy = await relay(create(), backend.address);
      await using client = await rawClient(proxy.address);
      await using server = await backend.accept();
      server.pause();
      const bytes = randomBytes(48 * MIB);
      const sent = client.send(bytes).then(() => client.end());
      // No progress for ten turns of the event loop in a row: all buffers on the path are full.
      let [last, quietTurns] = [-1, 0];
      await until(() => {
        const written = proxy.splices[0]?.bytesUp ?? 0;
        quietTurns = written === last && written > 0 ? quietTurns + 1 : 0;
        last = written;
        return quietTurns > 10;
      });
      expect(last).toBeLessThan(bytes.length / 2);
      server.resume();
      expect(digest(await server.receiveAll())).toBe(digest(bytes));
      await sent;
    });
  }

  it.each(['client', 'server'] as const)('passes a reset of the %s on to the other side', async (from) => {
    await using backend = await peerListener();
    await using proxy = await relay(transportUnderTest(), backend.address);
    await using client = await rawClient(proxy.address);
    await using server = await backend.accept();
    const [resetting, other] = from === 'client' ? [client, server] : [server, client];
    await resetting.send('a');
    await other.receive(1);
    resetting.reset();
    expect(await other.closed).toMatchObject({ kind: 'lost', error: { code: 'ECONNRESET' } });
  });

  it('needs about as many pipes as there are slow receivers, not two per connection', async () => {
    await loopsIdle();
    const before = descriptorsByKind()['pipe'] ?? 0;
    await using backend = await peerListener();
    await using proxy = await relay(transportUnderTest(), backend.address);
    const clients = await Promise.all(Array.from({ length: 40 }, () => rawClient(proxy.address)));
    const servers = await Promise.all(clients.map(() => backend.accept()));
    await Promise.all(clients.map((client) => client.send(randomBytes(2 * MIB))));
    await until(() => servers.every(({ bytesReceived }) => bytesReceived === 2 * MIB));
    // Two descriptors per pipe; 16 are kept for reuse.
    expect((descriptorsByKind()['pipe'] ?? 0) - before).toBeLessThanOrEqual(2 * 16);
    for (const client of clients) client.end();
    await Promise.all(clients.map(({ closed }) => closed));
  });

  it('keeps both directions separate: a response after the client has finished, and the reverse', async () => {
    await using backend = await peerListener({ halfOpen: true });
    await using proxy = await relay(transportUnderTest(), backend.address);
    for (const first of ['client', 'server'] as const) {
      await using client = await rawClient(proxy.address, { halfOpen: true });
      await using server = await backend.accept();
      const [early, later] = first === 'client' ? [client, server] : [server, client];
      await early.send('all of it');
      early.end();
      expect((await later.receiveAll()).toString()).toBe('all of it');
      await later.send('the answer');
      later.end();
      expect((await early.receiveAll()).toString()).toBe('the answer');
      expect(await early.closed).toEqual({ kind: 'finished' });
    }
  });

  it.each([['::1'], ['unix']])('works over %s as over IPv4', async (kind) => {
    await using front = await unixAddress();
    await using back = await unixAddress();
    const at = kind === 'unix' ? front.address : { host: kind, port: 0 };
    await using backend = await peerListener({ at: kind === 'unix' ? back.address : { host: kind, port: 0 } });
    await using proxy = await relay(transportUnderTest(), backend.address, { at });
    await using client = await rawClient(proxy.address);
    await using server = await backend.accept();
    const bytes = randomBytes(8 * MIB);
    const sent = client.send(bytes).then(() => client.end());
    expect(digest(await server.receiveAll())).toBe(digest(bytes));
    await sent;
    expect((await proxy.transfer(0)).bytesUp).toBe(bytes.length);
  });

  it('handles urgent data: no byte after it is missed', async () => {
    await using backend = await peerListener();
    await using proxy = await relay(transportUnderTest(), backend.address);
    await using client = await rawClient(proxy.address);
    await using server = await backend.accept();
    await client.sendInPieces(Array.from({ length: 50 }, (_, index) => Buffer.from(`${index};`)));
    client.end();
    expect((await server.receiveAll()).toString()).toBe(Array.from({ length: 50 }, (_, index) => `${index};`).join(''));
  });

  it('ends an idle connection at its timeout, and not before', async () => {
    await using backend = await peerListener();
    await using proxy = await relay(transportUnderTest(), backend.address, { idleTimeoutMs: 150 });
    await using client = await rawClient(proxy.address);
    await using server = await backend.accept();
    await client.send('a');
    await server.receive(1);
    const lastByteAt = proxy.splices[0]?.lastByteAt ?? 0;
    const { error } = await proxy.transfer(0);
    expect(error?.code).toBe('IDLE_TIMEOUT');
    expect(performance.now() - lastByteAt).toBeGreaterThanOrEqual(150);
  });

  it('can be cut at any time, and reports why', async () => {
    await using backend = await peerListener();
    await using proxy = await relay(transportUnderTest(), backend.address);
    await using client = await rawClient(proxy.address);
    await backend.accept();
    await until(() => proxy.splices.length === 1);
    proxy.splices[0]?.cut(new ProxyError('CLOSED_BY_DRAIN', 'enough'));
    expect((await proxy.transfer(0)).error).toMatchObject({ code: 'CLOSED_BY_DRAIN', message: 'enough' });
    expect((await client.closed).kind).toBe('finished');
  });
});
