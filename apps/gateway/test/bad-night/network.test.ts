// A gateway in a network namespace whose network is broken while it runs. Clients and backends connect through unix
// sockets, which are files.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import { connect, createServer } from 'node:net';
import type { Server } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { needs, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { TlsClient, TlsTestBackend } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folder, readyDaemon, TEST_CONFIG } from '../daemon.ts';
import type { Folder, ReadyDaemon } from '../daemon.ts';
import { Recording } from './alerts.ts';
import type { AlertName } from './alerts.ts';
import { CAUSES } from './causes.ts';
import { routeOf, until, WELL, whileQuerying } from './night.ts';

/** Whether this process may create network namespaces: `true`, or why not. */
function networksAvailable(): true | string {
  try {
    const make = 'ip link add sw0 type veth peer name sw1';
    execFileSync('unshare', ['-m', '-n', '-p', '-f', '--mount-proc', 'sh', '-c', make], { stdio: 'pipe' });
    return true;
  } catch (reason) {
    return `unshare -m -n -p fails: ${reason instanceof Error ? reason.message.trim().split('\n').join(' ') : String(reason)}`;
  }
}

/** In each of the two networks, an address that leads to the healthy backend. */
const RELAY_PORT = 9441;
/** On a link where packets are dropped. */
const SWALLOWED = '10.9.0.2';
const SWALLOWED_IPV6 = 'fd00:9::2';
/** Behind a link whose MTU can be reduced. */
const FAR = '10.8.0.2';
/** Without a route to it. */
const UNREACHABLE = '198.51.100.1';

const NETWORK = `set -e
mount --bind "$0/hosts" /etc/hosts
ip link set lo up
ip link add sw0 type veth peer name sw1
ip addr add 10.9.0.1/24 dev sw0
ip -6 addr add fd00:9::1/64 dev sw0 nodad
ip link set sw0 up
ip link set sw1 up
ip neigh replace ${SWALLOWED} lladdr 02:00:00:00:00:99 dev sw0 nud permanent
ip -6 neigh replace ${SWALLOWED_IPV6} lladdr 02:00:00:00:00:99 dev sw0 nud permanent
unshare -n sleep 600 & far=$!
until [ "$(readlink /proc/$far/ns/net)" != "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
ip link add va type veth peer name vb netns $far
ip addr add 10.8.0.1/24 dev va
ip link set va up
nsenter -n -t $far sh -c 'ip link set lo up; ip addr add ${FAR}/24 dev vb; ip link set vb up gso_max_segs 1'
touch "$0/far"
mount --bind /proc/$far/ns/net "$0/far"
nsenter -n -t $far "$1" "$0/relay.mjs" "$0/well.sock" &
"$1" "$0/relay.mjs" "$0/well.sock" &
exec "$1" "$2" gateway --config "$0/meshgate.yaml"`;

const RELAY = `
import { connect, createServer } from 'node:net';
createServer((near) => {
  const far = connect(process.argv[2]);
  near.on('error', () => far.destroy()).pipe(far);
  far.on('error', () => near.destroy()).pipe(near);
}).listen(${RELAY_PORT}, '::');`;

/** A night in that network. */
interface Night extends AsyncDisposable {
  readonly gateway: ReadyDaemon;
  serve(serverName: string): Promise<string>;
  /** A long-lived connection. */
  open(serverName: string): Promise<TlsClient>;
  fires(alert: AlertName, of: RegExp): Promise<void>;
  /** As a supervisor stops it. */
  terminate(): void;
  /** Runs a command in the gateway's network. */
  inside(...command: readonly string[]): void;
  /** Runs a command in the network behind the link. */
  far(...command: readonly string[]): void;
}

