// Listening sockets that are handed over: to a process that continues with them, or during a change that is rolled
// back.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { nodeTransport } from '@meshgate/core';
import type { Connection, Endpoint, ListenAddress, ListenerSource, Transport } from '@meshgate/core';
import { canBeShared, Listeners, sharedPath } from '@meshgate/core/parts';
import { needs, rawClient, recorder } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

const ANY_PORT = { host: '127.0.0.1', port: 0 };

async function listening(
  addresses: readonly ListenAddress[],
  { sources = [], transport = nodeTransport() }: { sources?: readonly ListenerSource[]; transport?: Transport } = {},
) {
  const events = recorder();
  const accepted: Connection[] = [];
  const listeners = new Listeners({
    addresses,
    sources,
    transport,
    listen: { backlog: 16, keepAlive: { idleMs: 60_000 } },
    observer: events,
    accept(connection) {
      accepted.push(connection);
      connection.destroy();
    },
  });
  await listeners.start();
  return { events, listeners, accepted, [Symbol.asyncDispose]: () => listeners.stop() };
}

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'handover-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

/** A list of listeners that a test can change. */
function listOf(name: string, first: readonly ListenAddress[] | Error): ListenerSource {
  return {
    name,
    async *watch(signal) {
      if (first instanceof Error) throw first;
      yield first;
      await once(signal, 'abort');
    },
  };
}

needs('descriptors', process.platform !== 'win32' || 'it has no descriptors of sockets')('a listening socket', () => {
  it('goes on in another process, where a client that comes after the release is served', async () => {
    await using proxy = await listening([{ name: 'edge', endpoint: ANY_PORT }]);
    const [socket] = proxy.listeners.sockets;
    const { endpoint, fd } = socket ?? { endpoint: ANY_PORT, fd: -1 };
    expect(socket).toMatchObject({ name: 'edge', endpoint: proxy.listeners.status[0]?.address });
    expect(socket?.handle).toBeTypeOf('object');
    const fixture = fileURLToPath(new URL('fixtures/successor.mjs', import.meta.url));
    const child = spawn(process.execPath, [fixture, endpoint.host, String(endpoint.port)], {
      stdio: ['ignore', 'ignore', 'inherit', fd, 'ipc'],
    });
    const exited = once(child, 'exit');
    const [bound] = (await once(child, 'message')) as [Endpoint];
    expect(bound).toEqual(endpoint);
    await proxy.listeners.release();
    expect(proxy.events.all('listener.closed')).toMatchObject([{ listener: 'edge' }]);
    await using client = await rawClient(endpoint);
    expect((await client.receiveAll()).toString()).toBe('successor');
    expect(proxy.accepted).toEqual([]);
    expect(await exited).toEqual([0, null]);
    expect(proxy.listeners.sockets).toEqual([]);
  });

  it('of a path keeps its file when it is released, and takes it away when it is closed', async () => {
    using at = folder();
    const path = join(at.path, 'edge.sock');
    const edge = { name: 'edge', endpoint: { host: `unix:${path}`, port: 0 } };
    await using released = await listening([edge]);
    expect(released.listeners.sockets).toMatchObject([{ name: 'edge', endpoint: edge.endpoint }]);
    await released.listeners.release();
    expect(existsSync(path)).toBe(true);
    // No process listens there any more: the next listener replaces the file.
    await using closed = await listening([edge]);
    await closed.listeners.stop();
    expect(existsSync(path)).toBe(false);
  });

  it('of a path in a folder whose name is too long is bound all the same, and cannot be given away', async () => {
    using at = folder();
    const path = join(at.path, 's');
    const long = join(at.path, 'x'.repeat(Math.max(1, 92 - at.path.length)), 's');
    expect([canBeShared(path), canBeShared(long)]).toEqual([true, false]);
  });

  it('is bound for others to accept on, who find a path that is taken', async () => {
    using at = folder();
    const path = join(at.path, 'shared.sock');
    const shared = await sharedPath(path);
    expect([shared.fd > 0, typeof shared.handle, existsSync(path)]).toEqual([true, 'object', true]);
    const worker = createServer((socket) => socket.destroy()).listen({ fd: shared.fd });
    await once(worker, 'listening');
    await expect(sharedPath(path)).rejects.toMatchObject({ code: 'EADDRINUSE', address: path });
    await new Promise((resolve) => worker.close(resolve));
    // The file remains without a listener: it is replaced.
    const next = await sharedPath(path);
    expect(existsSync(path)).toBe(true);
    next.close();
    await expect(sharedPath(join(at.path, 'missing', 'x.sock'))).rejects.toMatchObject({ syscall: 'listen' });
  });
});

