import { once } from 'node:events';
import { existsSync, linkSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nodeTransport } from '@meshgate/core';
import { Listeners } from '@meshgate/core/parts';
import type { ListenAddress, ListenerSource } from '@meshgate/core';
import { rawClient, recorder } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';

const ANY_PORT = { host: '127.0.0.1', port: 0 };

/** Lists the listeners that the test has last set. */
class ListenerList implements ListenerSource {
  readonly name = 'list';
  #addresses: readonly ListenAddress[];
  #wake: () => void = () => undefined;

  constructor(...addresses: readonly ListenAddress[]) {
    this.#addresses = addresses;
  }

  set(...addresses: readonly ListenAddress[]): void {
    this.setAll(addresses);
  }

  setAll(addresses: readonly ListenAddress[]): void {
    this.#addresses = addresses;
    this.#wake();
  }

  async *watch(signal: AbortSignal): AsyncGenerator<readonly ListenAddress[]> {
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    while (!signal.aborted) {
      const changed = new Promise<void>((resolve) => (this.#wake = resolve));
      const listed = this.#addresses;
      yield listed;
      if (!signal.aborted) await changed;
    }
  }
}

async function listening(addresses: readonly ListenAddress[], ...sources: readonly ListenerSource[]) {
  const events = recorder();
  const accepted: string[] = [];
  const listeners = new Listeners({
    addresses,
    sources,
    transport: nodeTransport(),
    listen: { backlog: 16, keepAlive: { idleMs: 60_000 } },
    observer: events,
    accept(connection, listener) {
      accepted.push(listener);
      connection.destroy();
    },
  });
  await listeners.start();
  return { events, listeners, accepted, [Symbol.asyncDispose]: () => listeners.stop() };
}

async function folder() {
  const path = mkdtempSync(join(tmpdir(), 'listeners-'));
  return { path, [Symbol.asyncDispose]: async () => rmSync(path, { recursive: true }) };
}

/** A port that is in use until it is disposed of. */
async function heldPort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, [Symbol.asyncDispose]: async () => void server.close() };
}

/** An address with a free port. */
async function free() {
  const held = await heldPort();
  await held[Symbol.asyncDispose]();
  return { host: '127.0.0.1', port: held.port };
}

/** The events of the listener `name`, in order. */
function reportsOf({ events }: Awaited<ReturnType<typeof listening>>, name: string): readonly string[] {
  return events.events.flatMap((event) =>
    (event.type === 'listener.opened' || event.type === 'listener.closed') && event.listener === name
      ? [event.type]
      : [],
  );
}

