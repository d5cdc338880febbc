import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { descriptorOf } from '@meshgate/core/parts';
import { datagramSender, encodeAddress, loadLibc, SOCK_NONBLOCK, Sockets } from '@meshgate/linux';
import type { Libc } from '@meshgate/linux';
import { needs, rawClient, tlsBackend, tlsClient } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { adminClient } from '../src/admin/client.ts';
import { notification } from '../src/run/service-manager.ts';
import { activated, gatewayFolder, TEST_CONFIG } from './daemon.ts';
import { pageText } from './page.ts';
import { freePorts } from './sidecar/agent.ts';

const UNITS = fileURLToPath(new URL('../systemd/', import.meta.url));

describe('the notifications to systemd', () => {
  it.each([
    [{ kind: 'ready' }, 'READY=1\nSTATUS=ready'],
    [{ kind: 'reloading' }, 'RELOADING=1\nMONOTONIC_USEC=42\nSTATUS=reloading'],
    [{ kind: 'stopping' }, 'STOPPING=1\nSTATUS=draining'],
    [{ kind: 'handed over', pid: 4711 }, 'MAINPID=4711\nREADY=1'],
    [{ kind: 'status', text: 'a\nMAINPID=1' }, 'STATUS=a MAINPID=1'],
    [{ kind: 'alive' }, 'WATCHDOG=1'],
  ] as const)('$0.kind', (state, text) => {
    expect(notification(state, 42n)).toBe(text);
  });
});

const libc = await loadLibc().catch(String);

needs('epoll', typeof libc !== 'string' || libc)('a notification', () => {
  it('reaches a datagram socket, by its path or in the abstract namespace', () => {
    if (typeof libc === 'string') throw new Error(libc);
    const folder = mkdtempSync(join(tmpdir(), 'meshgate-notify-'));
    for (const path of [join(folder, 'notify'), `@meshgate-test-${process.pid}`]) {
      const address = encodeAddress({ host: `unix:${path.replace('@', '\0')}`, port: 0 });
      if (typeof address === 'string') throw new Error(address);
      const receiver = libc.socket(address.family, 2, 0);
      const bytes = path.startsWith('@') ? address.bytes.subarray(0, -1) : address.bytes;
      expect(new Sockets(libc).bind(receiver, { ...address, bytes })).toBe(0);
      const sender = datagramSender(libc, path);
      sender.send('READY=1');
      const buffer = libc.allocate(64);
      const length = libc.recv(receiver, buffer.address, 64, 0);
      expect(Buffer.from(buffer.bytes.subarray(0, length)).toString()).toBe('READY=1');
      sender.close();
      libc.close(receiver);
    }
    rmSync(folder, { recursive: true });
    expect(() => datagramSender(libc, '/nowhere/notify')).toThrow('ENOENT');
  });
});

needs('epoll', typeof libc !== 'string' || libc)('a gateway started by systemd', () => {
  it(
    'accepts on the socket that systemd opened, notifies when it is ready, and names its successor',
    { timeout: 60_000 },
    async () => {
      if (typeof libc === 'string') throw new Error(libc);
      await using api = await tlsBackend('api.example.com');
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      const listeners = [{ name: 'edge', address: '127.0.0.1', port }];
      await using files = await gatewayFolder([api], { listeners });
      const path = join(files.path, 'notify');
      const receiver = notifySocket(libc, path);
      await using gateway = activated(`${files.path}/meshgate.yaml`, {
        sockets: [descriptorOf(server) ?? -1],
        names: ['edge'],
        env: { NOTIFY_SOCKET: path },
      });
      // From here on the service's process owns it.
      server.close();
      const { admin } = (await gateway.logged('ready')) as unknown as { readonly admin: string };
      expect(await receiver.next()).toContain('READY=1');
      await using client = await tlsClient({ host: '127.0.0.1', port }, 'api.example.com');
      expect(await client.echo('hello')).toBe('hello');
      const operator = adminClient(new URL(admin));
      expect(await operator.change('POST', '/reload')).toEqual({ changes: [] });
      expect(await receiver.next()).toMatch(/^RELOADING=1\nMONOTONIC_USEC=\d+\n/);
      expect(await receiver.next()).toContain('READY=1');
      const { pid } = (await operator.change('POST', '/upgrade', 30_000)) as { readonly pid: number };
      const observed = [await receiver.next(), await receiver.next()].join('\n');
      expect(observed).toContain(`MAINPID=${pid}\nREADY=1`);
      await using newcomer = await tlsClient({ host: '127.0.0.1', port }, 'api.example.com');
      expect(await newcomer.echo('hello')).toBe('hello');
      for (const peer of [client, newcomer]) await peer[Symbol.asyncDispose]();
      process.kill(pid, 'SIGTERM');
      expect(await receiver.next()).toContain('STOPPING=1');
      await gateway.ended;
      receiver.close();
    },
  );
});

