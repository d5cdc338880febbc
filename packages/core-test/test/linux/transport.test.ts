import { execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { describe, expect, inject, it } from 'vitest';
import {
  descriptorsByKind,
  peerListener,
  rawClient,
  refusingAddress,
  relay,
  loopsIdle,
  silentAddress,
  unixAddress,
  until,
} from '@meshgate/testkit';
import { ProxyError, unixPath } from '@meshgate/core';
import type { Connection } from '@meshgate/core';
import * as epoll from '@meshgate/epoll-transport';
import * as uring from '@meshgate/uring-transport';
import { transportUnderTest, variantsUnderTest } from '../transport-under-test.ts';
import { output, fixture } from './processes.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };

const KEEP_ALIVE = { idleMs: 60_000 };
const LISTEN = { backlog: 128, keepAlive: KEEP_ALIVE, onPause: (): void => undefined };

const MIB = 1024 * 1024;
const NAME = inject('transport');
const { selfTest } = NAME === 'uring' ? uring : epoll;
/** For each transport, settings with which it cannot work. */
const NONSENSE = { buffers: 3, bufferBytes: 0 };

/**
 * Output of a program in a network namespace with nothing but loopback.
 *
 * @param prepare a shell command to run first
 * @returns `undefined` where namespaces are not available
 */
async function inOwnNetwork(prepare: string, ...program: readonly string[]): Promise<unknown> {
  const run = promisify(execFile);
  const inside = ['--user', '--map-root-user', '--net', 'sh', '-c'];
  const ready = `ip link set lo up && ${prepare}`;
  const possible = await run('unshare', [...inside, ready]).then(
    () => true,
    () => false,
  );
  if (!possible) return undefined;
  const { stdout } = await run('unshare', [...inside, `${ready} && exec "$0" "$@"`, process.execPath, ...program], {
    timeout: 40_000,
  });
  return JSON.parse(stdout);
}

describe(`the ${NAME} transport`, () => {
  it('passes its self-test with every splice mode', async () => {
    for (const splice of ['copy', 'splice'] as const) expect(await selfTest({ splice })).toEqual({ ok: true });
    expect(await selfTest()).toEqual({ ok: true });
  });

  it('fails its test, and leaves nothing behind, for a nonsensical setting', async () => {
    expect(await selfTest(NONSENSE)).toMatchObject({ ok: false });
  });

  it('passes its own test on a machine without IPv4', async ({ skip }) => {
    const found = await inOwnNetwork('ip address del 127.0.0.1/8 dev lo', fixture('self-test.mjs'), NAME);
    skip(found === undefined, 'needs network namespaces and ip(8)');
    expect(found).toEqual({ ok: true });
  });

  it('drops a backend that does not acknowledge data, as early as keepalive would drop a silent one', async ({
    skip,
  }) => {
    await using socket = await unixAddress();
    const found = await inOwnNetwork('true', fixture('dead-peer.mjs'), NAME, unixPath(socket.address) ?? '');
    skip(found === undefined, 'needs network namespaces and ip(8)');
    expect(found).toMatchObject({ code: 'UPSTREAM_RESET' });
    const { afterMs } = found as { afterMs: number };
    // idle + interval * probes; the kernel's default is a quarter of an hour.
    expect(afterMs).toBeGreaterThan(2_000);
    expect(afterMs).toBeLessThan(10_000);
  });

  it('lets the process exit once everything it opened is closed', async () => {
    expect(await output('exits.mjs', NAME)).toEqual({ ok: true });
  });

  it('releases every descriptor, including its own', async () => {
    await loopsIdle();
    const before = descriptorsByKind();
    for (let round = 0; round < 3; round += 1) expect(await selfTest()).toEqual({ ok: true });
    await until(() => JSON.stringify(descriptorsByKind()) === JSON.stringify(before));
  });

  it('stops accepting when no file descriptor is left, reports it once, and loses no waiting client', async () => {
    const limited = spawn(
      'sh',
      ['-c', 'ulimit -n 512; exec "$0" "$@"', process.execPath, fixture('exhaustion.mjs'), NAME],
      {
        stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      },
    );
    const [{ port }] = (await once(limited, 'message')) as [{ port: number }];
    const clients = Array.from({ length: 100 }, () => connect(port, '127.0.0.1'));
    const ends = clients.map((client) => once(client.resume(), 'end'));
    await Promise.all(clients.map((client) => once(client, 'connect')));
    limited.send('go');
    const [report] = (await once(limited, 'message')) as [
      { before: number; accepted: number; pauses: readonly [boolean, string][] },
    ];
    await Promise.all(ends);
    for (const client of clients) client.destroy();
    expect(report.before).toBeLessThan(64);
    expect(report.accepted).toBe(100);
    // Pauses and resumptions alternate, and there are fewer than connections.
    expect(report.pauses.map(([paused]) => paused)).toEqual(report.pauses.map((_, index) => index % 2 === 0));
    expect(report.pauses.length).toBeLessThanOrEqual(20);
    expect(report.pauses[0]?.[1]).toBe('EMFILE');
  });

  it('reads bytes that had arrived before the accept at once, even without another event', async () => {
    const alone = spawn(process.execPath, [fixture('accepted-with-bytes.mjs'), NAME], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const lines = alone.stdout.setEncoding('utf8')[Symbol.asyncIterator]();
    const port = Number((await lines.next()).value);
    const client = connect(port, '127.0.0.1');
    await once(client, 'connect');
    await new Promise((resolve) => client.write('hello', resolve));
    alone.stdin.write('.');
    expect((await lines.next()).value).toBe('at once\n');
    client.destroy();
  });

  it('writes to a slow reader in many parts, in order, and resolves after the last part', async () => {
    const transport = transportUnderTest();
    await using backend = await peerListener();
    const up = await transport.dial(backend.address, { keepAlive: KEEP_ALIVE, timeoutMs: 5_000 }).done;
    await using server = await backend.accept();
    server.pause();
    const bytes = Buffer.alloc(24 * 1024 * 1024, 'abcdefg');
    let written = false;
    const writing = up.write(bytes).then(() => {
      written = true;
    });
    for (let turns = 0; turns < 50; turns += 1) await new Promise((resolve) => setImmediate(resolve));
    expect(written).toBe(false);
    server.resume();
    await writing;
    up.destroy();
    expect((await server.receiveAll()).equals(bytes)).toBe(true);
  });

  // `node:net` does not report a reset while nothing is read.
  for (const [variant, create] of variantsUnderTest()) {
    it(`passes a reset on in the middle of bulk, and returns its pipe (${variant})`, async () => {
      await loopsIdle();
      const before = descriptorsByKind();
      {
        await using backend = await peerListener();
        await using proxy = await relay(create(), backend.address);
        for (const from of ['client', 'server'] as const) {
          await using client = await rawClient(proxy.address);
          await using server = await backend.accept();
          const [resetting, other] = from === 'client' ? [client, server] : [server, client];
          other.pause();
          resetting.send(randomBytes(32 * MIB)).catch(() => undefined);
          await until(() => (proxy.splices.at(-1)?.bytesUp ?? 0) + (proxy.splices.at(-1)?.bytesDown ?? 0) > MIB);
          resetting.reset();
          const { error } = await proxy.transfer(proxy.splices.length - 1);
          expect(error?.code).toBe(from === 'client' ? 'DOWNSTREAM_RESET' : 'UPSTREAM_RESET');
        }
      }
      await until(() => descriptorsByKind()['pipe'] === before['pipe']);
    });
  }

  it('reports a reset even without a pending read or write', async () => {
    const transport = transportUnderTest();
    let accept: (connection: Connection) => void = () => undefined;
    const accepted = new Promise<Connection>((resolve) => {
      accept = resolve;
    });
    const listening = await transport.listen(LOOPBACK, LISTEN, (connection) => accept(connection));
    await using client = await rawClient(listening.address);
    const down = await accepted;
    const reset = new Promise<string>((resolve) => {
      down.onReset = ({ code }) => resolve(code);
    });
    client.reset();
    expect(await reset).toBe('DOWNSTREAM_RESET');
    await expect(down.read()).rejects.toMatchObject({ code: 'DOWNSTREAM_RESET' });
    down.destroy();
    await listening.close();
  });

  it('distinguishes refused, timed out and cancelled dials', async () => {
    const transport = transportUnderTest();
    await using refusing = await refusingAddress();
    await using silent = await silentAddress();
    const options = { keepAlive: KEEP_ALIVE, timeoutMs: 50 };
    await expect(transport.dial(refusing.address, options).done).rejects.toMatchObject({ code: 'CONNECT_REFUSED' });
    await expect(transport.dial(silent.address, options).done).rejects.toMatchObject({ code: 'CONNECT_TIMEOUT' });
    const dial = transport.dial(silent.address, { ...options, timeoutMs: 60_000 });
    dial.cut(new ProxyError('DOWNSTREAM_RESET', 'changed my mind'));
    await expect(dial.done).rejects.toThrow('changed my mind');
    await expect(transport.dial({ host: 'example.com', port: 1 }, options).done).rejects.toMatchObject({
      code: 'CONNECT_FAILED',
      message: 'dial example.com:1: expected an IP address or unix:/path, found example.com',
    });
    await expect(transport.dial({ host: 'unix:/nowhere/at/all', port: 0 }, options).done).rejects.toMatchObject({
      code: 'CONNECT_REFUSED',
    });
  });

  it('shares a port where the listeners agree to, and only there', async () => {
    const transport = transportUnderTest();
    const shared = { ...LISTEN, reusePort: true };
    const first = await transport.listen(LOOPBACK, shared, (connection) => connection.destroy());
    const second = await transport.listen(first.address, shared, (connection) => connection.destroy());
    expect(second.address).toEqual(first.address);
    const alone = transport.listen(first.address, LISTEN, (connection) => connection.destroy());
    await expect(alone).rejects.toMatchObject({ code: 'EADDRINUSE', syscall: 'bind' });
    await Promise.all([first.close(), second.close()]);
    const after = await transport.listen(first.address, LISTEN, (connection) => connection.destroy());
    await after.close();
  });
});