describe('listeners', () => {
  it('follow a source: new ones open, removed ones close, the others stay', async () => {
    const list = new ListenerList({ name: 'one', endpoint: ANY_PORT }, { name: 'two', endpoint: ANY_PORT });
    await using proxy = await listening([], list);
    const [first] = await proxy.events.untilCount('listener.opened', 2);
    list.set({ name: 'one', endpoint: ANY_PORT }, { name: 'three', endpoint: ANY_PORT });
    await proxy.events.untilCount('listener.opened', 3);
    await proxy.events.until('listener.closed');
    expect(proxy.events.all('listener.closed')).toMatchObject([{ listener: 'two' }]);
    expect(proxy.listeners.status.map(({ name }) => name)).toEqual(['one', 'three']);
    await using client = await rawClient(first?.address ?? ANY_PORT);
    await client.closed;
  });

  it.each<[what: string, listed: unknown, reason: string]>([
    ['nothing', null, 'expected a list of listeners, found null'],
    ['a listener without an address', [{ name: 'two' }], '0.endpoint: expected an address'],
    ['a text for an address', [{ name: 'two', endpoint: '127.0.0.1:1' }], '0.endpoint: expected an address'],
  ])('of a source that lists %s stay as they are, and follow what it lists next', async (_what, listed, reason) => {
    const list = new ListenerList({ name: 'one', endpoint: ANY_PORT });
    await using proxy = await listening([{ name: 'fixed', endpoint: ANY_PORT }], list);
    await proxy.events.untilCount('listener.opened', 2);
    list.setAll(listed as readonly ListenAddress[]);
    const refused = await proxy.events.until('source.refused');
    expect(refused).toMatchObject({ source: 'list' });
    expect(refused.error.message).toContain(reason);
    expect(proxy.listeners.status.map(({ name }) => name)).toEqual(['fixed', 'one']);
    // A reload starts from the last list, not from the rejected one.
    const change = await proxy.listeners.prepare([{ name: 'fixed', endpoint: ANY_PORT }]);
    await change.commit();
    list.set({ name: 'one', endpoint: ANY_PORT }, { name: 'two', endpoint: ANY_PORT });
    await proxy.events.untilCount('listener.opened', 3);
    expect(proxy.listeners.status.map(({ name }) => name)).toEqual(['fixed', 'one', 'two']);
    expect(proxy.events.all('source.failed')).toEqual([]);
  });

  it('of a source on any free port are others than those of the configuration', async () => {
    const list = new ListenerList({ name: 'listed', endpoint: ANY_PORT });
    await using proxy = await listening([{ name: 'fixed', endpoint: ANY_PORT }], list);
    const [fixed, listed] = await proxy.events.untilCount('listener.opened', 2);
    expect(listed).toMatchObject({ listener: 'listed' });
    expect(listed?.address.port).not.toBe(fixed?.address.port);
  });

  it('on a unix socket continue without a pause under another name', async () => {
    await using at = await folder();
    const endpoint = { host: `unix:${join(at.path, 'edge.sock')}`, port: 0 };
    const list = new ListenerList({ name: 'one', endpoint });
    await using proxy = await listening([], list);
    await proxy.events.until('listener.opened');
    const { ino } = statSync(join(at.path, 'edge.sock'));
    list.set({ name: 'two', endpoint });
    await proxy.events.untilCount('listener.opened', 2);
    expect([...reportsOf(proxy, 'one'), ...reportsOf(proxy, 'two')]).toEqual([
      'listener.opened',
      'listener.closed',
      'listener.opened',
    ]);
    expect(statSync(join(at.path, 'edge.sock')).ino).toBe(ino);
  });

  it('that configuration fixes are bound all or none, and say which address it was', async () => {
    await using held = await heldPort();
    const occupied = { name: 'taken', endpoint: { host: '127.0.0.1', port: held.port } };
    await expect(listening([{ name: 'free', endpoint: ANY_PORT }, occupied])).rejects.toMatchObject({
      code: 'EADDRINUSE',
      port: held.port,
    });
  });

  it('of a source are retried until their address is free', async () => {
    const held = await heldPort();
    const list = new ListenerList({ name: 'late', endpoint: { host: '127.0.0.1', port: held.port } });
    await using proxy = await listening([], list);
    expect(await proxy.events.until('listener.failed')).toMatchObject({
      listener: 'late',
      error: { code: 'EADDRINUSE' },
    });
    await held[Symbol.asyncDispose]();
    await proxy.events.until('listener.opened');
  });

  it('of a source do not use an address that the configuration has bound', async () => {
    await using held = await heldPort();
    const endpoint = { host: '127.0.0.1', port: held.port };
    await held[Symbol.asyncDispose]();
    const list = new ListenerList({ name: 'default', endpoint }, { name: 'other', endpoint: ANY_PORT });
    await using proxy = await listening([{ name: 'fixed', endpoint }], list);
    await proxy.events.untilCount('listener.opened', 2);
    expect(proxy.listeners.status.map(({ name }) => name)).toEqual(['fixed', 'other']);
    expect(proxy.events.all('listener.failed')).toEqual([]);
  });

  it('of a source that are renamed keep accepting, and are reported under the new name', async () => {
    await using held = await heldPort();
    const endpoint = { host: '127.0.0.1', port: held.port };
    await held[Symbol.asyncDispose]();
    const list = new ListenerList({ name: 'old', endpoint });
    await using proxy = await listening([], list);
    await proxy.events.until('listener.opened');
    list.set({ name: 'new', endpoint });
    await proxy.events.untilCount('listener.opened', 2);
    expect(proxy.events.all('listener.opened').map(({ listener }) => listener)).toEqual(['old', 'new']);
    expect(proxy.events.all('listener.failed')).toEqual([]);
    await using client = await rawClient(endpoint);
    await client.closed;
    expect(proxy.accepted).toEqual(['new']);
  });

  it('of a source that move a name to another address, or exchange names, report the new owner as open last', async () => {
    const [one, two, three] = [await free(), await free(), await free()];
    const list = new ListenerList({ name: 'moved', endpoint: one }, { name: 'stays', endpoint: two });
    await using proxy = await listening([], list);
    await proxy.events.untilCount('listener.opened', 2);
    list.set({ name: 'moved', endpoint: three }, { name: 'stays', endpoint: two });
    await proxy.events.untilCount('listener.opened', 3);
    expect(reportsOf(proxy, 'moved')).toEqual(['listener.opened', 'listener.closed', 'listener.opened']);
    list.set({ name: 'moved', endpoint: two });
    await proxy.events.untilCount('listener.opened', 4);
    await proxy.events.untilCount('listener.closed', 3);
    expect(reportsOf(proxy, 'moved').at(-1)).toBe('listener.opened');
  });

  it('of a source that replace others on the same port wait for them to close', async () => {
    await using held = await heldPort();
    const { port } = held;
    await held[Symbol.asyncDispose]();
    const list = new ListenerList({ name: 'all', endpoint: { host: '0.0.0.0', port } });
    await using proxy = await listening([], list);
    await proxy.events.until('listener.opened');
    list.set({ name: 'one', endpoint: { host: '127.0.0.1', port } });
    await proxy.events.untilCount('listener.opened', 2);
    expect(proxy.events.all('listener.failed')).toEqual([]);
  });

  it('of a source that conflict with another listener report which one', async () => {
    await using held = await heldPort();
    const { port } = held;
    await held[Symbol.asyncDispose]();
    const list = new ListenerList({ name: 'second', endpoint: { host: '0.0.0.0', port } });
    await using proxy = await listening([{ name: 'first', endpoint: { host: '127.0.0.1', port } }], list);
    expect(await proxy.events.until('listener.failed')).toMatchObject({
      listener: 'second',
      error: { code: 'EADDRINUSE', message: `listener first of this proxy listens on 127.0.0.1:${port}` },
    });
  });

  describe.skipIf(process.platform === 'win32')('on a unix socket', () => {
    it('replace one whose process was killed, and leave nothing behind', async () => {
      await using files = await folder();
      const path = join(files.path, 'edge.sock');
      // The file remains when the server unlinks the name by which it was bound.
      const killed = createServer().listen(join(files.path, 'before.sock'));
      await once(killed, 'listening');
      linkSync(join(files.path, 'before.sock'), path);
      killed.close();
      await once(killed, 'close');
      const proxy = await listening([{ name: 'edge', endpoint: { host: `unix:${path}`, port: 0 } }]);
      await once(connect({ path }), 'close');
      expect(proxy.accepted).toEqual(['edge']);
      await proxy[Symbol.asyncDispose]();
      expect(existsSync(path)).toBe(false);
    });

    it.each(['a listening socket', 'a file'])('do not replace %s', async (what) => {
      await using files = await folder();
      const path = join(files.path, 'edge.sock');
      const holder = createServer();
      if (what === 'a file') writeFileSync(path, 'precious');
      else await once(holder.listen(path), 'listening');
      const starting = listening([{ name: 'edge', endpoint: { host: `unix:${path}`, port: 0 } }]);
      await expect(starting).rejects.toMatchObject({ code: 'EADDRINUSE' });
      expect(statSync(path).isSocket()).toBe(what !== 'a file');
      holder.close();
    });
  });

  it.each(['localhost', '[::1]'])('may be named %s by a source', async (host) => {
    await using proxy = await listening([], new ListenerList({ name: 'local', endpoint: { host, port: 0 } }));
    const { address } = await proxy.events.until('listener.opened');
    expect(['127.0.0.1', '::1']).toContain(address.host);
  });

  it.each([-1, 65_536, 1.5, NaN])('of a source are rejected for the port %s', async (port) => {
    const list = new ListenerList({ name: 'odd', endpoint: { host: '127.0.0.1', port } });
    await using proxy = await listening([], list);
    expect(await proxy.events.until('listener.failed')).toMatchObject({
      error: { message: expect.stringContaining(`: expected a port from 0 to 65535, found ${port}`) },
    });
  });

  it('detect a dial that would loop', async () => {
    await using proxy = await listening([{ name: 'all', endpoint: { host: '0.0.0.0', port: 0 } }]);
    const port = proxy.listeners.status[0]?.address?.port ?? 0;
    expect(['127.0.0.1', '127.9.9.9', '0.0.0.0'].map((host) => proxy.listeners.owns({ host, port }))).toEqual([
      true,
      true,
      true,
    ]);
    expect(proxy.listeners.owns({ host: '127.0.0.1', port: port === 1 ? 2 : port - 1 })).toBe(false);
    expect(proxy.listeners.owns({ host: '192.0.2.1', port })).toBe(false);
  });

  it('know their advertised addresses', async () => {
    const advertised = [{ host: '203.0.113.5', port: 443 }];
    const list = new ListenerList({ name: 'edge', endpoint: { host: '127.0.0.1', port: 0 }, advertised });
    await using proxy = await listening([], list);
    await proxy.events.until('listener.opened');
    expect(proxy.listeners.owns({ host: '203.0.113.5', port: 443 })).toBe(true);
    expect(proxy.listeners.owns({ host: '203.0.113.5', port: 444 })).toBe(false);
  });
});

