import { execFile, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { createProxy } from '@meshgate/core';
import type { Route, RouteSource } from '@meshgate/core';
import { sniSniffer } from '@meshgate/sni';
import { clientHello, inRecords, needs, rawClient, recorder, silentAddress, tcpBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { routeTo, startProxy } from './proxy.ts';

/** Part of util-linux. */
const TOOL = 'unshare';

const HELLO = inRecords(clientHello({ serverName: 'backend.example' }));
const NAMELESS = inRecords(clientHello({}));
// The SSLRequest of PostgreSQL.
const POSTGRES = Buffer.from('0000000804d2162f', 'hex');

describe('a fallback route', () => {
  it.each([
    ['sends no server name', NAMELESS],
    ['speaks no protocol that a sniffer knows', POSTGRES],
  ])('accepts a client that %s, and its bytes pass unchanged', async (_what, bytes) => {
    await using backend = await tcpBackend('backend');
    const route = { ...routeTo(backend.address), serverNames: [], fallback: true };
    await using proxy = await startProxy({ routes: [route] });
    await using client = await rawClient(proxy.address);
    await client.send(bytes);
    expect((await client.receive(bytes.length)).equals(bytes)).toBe(true);
  });

  it.each([
    ['test', 'OK'],
    ['another', 'SNIFF_UNRECOGNIZED'],
  ])('that names the listener %s: a client ends with %s', async (listener, ending) => {
    await using backend = await tcpBackend('backend', { conduct: { kind: 'answer-last' } });
    const route = { ...routeTo(backend.address), serverNames: [], fallback: true, listeners: [listener] };
    await using proxy = await startProxy({ routes: [route] });
    await using client = await rawClient(proxy.address);
    await client.send(POSTGRES);
    client.end();
    expect(await proxy.ending()).toBe(ending);
  });

  it('accepts no client whose name has no route', async () => {
    await using backend = await tcpBackend('backend');
    const route = { ...routeTo(backend.address), serverNames: ['other.example'], fallback: true };
    await using proxy = await startProxy({ routes: [route] });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    expect(await proxy.ending()).toBe('ROUTE_NOT_FOUND');
  });

  it('that is missing ends a client of an unknown protocol without a hello', async () => {
    await using backend = await tcpBackend('backend');
    await using proxy = await startProxy({ routes: [routeTo(backend.address)] });
    await using client = await rawClient(proxy.address);
    await client.send(POSTGRES);
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed).toMatchObject({ attempts: 0, error: { code: 'SNIFF_UNRECOGNIZED' } });
    expect(closed.hello).toBeUndefined();
    expect(proxy.events.all('connection.sniffed')).toEqual([]);
  });
});

describe('a route that leads back to the proxy', () => {
  it.each(['127.0.0.1', '0.0.0.0', '127.8.8.8'])('by %s is refused before anything is dialled', async (host) => {
    const events = recorder();
    const source = delayedSource();
    const proxy = createProxy({
      listen: { host: '0.0.0.0', port: 0 },
      sources: [source],
      sniffers: [sniSniffer()],
      observers: [events],
    });
    await proxy.start();
    const { port } = proxy.address;
    source.yields(routeTo({ host, port }));
    await events.untilCount('routes.replaced', 2);
    await using client = await rawClient({ host: '127.0.0.1', port });
    await client.send(HELLO);
    const { closed } = await events.until('connection.closed');
    expect(closed.error).toMatchObject({ code: 'LOOP_DETECTED', side: 'proxy' });
    expect(closed.attempts).toBe(0);
    expect(events.all('connection.accepted')).toHaveLength(1);
    await proxy.stop();
  });
});

describe('a backend whose address stands for every address of a machine', () => {
  it.each(['0.0.0.0', '::', '0:0::0', '::ffff:0.0.0.0'])(
    '%s is not dialled, whatever listens on this machine',
    async (host) => {
      await using local = await tcpBackend('another service');
      await using good = await tcpBackend('good');
      const wildcard = { host, port: local.address.port };
      await using proxy = await startProxy({ routes: [routeTo(wildcard, good.address)] });
      for (let count = 0; count < 4; count += 1) {
        await using client = await rawClient(proxy.address);
        await client.send(HELLO);
        await client.receive(HELLO.length);
      }
      const reached = proxy.events.all('connection.connected').map(({ upstream }) => upstream.address);
      expect(reached).toEqual(Array(4).fill(good.address));
      const [failed] = proxy.events.all('dial.failed');
      expect(failed?.error).toMatchObject({ code: 'CONNECT_FAILED', message: expect.stringContaining('any address') });
    },
  );
});

/** A source without routes, until the test sets some. */
function delayedSource(): RouteSource & { yields(route: Route): void } {
  let yields: (route: Route) => void = () => undefined;
  const delayed = new Promise<Route>((resolve) => (yields = resolve));
  return {
    name: 'late',
    yields: (route) => yields(route),
    async *watch(signal) {
      yield { version: '1', routes: [] };
      yield { version: '2', routes: [await delayed] };
      if (!signal.aborted) await once(signal, 'abort');
    },
  };
}

describe('a client that disconnects', () => {
  it('while a backend does not respond: the reason says what it was waiting for', async () => {
    await using silent = await silentAddress();
    await using proxy = await startProxy({ routes: [routeTo(silent.address)], limits: { connectTimeoutMs: 60_000 } });
    await using client = await rawClient(proxy.address);
    await client.send(HELLO);
    await proxy.events.until('connection.routed');
    client.reset();
    const { closed } = await proxy.events.until('connection.closed');
    expect(closed.error?.code).toBe('DOWNSTREAM_RESET');
    expect(closed.error?.message).toMatch(
      new RegExp(`after its hello, while 127\\.0\\.0\\.1:${silent.address.port} had not responded$`),
    );
  });
});

needs('netns', namespaces())('exhausted local ports', () => {
  it('are our own shortage: no backend is ejected, and the limit is named', async () => {
    const script = fileURLToPath(new URL('fixtures/port-shortage.mjs', import.meta.url));
    const setUp = 'ip link set lo up && echo "50000 50015" > /proc/sys/net/ipv4/ip_local_port_range && exec "$@"';
    const command = ['-n', 'sh', '-c', setUp, 'sh', process.execPath, script, '16'];
    const { stdout } = await promisify(execFile)(TOOL, command, { timeout: 60_000 });
    expect(JSON.parse(stdout)).toEqual({
      codes: ['LOCAL_RESOURCE'],
      sides: ['proxy'],
      ejected: 0,
      reason: expect.stringContaining(
        'EADDRNOTAVAIL, no local port or address left for it (net.ipv4.ip_local_port_range)',
      ),
    });
  }, 60_000);
});

function namespaces(): true | string {
  try {
    execFileSync(TOOL, ['-n', 'ip', 'link', 'set', 'lo', 'up'], { stdio: 'pipe' });
    return true;
  } catch (reason) {
    return reason instanceof Error ? reason.message : 'unshare -n fails';
  }
}