describe('listeners of a change that is prepared', () => {
  it('keep who comes until it is committed', async () => {
    await using proxy = await listening([{ name: 'old', endpoint: ANY_PORT }]);
    const change = await proxy.listeners.prepare([{ name: 'new', endpoint: ANY_PORT }]);
    const at = proxy.listeners.prepared[0]?.address;
    expect(proxy.listeners.prepared).toMatchObject([{ name: 'new', endpoint: ANY_PORT }]);
    await using client = await rawClient(at as Endpoint);
    expect([proxy.accepted.length, proxy.events.all('listener.opened').length]).toEqual([0, 1]);
    await change.commit();
    await client.closed;
    expect(proxy.accepted).toHaveLength(1);
    expect(proxy.listeners.status).toMatchObject([{ name: 'new', address: at }]);
  });

  it('turn away who has come when it is given up', async () => {
    await using proxy = await listening([{ name: 'old', endpoint: ANY_PORT }]);
    const change = await proxy.listeners.prepare([{ name: 'new', endpoint: ANY_PORT }]);
    await using client = await rawClient(proxy.listeners.prepared[0]?.address as Endpoint);
    await change.discard();
    await client.closed;
    expect([proxy.accepted.length, proxy.listeners.status.map(({ name }) => name)]).toEqual([0, ['old']]);
  });

  it('of sources go over to the source that takes the place of another of its name, the rest is closed', async () => {
    const stays = listOf('stays', [{ name: 'a', endpoint: ANY_PORT }]);
    const [before, after] = [1, 2].map(() => listOf('replaced', [{ name: 'b', endpoint: ANY_PORT }]));
    const gone = listOf('gone', [{ name: 'c', endpoint: ANY_PORT }]);
    await using proxy = await listening([], { sources: [stays, before as ListenerSource, gone] });
    await proxy.events.untilCount('listener.opened', 3);
    const addresses = new Map(proxy.listeners.status.map(({ name, address }) => [name, address?.port]));
    const change = await proxy.listeners.prepare([], [stays, after as ListenerSource]);
    await change.commit();
    expect(proxy.events.all('listener.closed')).toMatchObject([{ listener: 'c' }]);
    expect(new Map(proxy.listeners.status.map(({ name, address }) => [name, address?.port]))).toEqual(
      new Map([...addresses].filter(([name]) => name !== 'c')),
    );
  });
});

describe('a listener', () => {
  it('that is closed while it opens is closed as soon as it is open', async () => {
    const inner = nodeTransport();
    let open: () => void = () => undefined;
    const isLet = new Promise<void>((resolve) => (open = resolve));
    const transport: Transport = {
      ...inner,
      listen: (at, options, onConnection) => isLet.then(() => inner.listen(at, options, onConnection)),
    };
    const proxy = await listening([], { transport, sources: [listOf('slow', [{ name: 'a', endpoint: ANY_PORT }])] });
    await expect.poll(() => proxy.listeners.status.length).toBe(1);
    const stopped = proxy.listeners.stop();
    open();
    await stopped;
    expect(proxy.events.events).toEqual([]);
    expect(process.getActiveResourcesInfo().filter((kind) => kind === 'TCPServerWrap')).toEqual([]);
  });

  it('that its source cannot name is reported with the source, which is asked again', async () => {
    await using proxy = await listening([], { sources: [listOf('broken', new Error('no list today'))] });
    const failed = await proxy.events.until('source.failed');
    expect(failed).toMatchObject({ source: 'broken', error: { message: 'no list today' } });
    expect(failed.retryInMs).toBeGreaterThan(0);
  });

  it('has what it accepts looked after by the keepalive of now, and where a transport cannot change it by that of before', async () => {
    const given: number[] = [];
    const transport: Transport = {
      ...nodeTransport(),
      listen: () =>
        Promise.resolve({
          address: ANY_PORT,
          close: async () => undefined,
          keepAlive: ({ idleMs }) => given.push(idleMs),
        }),
    };
    await using can = await listening([{ name: 'a', endpoint: ANY_PORT }], { transport });
    can.listeners.keepAlive({ idleMs: 5_000 });
    expect(given).toEqual([5_000]);
    const plain: Transport = {
      ...transport,
      listen: () => Promise.resolve({ address: ANY_PORT, close: async () => undefined }),
    };
    await using cannot = await listening([{ name: 'a', endpoint: ANY_PORT }], { transport: plain });
    cannot.listeners.keepAlive({ idleMs: 5_000 });
    expect(cannot.listeners.sockets).toEqual([]);
    await cannot.listeners.release();
    expect(cannot.events.all('listener.closed')).toHaveLength(1);
  });
});