async function startNight(routes: readonly object[], hosts: string): Promise<Night> {
  const well = await tlsBackend(WELL);
  const files = await folder({ hosts, 'relay.mjs': RELAY, 'routes.yaml': { routes } });
  const path = (name: string): string => join(files.path, name);
  await files.write('meshgate.yaml', {
    ...TEST_CONFIG,
    // Only the Linux transports report lost packets.
    transport: 'auto',
    listeners: [{ name: 'main', address: `unix:${path('main.sock')}` }],
    admin: { address: `unix:${path('admin.sock')}` },
  });
  const door = await doorTo(well, path('well.sock'));
  const gateway = await readyDaemon((node, main) =>
    // When process 1, the gateway, exits, all processes of the namespace end.
    spawn('unshare', ['-m', '-n', '-p', '-f', '--mount-proc', 'sh', '-c', NETWORK, files.path, node, main], {
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
  return nightOf(gateway, files, [door, well]);
}

async function doorTo(well: TlsTestBackend, path: string): Promise<Server & AsyncDisposable> {
  const { host, port } = well.address;
  const server = createServer((near) => {
    const far = connect({ host, port });
    near.on('error', () => far.destroy()).pipe(far);
    far.on('error', () => near.destroy()).pipe(near);
  }).listen(path);
  await once(server, 'listening');
  return server;
}

function nightOf(gateway: ReadyDaemon, files: Folder, others: readonly AsyncDisposable[]): Night {
  const open = (serverName: string): Promise<TlsClient> => tlsClient(gateway.address, serverName);
  const [first = ''] = readFileSync(`/proc/${gateway.pid}/task/${gateway.pid}/children`, 'utf8').split(' ');
  const inNetwork = (path: string, command: readonly string[]): void =>
    void execFileSync('nsenter', [`--net=/proc/${first}/${path}`, ...command], { stdio: 'pipe' });
  return {
    gateway,
    open,
    async serve(serverName) {
      await using client = await open(serverName);
      return await client.echo('through the night');
    },
    async fires(alert, of) {
      const recording = new Recording();
      while (!recording.fires(alert, of)) {
        await sleep(SCRAPE_EVERY_MS);
        recording.add(await scraped(join(files.path, 'admin.sock')));
      }
    },
    terminate: () => void process.kill(Number(first), 'SIGTERM'),
    inside: (...command) => inNetwork('ns/net', command),
    far: (...command) => inNetwork(`root${files.path}/far`, command),
    async [Symbol.asyncDispose]() {
      if (existsSync(`/proc/${first}`)) process.kill(Number(first), 'SIGKILL');
      await gateway[Symbol.asyncDispose]();
      for (const other of [...others, files]) await other[Symbol.asyncDispose]();
    },
  };
}

const SCRAPE_EVERY_MS = 150;

async function scraped(socketPath: string): Promise<string> {
  const [response] = (await once(request({ socketPath, path: '/metrics' }).end(), 'response')) as [IncomingMessage];
  return text(response);
}

const ROUTES = [
  routeOf(WELL, { host: '127.0.0.1', port: RELAY_PORT }),
  routeOf('ports.example', { host: '127.0.0.1', port: RELAY_PORT }),
  routeOf('no-route.example', { host: UNREACHABLE, port: RELAY_PORT }),
  routeOf('ipv6.example', { host: 'both.internal', port: RELAY_PORT }),
  routeOf('hung.example', { host: SWALLOWED, port: RELAY_PORT }),
  routeOf('far.example', { host: FAR, port: RELAY_PORT }),
];

needs('netns', networksAvailable())('a bad night in a network of its own', () => {
  let night: Night;

  beforeAll(async () => {
    night = await startNight(ROUTES, `127.0.0.1 both.internal\n${SWALLOWED_IPV6} both.internal\n`);
    await until(() => succeeds(night.serve(WELL)));
    await until(() => succeeds(night.serve('far.example')));
  }, 60_000);

  afterAll(() => (night as Night | undefined)?.[Symbol.asyncDispose]());

  it(CAUSES.portsUsedUp.cause, { timeout: 90_000 }, async () => {
    const range = '/proc/sys/net/ipv4/ip_local_port_range';
    const limit = (from: number, to: number): void => night.inside('sh', '-c', `echo ${from} ${to} > ${range}`);
    limit(50_000, 50_003);
    // All ports that there are.
    const held: TlsClient[] = [];
    const line = night.gateway.line(({ code }) => code === 'LOCAL_RESOURCE');
    while (held.length < 8) {
      const client = await night.open('ports.example').catch(() => undefined);
      if (client === undefined) break;
      held.push(client);
    }
    expect((await line)['reason']).toMatch(/EADDRNOTAVAIL.*ip_local_port_range/);
    await whileQuerying(night, ['ports.example'], () =>
      night.fires('MeshgateFailures', /route="ports\.example".*code="LOCAL_RESOURCE"/),
    );
    for (const client of held) expect(await client.echo('still here')).toBe('still here');
    limit(32_768, 60_999);
    expect(await night.serve('ports.example')).toBe('through the night');
    for (const client of held) client.end();
  });

  describe.concurrent('has several causes at a time', () => {
    it(CAUSES.noRoute.cause, { timeout: 90_000 }, async () => {
      await expect(night.serve('no-route.example')).rejects.toThrow();
      const line = await night.gateway.line(({ serverName }) => serverName === 'no-route.example');
      expect(line).toMatchObject({ code: 'CONNECT_FAILED', reason: expect.stringContaining('ENETUNREACH') as string });
      await whileQuerying(night, ['no-route.example', WELL], () =>
        night.fires('MeshgateFailures', /route="no-route\.example"/),
      );
      night.inside('ip', 'addr', 'add', `${UNREACHABLE}/32`, 'dev', 'lo');
      expect(await night.serve('no-route.example')).toBe('through the night');
    });

    it(CAUSES.ipv6Swallows.cause, { timeout: 90_000 }, async () => {
      const fires = night.fires('MeshgatePathImpaired', /problem="family".*side="upstream"/);
      const line = night.gateway.line(({ problem }) => problem === 'family');
      // The first client waits for a quarter of a second, later ones do not wait.
      expect(await night.serve('ipv6.example')).toBe('through the night');
      await Promise.all(Array.from({ length: 20 }, () => night.serve('ipv6.example')));
      expect((await line)['msg']).toMatch(
        /^network path to \[fd00:9::2\]:\d+ impaired: IPv6 does not respond, preferring IPv4 \(127\.0\.0\.1:\d+\) for 10 min/,
      );
      await fires;
      const { lines } = night.gateway;
      const slow = lines.filter(
        ({ serverName, connectMs }) => serverName === 'ipv6.example' && Number(connectMs) > 900,
      );
      expect(slow).toEqual([]);
    });

    it(CAUSES.gatewayHangs.cause, { timeout: 90_000 }, async () => {
      await expect(night.serve('hung.example')).rejects.toThrow();
      const line = await night.gateway.line(({ serverName }) => serverName === 'hung.example');
      expect(line).toMatchObject({
        code: 'CONNECT_TIMEOUT',
        reason: expect.stringContaining('no response within') as string,
      });
      await whileQuerying(night, ['hung.example', 'hung.example', WELL], () =>
        night.fires('MeshgateFailures', /route="hung\.example".*code="CONNECT_TIMEOUT"/),
      );
      night.inside('ip', 'neigh', 'del', SWALLOWED, 'dev', 'sw0');
      night.inside('ip', 'addr', 'add', `${SWALLOWED}/32`, 'dev', 'lo');
      await until(() => succeeds(night.serve('hung.example')));
    });
  });

  it(CAUSES.mtuBlackHole.cause, { timeout: 90_000 }, async () => {
    await using client = await night.open('far.example');
    expect(await client.echo('small')).toBe('small');
    night.far('ip', 'route', 'replace', '10.8.0.0/24', 'dev', 'vb', 'advmss', '1460');
    night.far('ip', 'link', 'set', 'vb', 'mtu', '700');
    night.inside('ip', 'link', 'set', 'va', 'gso_max_segs', '1');
    expect(await client.echo('small')).toBe('small');
    const large = client.echo('x'.repeat(4_000));
    const fires = night.fires('MeshgatePathImpaired', /problem="large-segments".*side="upstream"/);
    const line = await night.gateway.line(({ problem }) => problem === 'large-segments');
    expect(line['msg']).toMatch(
      /^network path to 10\.8\.0\.2:\d+ impaired: segments of \d+ bytes were sent \d+ times and are not acknowledged: packets of full size may be lost/,
    );
    await fires;
    expect(await Promise.race([large, sleep(100).then(() => 'hangs')])).toBe('hangs');
    expect(await night.serve(WELL)).toBe('through the night');
    night.far('ip', 'link', 'set', 'vb', 'mtu', '1500');
    expect(await large).toBe('x'.repeat(4_000));
    expect(await night.serve('far.example')).toBe('through the night');
  });

  it('in the morning it stops cleanly', async () => {
    night.terminate();
    expect(await night.gateway.exited).toBe(0);
  });
});

function succeeds(attempt: Promise<unknown>): Promise<boolean> {
  return attempt.then(
    () => true,
    () => false,
  );
}
