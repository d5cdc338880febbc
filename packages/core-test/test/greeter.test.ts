import { peerListener, rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS, nodeTransport, ProxyError } from '@meshgate/core';
import { AddressBook, Admission, balancedConnector, Sessions, Outliers, upgradeConnection } from '@meshgate/core/parts';
import type { Connection, Endpoint, Hello } from '@meshgate/core';
import type { Greeter } from '@meshgate/core/parts';

const HELLO: Hello = { protocol: 'tcp', alpn: [], supportedVersions: [], ech: false, earlyData: false };
const KEEP_ALIVE = { idleMs: 60_000 };
const nothing = new Uint8Array(0);

/** A proxy to `backend` whose clients are met by `greeter`. */
async function proxy(greeter: Greeter, backend: Endpoint, helloTimeoutMs = 1_000) {
  const transport = nodeTransport();
  const observer = recorder();
  const limits = { ...DEFAULT_LIMITS, helloTimeoutMs };
  const route = { name: 'r', serverNames: [], backends: [{ address: backend, weight: 1, healthy: true }] };
  const sessions = new Sessions({
    greeter,
    resolver: { resolve: () => route },
    connector: balancedConnector({
      addresses: new AddressBook(observer),
      outliers: new Outliers(observer),
      observer,
      limits,
      keepAlive: KEEP_ALIVE,
    }),
    transport,
    limits,
    admission: new Admission(limits),
    observer,
  });
  const options = { backlog: 1, keepAlive: KEEP_ALIVE, onPause: () => undefined };
  const listening = await transport.listen({ host: '127.0.0.1', port: 0 }, options, (connection) =>
    sessions.accept(connection, 'test'),
  );
  return {
    at: listening.address,
    observer,
    async [Symbol.asyncDispose](): Promise<void> {
      await listening.close();
      for (const { connection } of sessions.live()) sessions.cut(connection.id, new ProxyError('INTERNAL', 'over'));
      await sessions.empty();
    },
  };
}

describe('a greeter', () => {
  it('that has nothing to wait for lets the backend speak first', async () => {
    await using backend = await tcpBackend('b', { conduct: { kind: 'source', bytes: 5 } });
    const greeter: Greeter = {
      greet: (downstream) => Promise.resolve({ downstream, hello: HELLO, head: nothing }),
    };
    await using one = await proxy(greeter, backend.address);
    await using client = await rawClient(one.at);
    expect(await client.receiveAll()).toHaveLength(5);
    const { closed } = await one.observer.until('connection.closed');
    expect(closed).toMatchObject({ hello: HELLO, transfer: { bytesDown: 5 } });
  });

  it('that rejects ends the connection with its reason', async () => {
    await using backend = await tcpBackend('b');
    const greeter: Greeter = { greet: () => Promise.reject(new ProxyError('DOWNSTREAM_UNTRUSTED', 'who are you')) };
    await using one = await proxy(greeter, backend.address);
    await using client = await rawClient(one.at);
    await client.closed;
    const { closed } = await one.observer.until('connection.closed');
    expect(closed.error).toMatchObject({ code: 'DOWNSTREAM_UNTRUSTED', message: 'who are you' });
    expect(backend.accepted).toBe(0);
  });

  it('that waits for bytes which do not come is over with the hello timeout', async () => {
    await using backend = await tcpBackend('b');
    const greeter: Greeter = {
      greet: async (downstream) => ({ downstream, hello: HELLO, head: (await downstream.read()) ?? nothing }),
    };
    await using one = await proxy(greeter, backend.address, 30);
    await using client = await rawClient(one.at);
    await client.closed;
    expect((await one.observer.until('connection.closed')).closed.error?.code).toBe('SNIFF_TIMEOUT');
  });
});

describe('a connection that another socket is put over', () => {
  function dial(to: Endpoint): Promise<Connection> {
    return nodeTransport().dial(to, { keepAlive: KEEP_ALIVE, timeoutMs: 1_000 }).done;
  }

  it('loses nothing of what had come, and keeps its addresses', async () => {
    await using backend = await tcpBackend('b', { conduct: { kind: 'source', bytes: 3 } });
    const connection = await dial(backend.address);
    // Something has come, and nobody has read it.
    await new Promise((resolve) => setImmediate(resolve));
    const above = await upgradeConnection(connection, (socket) => Promise.resolve(socket));
    expect(above.remote).toEqual(backend.address);
    expect(await above.read()).toHaveLength(3);
    above.destroy();
  });

  it('can still be destroyed, which ends both', async () => {
    await using listener = await peerListener();
    const connection = await dial(listener.address);
    const peer = await listener.accept();
    await upgradeConnection(connection, (socket) => Promise.resolve(socket));
    connection.destroy();
    expect(await peer.closed).toEqual({ kind: 'finished' });
  });

  it('is closed when that fails', async () => {
    await using listener = await peerListener();
    const connection = await dial(listener.address);
    const peer = await listener.accept();
    const failing = upgradeConnection(connection, () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(await peer.closed).toEqual({ kind: 'finished' });
  });
});