needs('epoll', typeof libc !== 'string' || libc)('a gateway whose sockets systemd stores', () => {
  it(
    'stores them by name, inherits them after a crash, while clients wait, and removes those it no longer listens on',
    { timeout: 60_000 },
    async () => {
      if (typeof libc === 'string') throw new Error(libc);
      await using api = await tlsBackend('api.example.com');
      const [port = 0, other = 0] = await freePorts(2);
      const at = (name: string, number: number) => ({ name, address: '127.0.0.1', port: number });
      await using files = await gatewayFolder([api], { listeners: [at('edge', port), at('other', other)] });
      const config = `${files.path}/meshgate.yaml`;
      const path = join(files.path, 'notify');
      const systemd = notifySocket(libc, path);
      const env = { NOTIFY_SOCKET: path };
      const names = [`meshgate@edge@127.0.0.1@${port}`, `meshgate@other@127.0.0.1@${other}`];
      let stored: readonly number[];
      {
        await using first = activated(config, { sockets: [], names: [], env });
        stored = [await systemd.stored(names[0] ?? ''), await systemd.stored(names[1] ?? '')];
        await first.logged('ready');
      }
      // Nothing accepts, and no connection is refused.
      const waiting = tlsClient({ host: '127.0.0.1', port }, 'api.example.com');
      await files.write('meshgate.yaml', { ...TEST_CONFIG, listeners: [at('edge', port)] });
      await using second = activated(config, { sockets: stored, names, env });
      for (const fd of stored) libc.close(fd);
      await using client = await waiting;
      expect(await client.echo('hello')).toBe('hello');
      await systemd.discarded(names[1] ?? '');
      await expect(rawClient({ host: '127.0.0.1', port: other })).rejects.toThrow('ECONNREFUSED');
      expect(second.lines.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([]);
      systemd.close();
    },
  );
});

/** The service manager's side of the notification socket. */
function notifySocket(calls: Libc, path: string) {
  const address = encodeAddress({ host: `unix:${path}`, port: 0 });
  if (typeof address === 'string') throw new Error(address);
  const fd = calls.socket(address.family, 2 | SOCK_NONBLOCK, 0);
  new Sockets(calls).bind(fd, address);
  const buffer = calls.allocate(4096);
  const control = calls.allocate(64);
  const iovec = wordsOf(calls, [buffer.address, 4096]);
  const received: string[] = [];
  const descriptors = new Map<string, number>();
  /** One datagram, and the descriptor that it may carry. */
  const receive = (): boolean => {
    control.ints.fill(0);
    const message = wordsOf(calls, [0, 0, iovec.address, 1, control.address, 64, 0]);
    const length = recvmsg(fd, message.address, MSG_CMSG_CLOEXEC);
    if (length <= 0) return false;
    const text = Buffer.from(buffer.bytes.subarray(0, length)).toString();
    const name = /FDSTORE=1\nFDNAME=(.*)/.exec(text)?.[1];
    if (name === undefined) received.push(text);
    else descriptors.set(name, control.ints[4] ?? -1);
    return true;
  };
  const until = async <T>(find: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      if (!receive()) await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return {
    /** The next message without a descriptor. */
    next: () => until(() => received.shift()),
    /** The descriptor stored under this name. */
    stored: (name: string) => until(() => descriptors.get(name)),
    discarded: (name: string) => until(() => received.find((text) => text === `FDSTOREREMOVE=1\nFDNAME=${name}`)),
    close: () => void calls.close(fd),
  };
}

/** Not needed in the product. */
const { load } = createRequire(fileURLToPath(import.meta.resolve('@meshgate/linux')))('koffi') as {
  load(path: null): {
    func(name: string, result: string, types: readonly string[]): (...values: readonly number[]) => number;
  };
};
/** recv(2): no other process inherits it by accident. */
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const recvmsg = load(null).func('recvmsg', 'int', ['int', 'int64', 'int']);

function wordsOf(calls: Libc, values: readonly number[]) {
  const memory = calls.allocate(values.length * 8);
  const view = new DataView(memory.bytes.buffer);
  for (const [index, value] of values.entries()) view.setBigUint64(index * 8, BigInt(value), true);
  return memory;
}

function analyzeFails(): true | string {
  try {
    execFileSync('systemd-analyze', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return 'no systemd-analyze found (Debian package systemd)';
  }
}

needs('systemd', analyzeFails())('the units', () => {
  let folder = '';
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'meshgate-units-'));
    for (const unit of ['meshgate.service', 'meshgate.socket']) {
      const text = readFileSync(join(UNITS, unit), 'utf8').replaceAll('/usr/local/bin/meshgate', '/bin/true');
      writeFileSync(join(folder, unit), text);
    }
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('are valid', () => {
    const units = ['meshgate.service', 'meshgate.socket'].map((unit) => join(folder, unit));
    expect(execFileSync('systemd-analyze', ['verify', ...units], { encoding: 'utf8', stdio: 'pipe' })).toBe('');
  });

  it('expose as little as systemd rates OK', () => {
    const service = join(folder, 'meshgate.service');
    const args = ['security', '--offline=true', '--threshold=20', service];
    const report = execFileSync('systemd-analyze', args, { encoding: 'utf8', stdio: 'pipe' });
    expect(report).toMatch(/Overall exposure level for meshgate\.service: [01]\.\d OK/);
  });
});

describe('docs/operate/install.md', () => {
  it('shows the units as they are', () => {
    const page = pageText('docs/operate/install.md');
    for (const unit of ['meshgate.service', 'meshgate.socket'])
      expect(page).toContain(readFileSync(join(UNITS, unit), 'utf8'));
  });
});