describe('a change of the fixed listeners', () => {
  it('opens new ones, renames those that stay at their address, and closes removed ones', async () => {
    const [one, two] = [await free(), await free()];
    await using proxy = await listening([
      { name: 'one', endpoint: one },
      { name: 'gone', endpoint: ANY_PORT },
    ]);
    const change = await proxy.listeners.prepare([
      { name: 'renamed', endpoint: one },
      { name: 'two', endpoint: two },
    ]);
    // It listens, but accepts nothing before the change is in use.
    const client = await rawClient(two);
    expect(proxy.accepted).toEqual([]);
    await change.commit();
    await client.closed;
    expect(proxy.accepted).toEqual(['two']);
    expect(proxy.listeners.status.map(({ name }) => name)).toEqual(['renamed', 'two']);
    expect(proxy.events.all('listener.closed').map(({ listener }) => listener)).toEqual(['one', 'gone']);
  });

  it('that exchanges names, or reuses one, reports the new owner as open last', async () => {
    const [one, two, three] = [await free(), await free(), await free()];
    await using proxy = await listening([
      { name: 'a', endpoint: one },
      { name: 'b', endpoint: two },
      { name: 'c', endpoint: three },
    ]);
    const change = await proxy.listeners.prepare([
      { name: 'b', endpoint: one },
      { name: 'c', endpoint: two },
    ]);
    await change.commit();
    expect(['a', 'b', 'c'].map((name) => reportsOf(proxy, name).at(-1))).toEqual([
      'listener.closed',
      'listener.opened',
      'listener.opened',
    ]);
    const swap = await proxy.listeners.prepare([
      { name: 'c', endpoint: one },
      { name: 'b', endpoint: two },
    ]);
    await swap.commit();
    expect(['b', 'c'].map((name) => reportsOf(proxy, name).at(-1))).toEqual(['listener.opened', 'listener.opened']);
  });

  it('that moves a name to another address reports it as open last', async () => {
    await using proxy = await listening([{ name: 'moved', endpoint: await free() }]);
    const change = await proxy.listeners.prepare([{ name: 'moved', endpoint: await free() }]);
    await change.commit();
    expect(reportsOf(proxy, 'moved')).toEqual(['listener.opened', 'listener.closed', 'listener.opened']);
  });

  it('that is discarded does not report what it would have opened', async () => {
    await using proxy = await listening([]);
    const change = await proxy.listeners.prepare([{ name: 'never', endpoint: await free() }]);
    await change.discard();
    expect(reportsOf(proxy, 'never')).toEqual([]);
  });

  it('changes nothing when an address cannot be bound', async () => {
    await using held = await heldPort();
    const [one, other] = [await free(), await free()];
    await using proxy = await listening([{ name: 'one', endpoint: one }]);
    const wanted = [
      { name: 'other', endpoint: other },
      { name: 'taken', endpoint: { host: '127.0.0.1', port: held.port } },
    ];
    await expect(proxy.listeners.prepare(wanted)).rejects.toMatchObject({ code: 'EADDRINUSE', port: held.port });
    expect(proxy.listeners.status).toMatchObject([{ name: 'one', address: one }]);
    await expect(rawClient(other)).rejects.toThrow('ECONNREFUSED');
  });

  it('opens an address that overlaps with a closing one once that is free', async () => {
    const one = await free();
    await using proxy = await listening([{ name: 'narrow', endpoint: one }]);
    const change = await proxy.listeners.prepare([{ name: 'wide', endpoint: { host: '0.0.0.0', port: one.port } }]);
    await change.commit();
    await proxy.events.untilCount('listener.opened', 2);
    const client = await rawClient(one);
    await client.closed;
    expect(proxy.accepted).toEqual(['wide']);
  });

  it('takes over the address of a source, and gives it back', async () => {
    const endpoint = await free();
    await using proxy = await listening([], new ListenerList({ name: 'listed', endpoint }));
    await proxy.events.until('listener.opened');
    await (await proxy.listeners.prepare([{ name: 'fixed', endpoint }])).commit();
    expect(proxy.listeners.status.map(({ name }) => name)).toEqual(['fixed']);
    await (await proxy.listeners.prepare([])).commit();
    await proxy.events.untilCount('listener.opened', 3);
    expect(proxy.listeners.status.map(({ name }) => name)).toEqual(['listed']);
    expect(proxy.events.all('listener.failed')).toEqual([]);
  });
});
