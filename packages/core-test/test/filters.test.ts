import { DEFAULT_LIMITS, fact, nodeTransport, ProxyError } from '@meshgate/core';
import { AddressBook, Admission, balancedConnector, Outliers, Sessions, upgradeConnection } from '@meshgate/core/parts';
import type { Connection, ConnectionFilter, Endpoint, FilterContext, Hello } from '@meshgate/core';
import { peerListener, rawClient, recorder, tcpBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

const HELLO: Hello = { protocol: 'tcp' };
const KEEP_ALIVE = { idleMs: 60_000 };

/** Takes one byte for a complete hello. */
const sniffer = {
  name: 'any',
  inspect: (head: Uint8Array) =>
    ({ kind: 'hello', hello: { protocol: 'any', serverName: `byte-${head[0]}` } }) as const,
};

/** A proxy to `backend` with these filters on its listener. */
async function proxy(filters: readonly ConnectionFilter[], backend: Endpoint, helloTimeoutMs = 1_000) {
  const transport = nodeTransport();
  const observer = recorder();
  const limits = { ...DEFAULT_LIMITS, helloTimeoutMs };
  const route = { name: 'r', serverNames: [], backends: [{ address: backend, weight: 1, healthy: true }] };
  const outliers = new Outliers(observer);
  const addresses = new AddressBook(observer);
  const sessions = new Sessions({
    filtersOf: (listener) => (listener === 'test' ? filters : []),
    sniffer,
    resolver: { resolve: () => route },
    connector: balancedConnector({ addresses, outliers, observer, limits, keepAlive: KEEP_ALIVE }),
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
    sessions,
    async [Symbol.asyncDispose](): Promise<void> {
      await listening.close();
      for (const session of sessions) session.cut(new ProxyError('INTERNAL', 'over'));
      await sessions.empty();
    },
  };
}

function filter(run: ConnectionFilter['filter'], name = 'one'): ConnectionFilter {
  return { name, filter: run };
}

describe('a connection filter', () => {
  it('that returns the hello lets the backend send first', async () => {
    await using backend = await tcpBackend('b', { conduct: { kind: 'source', bytes: 5 } });
    await using one = await proxy([filter(() => Promise.resolve({ kind: 'hello', hello: HELLO }))], backend.address);
    await using client = await rawClient(one.at);
    expect(await client.receiveAll()).toHaveLength(5);
    const { closed } = await one.observer.until('connection.closed');
    expect(closed).toMatchObject({ hello: HELLO, transfer: { bytesDown: 5 } });
  });

  it('that rejects ends the connection with its reason', async () => {
    await using backend = await tcpBackend('b');
    const refusing = filter(() => Promise.reject(new ProxyError('REFUSED_BY_POLICY', 'who are you')));
    await using one = await proxy([refusing], backend.address);
    await using client = await rawClient(one.at);
    await client.closed;
    const { closed } = await one.observer.until('connection.closed');
    expect(closed.error).toMatchObject({ code: 'REFUSED_BY_POLICY', message: 'who are you' });
    expect(backend.accepted).toBe(0);
  });

  it('that waits for missing bytes ends at the hello timeout', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy([filter((client) => client.peek(1).then(() => undefined))], backend.address, 30);
    await using client = await rawClient(one.at);
    await client.closed;
    expect((await one.observer.until('connection.closed')).closed.error?.code).toBe('SNIFF_TIMEOUT');
  });

  it('reads the data before the hello, responds, and leaves the rest to the sniffer and the backend', async () => {
    await using backend = await tcpBackend('b');
    const greeting = filter(async (client) => {
      expect(Buffer.from((await client.peek(3)).subarray(0, 3)).toString()).toBe('HI\n');
      client.consume(3);
      await client.write(Buffer.from('WELCOME\n'));
      return undefined;
    });
    await using one = await proxy([greeting], backend.address);
    await using client = await rawClient(one.at);
    // In one segment: the greeting, the hello, and what follows it.
    await client.send('HI\n#more');
    expect((await client.receive(13)).toString()).toBe('WELCOME\n#more');
    client.end();
    const { closed } = await one.observer.until('connection.closed');
    expect(closed).toMatchObject({ hello: { serverName: 'byte-35' }, transfer: { bytesUp: 5 } });
  });

  it('works for any split of its bytes', async () => {
    await using backend = await tcpBackend('b');
    const greeting = filter(async (client) => {
      for (let line = 0; line < 2; line += 1) {
        await client.peek(3);
        client.consume(3);
      }
      return undefined;
    });
    await using one = await proxy([greeting], backend.address);
    await using client = await rawClient(one.at);
    await client.sendInPieces(Array.from(Buffer.from('HI\nHO\n#'), (byte) => Uint8Array.of(byte)));
    expect((await client.receive(1)).toString()).toBe('#');
  });

  it('runs after the previous one, with the remaining bytes and known facts', async () => {
    await using backend = await tcpBackend('b');
    const NAME = fact<string>('test.name', (name) => name.toUpperCase());
    const first = filter(async (client) => {
      client.set(NAME, String.fromCharCode((await client.peek(1))[0] ?? 0));
      client.consume(1);
      client.setRemote({ host: '192.0.2.9', port: 9 });
      return undefined;
    });
    let seen: unknown[] = [];
    const second = filter(async (client) => {
      seen = [NAME.of(client.connection), client.connection.remote.host, (await client.peek(1))[0]];
      return undefined;
    });
    await using one = await proxy([first, second], backend.address);
    await using client = await rawClient(one.at);
    await client.send('ab');
    expect((await client.receive(1)).toString()).toBe('b');
    expect(seen).toEqual(['a', '192.0.2.9', 0x62]);
    const [live] = one.sessions.live();
    expect(live?.connection).toMatchObject({ remote: { host: '192.0.2.9' }, peer: { host: '127.0.0.1' } });
    client.end();
    const { closed } = await one.observer.until('connection.closed');
    expect(NAME.of(closed.connection)).toBe('a');
    expect(closed.connection.facts?.get('test.name')).toEqual({ value: 'a', shown: 'A' });
    // Observers identify a connection by its object, whatever facts are added to it.
    expect(closed.connection).toBe((await one.observer.until('connection.accepted')).connection);
  });

  it('of a client that closes without a byte reports nothing', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy([filter((client) => client.peek(9).then(() => undefined))], backend.address);
    await using client = await rawClient(one.at);
    client.end();
    expect((await one.observer.until('connection.closed')).closed.error).toBeUndefined();
  });

  it('of a client that closes in the middle reports the number of bytes', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy([filter((client) => client.peek(9).then(() => undefined))], backend.address);
    await using client = await rawClient(one.at);
    await client.send('1234');
    client.end();
    expect((await one.observer.until('connection.closed')).closed.error).toMatchObject({
      code: 'DOWNSTREAM_RESET',
      message: 'the client closed: expected 9 bytes or more, found 4',
    });
  });

  it('can replace the connection, once it has consumed the peeked bytes', async () => {
    await using backend = await tcpBackend('b');
    const replacing = filter(async (client) => {
      await client.peek(1);
      await expect(client.replace((below) => Promise.resolve(below))).rejects.toThrow(
        'expected all bytes to be consumed',
      );
      client.consume(1);
      await client.write(Buffer.from('+'));
      await client.replace((below) => upgradeConnection(below, (socket) => Promise.resolve(socket)));
      return undefined;
    });
    await using one = await proxy([replacing], backend.address);
    await using client = await rawClient(one.at);
    await client.send('!');
    expect((await client.receive(1)).toString()).toBe('+');
    await client.send('#');
    expect((await client.receive(1)).toString()).toBe('#');
  });

  it.each<[string, (client: FilterContext) => unknown, string]>([
    ['throws', () => fail(), 'filter one: no'],
    ['rejects', () => Promise.reject(new Error('no')), 'filter one: no'],
    [
      'answers with nonsense',
      () => Promise.resolve({ kind: 'hello', hello: 5 }),
      'filter one: expected nothing, a hello',
    ],
    ['peeks at nothing', (client) => client.peek(0), 'filter one: expected to peek at 1 to 131072 bytes, found 0'],
    ['consumes what is not there', (client) => Promise.resolve(client.consume(1)), 'filter one: expected to consume'],
    [
      'peeks twice at once',
      (client) => Promise.all([client.peek(1), client.peek(1)]),
      'filter one: expected one peek at a time',
    ],
  ])('that %s ends only its own connection, with INTERNAL and its name', async (_what, run, message) => {
    await using backend = await tcpBackend('b');
    let calls = 0;
    const broken = filter((client) => (calls++ === 0 ? run(client) : Promise.resolve(undefined)) as Promise<undefined>);
    await using one = await proxy([broken], backend.address);
    await using client = await rawClient(one.at);
    await client.closed;
    const { closed } = await one.observer.until('connection.closed');
    expect(closed.error?.code).toBe('INTERNAL');
    expect(closed.error?.message).toContain(message);
    await using other = await rawClient(one.at);
    await other.send('#');
    expect((await other.receive(1)).toString()).toBe('#');
  });

  it('that never settles ends at the hello timeout, and its client object becomes unusable', async () => {
    await using backend = await tcpBackend('b');
    let held: FilterContext | undefined;
    const hanging = filter((client) => ((held = client), new Promise(() => undefined)));
    await using one = await proxy([hanging], backend.address, 30);
    await using client = await rawClient(one.at);
    await client.closed;
    expect((await one.observer.until('connection.closed')).closed.error?.code).toBe('SNIFF_TIMEOUT');
    await expect(held?.peek(1)).rejects.toThrow();
  });

  it('that has settled cannot use the connection any more', async () => {
    await using backend = await tcpBackend('b');
    let held: FilterContext | undefined;
    await using one = await proxy([filter((client) => ((held = client), Promise.resolve(undefined)))], backend.address);
    await using client = await rawClient(one.at);
    await client.send('#');
    expect((await client.receive(1)).toString()).toBe('#');
    await expect(held?.peek(1)).rejects.toThrow('expected a filter to leave the client alone');
    expect(() => held?.setRemote({ host: '192.0.2.1', port: 1 })).toThrow(
      'expected a filter to leave the client alone',
    );
  });

  it('of another listener does not run', async () => {
    await using backend = await tcpBackend('b');
    await using one = await proxy([], backend.address);
    await using client = await rawClient(one.at);
    await client.send('#');
    expect((await client.receive(1)).toString()).toBe('#');
  });
});

function fail(): never {
  throw new Error('no');
}

describe('an upgraded connection', () => {
  function dial(to: Endpoint): Promise<Connection> {
    return nodeTransport().dial(to, { keepAlive: KEEP_ALIVE, timeoutMs: 1_000 }).done;
  }

  it('loses no received bytes, and keeps its addresses', async () => {
    await using backend = await tcpBackend('b', { conduct: { kind: 'source', bytes: 3 } });
    const connection = await dial(backend.address);
    // Data has arrived, and has not been read.
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

  it('is closed when the upgrade fails', async () => {
    await using listener = await peerListener();
    const connection = await dial(listener.address);
    const peer = await listener.accept();
    const failing = upgradeConnection(connection, () => Promise.reject(new Error('no')));
    await expect(failing).rejects.toThrow('no');
    expect(await peer.closed).toEqual({ kind: 'finished' });
  });
});
