// A connection that another socket wraps, and connections that are used after their end.
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { nodeTransport, ProxyError } from '@meshgate/core';
import type { Connection, Dial, Endpoint, Transport } from '@meshgate/core';
import { upgradeConnection } from '@meshgate/core/parts';
import { peerListener } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

const KEEP_ALIVE = { idleMs: 60_000 };
const transport = nodeTransport();
const dial = (to: Endpoint): Dial => transport.dial(to, { keepAlive: KEEP_ALIVE, timeoutMs: 1_000 });

describe('a connection that another socket is put over', () => {
  it('has all that had come, in its order, and what comes then', async () => {
    await using listener = await peerListener();
    const connection = await dial(listener.address).done;
    const peer = await listener.accept();
    await peer.send('first');
    expect(Buffer.from((await connection.read()) ?? '').toString()).toBe('first');
    await peer.send('second');
    // The data has arrived, and has not been read.
    await new Promise((resolve) => setTimeout(resolve, 5));
    const above = await upgradeConnection(connection, (socket) => Promise.resolve(socket));
    expect(Buffer.from((await above.read()) ?? '').toString()).toBe('second');
    await above.write(Buffer.from('back'));
    expect((await peer.receive(4)).toString()).toBe('back');
    above.destroy();
    await peer.closed;
  });

  it.each<[what: string, end: (connection: Connection) => void]>([
    ['is destroyed before', (connection) => connection.destroy()],
    ['is lost before', (connection) => connection.destroy(new ProxyError('UPSTREAM_RESET', 'lost'))],
  ])('that %s is never upgraded', async (_what, end) => {
    await using listener = await peerListener();
    const connection = await dial(listener.address).done;
    end(connection);
    let upgrades = 0;
    const upgrade = (socket: Socket): Promise<Socket> => ((upgrades += 1), Promise.resolve(socket));
    await expect(upgradeConnection(connection, upgrade)).rejects.toThrow(ProxyError);
    expect(upgrades).toBe(0);
  });

  it('that has ended before is never upgraded', async () => {
    await using listener = await peerListener();
    const connection = await dial(listener.address).done;
    const peer = await listener.accept();
    peer.end();
    expect(await connection.read()).toBeUndefined();
    expect(await connection.read()).toBeUndefined();
    await expect(upgradeConnection(connection, (socket) => Promise.resolve(socket))).rejects.toMatchObject({
      code: 'UPSTREAM_RESET',
    });
    connection.destroy();
  });

  it('that is destroyed while it is upgraded is closed, both of its sockets', async () => {
    await using listener = await peerListener();
    const connection = await dial(listener.address).done;
    const peer = await listener.accept();
    const upgrading = upgradeConnection(connection, (socket) => {
      socket.on('error', () => undefined).destroy();
      return Promise.resolve(socket);
    });
    await expect(upgrading).rejects.toMatchObject({ code: 'UPSTREAM_RESET' });
    await peer.closed;
  });

  it('says what may be behind its loss as long as nothing has come over it', async () => {
    await using listener = await peerListener();
    const connection = await dial(listener.address).done;
    const peer = await listener.accept();
    const explained = { explainLoss: () => 'the peer speaks no TLS' };
    const above = await upgradeConnection(connection, (socket) => Promise.resolve(socket), explained);
    const reading = above.read().catch((reason: unknown) => reason);
    peer.reset();
    expect(await reading).toMatchObject({
      code: 'UPSTREAM_RESET',
      message: 'upstream connection lost: ECONNRESET; the peer speaks no TLS',
    });
  });

  it('of another transport is refused', async () => {
    const foreign = { destroy: () => undefined } as unknown as Connection;
    const upgrade = (): Promise<Socket> => Promise.resolve(new PassThrough() as unknown as Socket);
    await expect(upgradeConnection(foreign, upgrade)).rejects.toMatchObject({ code: 'INTERNAL' });
  });
});

describe('a connection that was destroyed', () => {
  it.each<[what: string, reason: ProxyError | undefined, code: string]>([
    ['for a reason', new ProxyError('CLOSED_BY_ADMIN', 'by an operator'), 'CLOSED_BY_ADMIN'],
    ['without one', undefined, 'INTERNAL'],
  ])('%s rejects whatever is done with it, and can be destroyed again', async (_what, reason, code) => {
    await using listener = await peerListener();
    const connection = await dial(listener.address).done;
    const pending = connection.read().catch((thrown: unknown) => thrown);
    connection.destroy(reason);
    connection.destroy();
    expect(await pending).toMatchObject({ code });
    await expect(connection.write(Buffer.from('x'))).rejects.toMatchObject({ code });
    await expect(connection.read()).rejects.toMatchObject({ code });
    const splice = transport.splice(connection, await dial(listener.address).done, {
      head: Buffer.from('x'),
      idleTimeoutMs: 1_000,
    });
    expect((await splice.done).error).toMatchObject({ code });
  });

  it('while bytes wait for its peer rejects the write', async () => {
    await using listener = await peerListener();
    const connection = await dial(listener.address).done;
    const writing = connection.write(Buffer.alloc(64 * 1024 * 1024)).catch((thrown: unknown) => thrown);
    connection.destroy(new ProxyError('IDLE_TIMEOUT', 'enough'));
    expect(await writing).toMatchObject({ code: 'IDLE_TIMEOUT' });
  });
});

describe('a client of every address of the machine', () => {
  it.each([
    ['127.0.0.1', '::', '127.0.0.1'],
    ['::1', '::', '::1'],
    ['127.0.0.1', '0.0.0.0', '127.0.0.1'],
  ])('that came by %s to a listener on %s is shown as %s', async (host, wildcard, shown) => {
    let accepted: (connection: Connection) => void = () => undefined;
    const first = new Promise<Connection>((resolve) => (accepted = resolve));
    const options: Parameters<Transport['listen']>[1] = { backlog: 1, keepAlive: KEEP_ALIVE, onPause: () => undefined };
    const listening = await transport.listen({ host: wildcard, port: 0 }, options, accepted);
    const client = await dial({ host, port: listening.address.port }).done;
    const connection = await first;
    expect([connection.remote.host, connection.local]).toEqual([shown, { host: shown, port: listening.address.port }]);
    client.destroy();
    connection.destroy();
    await listening.close();
  });
});

describe('a dial', () => {
  it('that is given up leaves nothing behind, also when it is given up twice', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const begun = dial({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
    const reason = new ProxyError('CLOSED_BY_DRAIN', 'draining');
    begun.cut(reason);
    begun.cut(new ProxyError('CLOSED_BY_ADMIN', 'later'));
    await expect(begun.done).rejects.toBe(reason);
    await new Promise((resolve) => server.close(resolve));
  });

  it.each([-1, 65_536, 0.5, NaN, Infinity, '443'])('to the port %s fails, and does not throw', async (port) => {
    await expect(dial({ host: '127.0.0.1', port: port as number }).done).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
    });
  });

  it('to what cannot be connected to says what the system says', async () => {
    await expect(dial({ host: 'unix:/nowhere/at.sock', port: 0 }).done).rejects.toMatchObject({
      code: 'CONNECT_REFUSED',
    });
    await expect(dial({ host: '255.255.255.255', port: 9 }).done).rejects.toBeInstanceOf(ProxyError);
  });
});
