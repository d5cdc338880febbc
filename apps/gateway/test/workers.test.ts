import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { access, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { pause } from '@meshgate/core';
import { selfTest as epollTest } from '@meshgate/epoll-transport';
import { needs, rawClient, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { DeclareSuite } from '@meshgate/testkit';
import { selfTest as uringTest } from '@meshgate/uring-transport';
import { describe, expect, it } from 'vitest';
import { adminClient } from '../src/admin/client.ts';
import { topModel } from '../src/cli/top.ts';
import { parseConfig } from '../src/config/config.ts';
import { sharesOf } from '../src/workers/shares.ts';
import { gatewayFolder, meshgate, routesTo, spawnGateway, startGateway, TEST_CONFIG } from './daemon.ts';
import type { Daemon, Folder, LogLine, ReadyDaemon } from './daemon.ts';

const epoll = await epollTest();
const uring = await uringTest();

const TRANSPORTS: readonly { readonly name: string; readonly declare: DeclareSuite }[] = [
  { name: 'node', declare: describe },
  { name: 'epoll', declare: needs('epoll', epoll.ok || epoll.reason) },
  { name: 'uring', declare: needs('uring', uring.ok || uring.reason) },
];

type Named = Parameters<typeof gatewayFolder>[0];

function workersFolder(transport: string, backends: Named, settings: object = {}): Promise<Folder> {
  return gatewayFolder(backends, { workers: 2, transport, ...settings });
}

interface ConnectionsResponse {
  readonly connections: readonly { readonly id: string; readonly remote: string }[];
}

/** Numbers of the workers that currently have connections. */
async function busyWorkers(gateway: ReadyDaemon): Promise<ReadonlySet<string>> {
  const { connections } = (await gateway.query('/connections')).json as ConnectionsResponse;
  return new Set(connections.map(({ id }) => id.split('-')[0] ?? ''));
}

async function scraped(gateway: ReadyDaemon, series: string, accept = '*/*'): Promise<number> {
  const response = await fetch(new URL('/metrics', gateway.admin), { headers: { accept } });
  const line = (await response.text()).split('\n').find((one) => one.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1));
}

/** Polls until `holds`: from outside there is no event for what a process does by itself. */
async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setImmediate(resolve));
}

async function isRefused({ address }: ReadyDaemon): Promise<boolean> {
  const client = await rawClient(address).catch(String);
  if (typeof client === 'string') return client.includes('ECONNREFUSED');
  await client[Symbol.asyncDispose]();
  return false;
}

/** Clients, opened one after the other until each of `count` workers has one. */
async function clientsOnEach(gateway: ReadyDaemon, count: number) {
  const clients: Awaited<ReturnType<typeof tlsClient>>[] = [];
  do clients.push(await tlsClient(gateway.address, 'api.example.com'));
  while ((await busyWorkers(gateway)).size < count);
  return {
    clients,
    async [Symbol.asyncDispose]() {
      for (const client of clients) await client[Symbol.asyncDispose]();
    },
  };
}

function children(pid: number): readonly number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

const isLoss = ({ service, msg }: LogLine): boolean => service === 'workers' && String(msg).includes('SIGKILL');

const listens = (daemon: Daemon, worker: string) =>
  daemon.line((line) => line['worker'] === worker && String(line['msg']).startsWith('listening on'));

/** Regardless of their numbers: a worker that fails to start is replaced by another. */
function replacementsListen(daemon: Daemon, count: number): Promise<LogLine> {
  const listening = new Set<unknown>();
  return daemon.line(({ worker, msg }) => {
    if (worker !== '1' && worker !== '2' && String(msg).startsWith('listening on')) listening.add(worker);
    return listening.size === count;
  });
}

for (const { name: transport, declare } of TRANSPORTS) {
  declare(`two workers with the transport ${transport}`, () => {
    it('count the bytes of live connections', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await workersFolder(transport, [api]);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      await using all = await clientsOnEach(gateway, 2);
      const up = 'meshgate_bytes_total{route="api",direction="up"}';
      const before = await scraped(gateway, up);
      expect(before).toBeGreaterThan(0);
      for (const client of all.clients) expect(await client.echo('hello')).toBe('hello');
      expect(await scraped(gateway, up)).toBeGreaterThan(before);
    });

    it('serve on one port, and their metrics and connections are combined', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await workersFolder(transport, [api]);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      expect(await gateway.logged('ready')).toMatchObject({ workers: 2, transport });
      await using all = await clientsOnEach(gateway, 2);
      for (const client of all.clients) expect(await client.echo('hello')).toBe('hello');
      const { length } = all.clients;
      const { connections } = (await gateway.query('/connections')).json as ConnectionsResponse;
      expect(new Set(connections.map(({ id }) => id)).size).toBe(length);
      const accepted = 'meshgate_connections_accepted_total{listener="main"}';
      expect(await scraped(gateway, accepted)).toBe(length);
      expect(await scraped(gateway, accepted, 'application/openmetrics-text')).toBe(length);
      expect(await scraped(gateway, 'meshgate_connections_active{route="api",listener="main"}')).toBe(length);
      expect(await scraped(gateway, 'meshgate_workers')).toBe(2);
      expect(await scraped(gateway, 'meshgate_source_server_names{source="file:routes.yaml"}')).toBe(1);
    });

    it('accept on one unix socket, even after one of them has died, and on one that a reload adds', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await workersFolder(transport, [api]);
      const at = (name: string) => ({ name, address: `unix:${files.path}/${name}.sock` });
      const write = (...names: readonly string[]) =>
        files.write('meshgate.yaml', { ...TEST_CONFIG, workers: 2, transport, listeners: names.map(at) });
      await write('first');
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      const served = async (name: string): Promise<void> => {
        const address = { ...gateway, address: { host: at(name).address, port: 0 } };
        await using all = await clientsOnEach(address, 2);
        for (const client of all.clients) expect(await client.echo('hello')).toBe('hello');
      };
      await served('first');
      process.kill(children(gateway.pid)[0] ?? 0, 'SIGKILL');
      await listens(gateway, '3');
      await served('first');
      // In use: nothing changes, and the listener that could be opened is closed again.
      const occupied = createServer().listen(`${files.path}/taken.sock`);
      await once(occupied, 'listening');
      await write('first', 'second', 'taken');
      expect(await gateway.query('/reload', { method: 'POST' })).toMatchObject({ status: 409 });
      await expect(access(`${files.path}/second.sock`)).rejects.toThrow('ENOENT');
      occupied.close();
      await write('first', 'second');
      expect(await gateway.query('/reload', { method: 'POST' })).toMatchObject({ status: 200 });
      await served('second');
      await write('second');
      expect(await gateway.query('/reload', { method: 'POST' })).toMatchObject({ status: 200 });
      await expect(access(`${files.path}/first.sock`)).rejects.toThrow('ENOENT');
      await served('second');
      gateway.signal('SIGTERM');
      expect(await gateway.ended).toBe(0);
      await expect(access(`${files.path}/second.sock`)).rejects.toThrow('ENOENT');
    });

    it('are one gateway to the page and to top, and have one log level', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await workersFolder(transport, [api]);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      await using all = await clientsOnEach(gateway, 2);
      const { length } = all.clients;
      const model = await topModel(adminClient(new URL(gateway.admin)));
      expect(model.status).toMatchObject({ ready: true, workers: 2, transport, routes: 1 });
      expect(model.routes.get('api')).toMatchObject({ active: length });
      await gateway.query('/log-level?level=debug', { method: 'PUT' });
      // The level reaches the workers a moment later: one that has it logs a failing connection.
      const failing = async (): Promise<boolean> => {
        await using client = await rawClient(gateway.address);
        await client.send('no hello\r\n\r\n');
        await client.receiveAll();
        return gateway.lines.some(({ level, worker }) => level === 'debug' && worker !== undefined);
      };
      await until(failing);
    });

    it('both receive route changes', async () => {
      await using api = await tlsBackend('api.example.com');
      await using web = await tlsBackend('web.example.com');
      await using files = await workersFolder(transport, [api]);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      await files.write('routes.yaml', routesTo(api, web));
      gateway.signal('SIGHUP');
      await gateway.logged('routes updated: 2 routes');
      const seen = new Set<string>();
      while (seen.size < 2) {
        // Workers get the routes a moment after the primary has logged the update.
        const client = await tlsClient(gateway.address, 'web.example.com').catch(() => undefined);
        if (client === undefined) continue;
        expect(await client.echo('new')).toBe('new');
        for (const worker of await busyWorkers(gateway)) seen.add(worker);
        await client[Symbol.asyncDispose]();
      }
    });

    it('are two again after one is killed; the other continues, and no counter decreases', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await workersFolder(transport, [api]);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      await using all = await clientsOnEach(gateway, 2);
      const accepted = 'meshgate_connections_accepted_total{listener="main"}';
      const before = await scraped(gateway, accepted);
      const [victim = 0] = children(gateway.pid);
      const stream = streamOf(gateway);
      process.kill(victim, 'SIGKILL');
      expect(await gateway.line(isLoss)).toMatchObject({ level: 'error' });
      await listens(gateway, '3');
      await until(async () => (await scraped(gateway, 'meshgate_workers')) === 2);
      const { served } = await stream.end();
      expect(served).toBeGreaterThan(0);
      const lives = await Promise.all(all.clients.map((client) => client.echo('still').catch(() => 'cut')));
      expect(new Set(lives)).toEqual(new Set(['still', 'cut']));
      expect(await scraped(gateway, accepted)).toBeGreaterThanOrEqual(before);
      expect(await scraped(gateway, 'meshgate_worker_losses_total')).toBe(1);
      await using after = await clientsOnEach(gateway, 2);
      for (const client of after.clients) expect(await client.echo('again')).toBe('again');
    });

    it(
      'know every route before they listen, also a replacement for one that was killed',
      { timeout: 80_000 },
      async () => {
        await using api = await tlsBackend('api.example.com');
        const others = Array.from({ length: 2_000 }, (_, index) => ({ ...api, name: `s${index}.example.com` }));
        await using files = await workersFolder(transport, [...others, api]);
        await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
        const stream = streamOf(gateway);
        for (const victim of children(gateway.pid)) process.kill(victim, 'SIGKILL');
        await replacementsListen(gateway, 2);
        await using all = await clientsOnEach(gateway, 2);
        for (const client of all.clients) expect(await client.echo('known')).toBe('known');
        await stream.end();
        expect(gateway.lines.filter(({ code }) => code === 'ROUTE_NOT_FOUND')).toEqual([]);
      },
    );

    it('both let their connections finish, and the gateway exits with status 0', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await workersFolder(transport, [api]);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      await using all = await clientsOnEach(gateway, 2);
      const { length } = all.clients;
      gateway.signal('SIGTERM');
      for (const worker of ['1', '2'])
        await gateway.line((line) => line['worker'] === worker && line['msg'] === 'listener closed');
      await until(() => isRefused(gateway));
      expect((await gateway.query('/drain')).json).toMatchObject({ state: 'finishing', remaining: length, cut: 0 });
      expect((await gateway.query('/ready')).status).toBe(503);
      for (const client of all.clients) expect(await client.echo('not cut')).toBe('not cut');
      for (const client of all.clients) client.end();
      expect(await gateway.ended).toBe(0);
      expect(await gateway.logged('drain finished')).toMatchObject({ finished: length, cut: 0 });
    });

    it('start to listen all or none, and the process that has the port is reported once', async () => {
      await using api = await tlsBackend('api.example.com');
      const { host: address, port } = api.address;
      await using files = await workersFolder(transport, [], { listeners: [{ name: 'main', address, port }] });
      await using gateway = spawnGateway(`${files.path}/meshgate.yaml`);
      expect(await gateway.ended).toBe(1);
      expect(gateway.lines.filter(({ level }) => level === 'fatal')).toHaveLength(1);
    });
  });
}

const ofEpoll = TRANSPORTS.find(({ name }) => name === 'epoll')?.declare ?? describe;

ofEpoll('workers that bind by themselves', () => {
  it('open no listener of a plugin that they cannot share, report why, and serve its others', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await workersFolder('epoll', [api], { plugins: ['./lister.mjs'] });
    await files.write('lister.mjs', LISTER);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    for (const why of [
      'listener any of source lister not opened: workers cannot share port 0 with transport epoll',
      'listener path of source lister not opened: workers cannot share a unix socket that a source lists with transport epoll',
    ])
      await gateway.line(({ level, msg }) => level === 'error' && String(msg).includes(why));
    for (const worker of ['1', '2'])
      await gateway.line((line) => line['worker'] === worker && line['listener'] === 'chosen');
    expect((await gateway.query('/listeners')).json).toMatchObject({
      listeners: [{ name: 'main' }, { name: 'chosen' }],
    });
  });
});

/** Short connections, one after the other, until it is stopped. */
function streamOf(gateway: ReadyDaemon): { end(): Promise<{ readonly served: number }> } {
  const ending = new AbortController();
  let served = 0;
  const running = (async () => {
    while (!ending.signal.aborted) {
      // Connections of the worker that is killed are lost; only the others count here.
      const client = await tlsClient(gateway.address, 'api.example.com').catch(() => undefined);
      if (client === undefined) {
        // Clients that retry without a pause would take CPU time from the workers that start.
        await pause(10, ending.signal);
        continue;
      }
      served += (await client.echo('x').catch(() => '')) === 'x' ? 1 : 0;
      await client[Symbol.asyncDispose]();
    }
  })();
  return {
    end: async () => {
      ending.abort();
      await running;
      return { served };
    },
  };
}

describe('workers', () => {
  it('end with status 1 when one of them dies in the drain', async () => {
    await using api = await tlsBackend('api.example.com', { conduct: { kind: 'linger' } });
    await using files = await workersFolder('node', [api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using all = await clientsOnEach(gateway, 2);
    gateway.signal('SIGTERM');
    await gateway.logged('drain started');
    const [victim = 0] = children(gateway.pid);
    process.kill(victim, 'SIGKILL');
    for (const client of all.clients) client.reset();
    expect(await gateway.ended).toBe(1);
    expect(String(gateway.lines.at(-1)?.['msg'])).toMatch(
      /^shutdown incomplete: worker \d \(pid \d+\) was killed by SIGKILL/,
    );
  });

  it('cut remaining connections at a second signal, and end with status 1', async () => {
    await using api = await tlsBackend('api.example.com', { conduct: { kind: 'linger' } });
    await using files = await workersFolder('node', [api], { drain: { delay: '1h', grace: '1h', spread: '1h' } });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using all = await clientsOnEach(gateway, 2);
    gateway.signal('SIGTERM');
    await gateway.logged('drain started');
    gateway.signal('SIGTERM');
    expect(await gateway.ended).toBe(1);
    expect(await gateway.logged('drain finished')).toMatchObject({ finished: 0, cut: all.clients.length });
  });

  it('ignore signals themselves', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await workersFolder('node', [api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using all = await clientsOnEach(gateway, 2);
    for (const pid of children(gateway.pid))
      for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.kill(pid, name);
    for (const client of all.clients) expect(await client.echo('here')).toBe('here');
    expect(await scraped(gateway, 'meshgate_worker_losses_total')).toBe(0);
  });

  it('that stop responding delay neither a scrape nor a drain', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await workersFolder('node', [api], { drain: { grace: '100ms', spread: '0ms' } });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const [stuck = 0] = children(gateway.pid);
    process.kill(stuck, 'SIGSTOP');
    expect(await scraped(gateway, 'meshgate_workers')).toBe(2);
    gateway.signal('SIGTERM');
    expect(await gateway.ended).toBe(1);
  });

  it('give an observer the same connection object in all events of a connection, with an id that no other worker uses', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await workersFolder('node', [api], { plugins: ['./remembering.mjs'] });
    await files.write('remembering.mjs', REMEMBERING);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const all = await clientsOnEach(gateway, 2);
    await all[Symbol.asyncDispose]();
    for (const worker of [1, 2])
      await gateway.line(({ msg }) => new RegExp(`^printed by a plugin: closed ${worker}-1: known$`).test(String(msg)));
  });

  it('that start after the log level was set use it', async () => {
    await using files = await workersFolder('node', [], { plugins: ['./held.mjs'] });
    await files.write('held.mjs', HELD_IN_WORKERS);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await files.write('hold', '');
    for (const worker of children(gateway.pid)) process.kill(worker, 'SIGKILL');
    await gateway.logged('held');
    await gateway.query('/log-level?level=debug', { method: 'PUT' });
    await rm(`${files.path}/hold`);
    await until(async () => {
      const client = await rawClient(gateway.address).catch(() => undefined);
      await client?.[Symbol.asyncDispose]();
      return gateway.lines.filter(({ msg }) => msg === 'accepted here').length > 0;
    });
  });

  it('that hang while they start are killed, and the start fails with the reason', { timeout: 60_000 }, async () => {
    await using files = await workersFolder('node', [], { plugins: ['./stuck.mjs'] });
    await files.write('stuck.mjs', STUCK_IN_WORKERS);
    await using gateway = spawnGateway(`${files.path}/meshgate.yaml`);
    const { msg } = await gateway.line(({ level }) => level === 'fatal');
    expect(msg).toMatch(/^cannot start: worker 1 \(pid \d+\) was killed by SIGKILL/);
    expect(await gateway.ended).toBe(1);
    expect(gateway.stderr).toContain('meshgate: ./stuck.mjs: it blocks the event loop while it is loaded or installed');
  });

  it('that hang while a reload prepares them leave everything as it was', { timeout: 60_000 }, async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await workersFolder('node', [api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const [stuck = 0] = children(gateway.pid);
    process.kill(stuck, 'SIGSTOP');
    try {
      await files.write('meshgate.yaml', {
        ...TEST_CONFIG,
        workers: 2,
        transport: 'node',
        limits: { connections: 50 },
      });
      const { status, stderr } = await meshgate(['reload', '--admin', gateway.admin]);
      expect(stderr).toMatch(/worker \d \(pid \d+\) did not respond within 20 s/);
      expect(status).not.toBe(0);
    } finally {
      process.kill(stuck, 'SIGCONT');
    }
    await using client = await tlsClient(gateway.address, 'api.example.com');
    expect(await client.echo('as before')).toBe('as before');
  });

  it('drain when the primary has exited', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await workersFolder('node', [api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using all = await clientsOnEach(gateway, 2);
    gateway.signal('SIGKILL');
    await gateway.line(({ worker, msg }) => worker === '1' && msg === 'primary process gone, draining');
    await gateway.line(({ worker, msg }) => worker === '2' && msg === 'primary process gone, draining');
    for (const client of all.clients) expect(await client.echo('still')).toBe('still');
    for (const client of all.clients) client.end();
    // Its output is closed when the last process with it has exited.
    await gateway.ended;
  });

  it('are replaced during their drain after an uncaught exception of a plugin', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await workersFolder('node', [api], { plugins: ['./thrower.mjs'] });
    await files.write('thrower.mjs', THROWER);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    await gateway.line(({ service, msg }) => service === 'workers' && String(msg).includes('thrown on purpose'));
    expect(await client.echo('not cut')).toBe('not cut');
    await listens(gateway, '3');
    client.end();
    gateway.signal('SIGTERM');
    await gateway.ended;
  });

  it('report a unix socket whose path is too long to share it', async () => {
    const address = `unix:/tmp/${'long'.repeat(23)}/a`;
    await using files = await workersFolder('node', [], { listeners: [{ name: 'main', address }] });
    const { status, stderr } = await meshgate(['gateway', '--check', '--config', `${files.path}/meshgate.yaml`]);
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: expect.stringContaining('expected a shorter path: workers share a unix socket') as unknown,
    });
  });
});

const THROWER = `
let thrown = false;
export default { name: 'thrower', install: (host) => host.addObserver({ name: 'thrower', observe: ({ type }) => {
  if (type !== 'connection.connected' || thrown) return;
  thrown = true;
  setImmediate(() => { throw new Error('thrown on purpose'); });
} }) };`;

const LISTER = `
export default { name: 'lister', install: (host) => host.addListenerSource({ name: 'lister', async *watch(signal) {
  yield [
    { name: 'any', endpoint: { host: '127.0.0.1', port: 0 } },
    { name: 'path', endpoint: { host: 'unix:/tmp/never-bound.sock', port: 0 } },
    // Nobody else binds in there: the port is the same for both workers, and free.
    { name: 'chosen', endpoint: { host: '127.77.' + (process.pid % 250) + '.' + (1 + process.ppid % 250), port: 8443 } },
  ];
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
} }) };`;

const REMEMBERING = `
const seen = new WeakSet();
export default { name: 'remembering', install: (host) => host.addObserver({ name: 'remembering', observe(event) {
  if (event.type === 'connection.accepted') seen.add(event.connection);
  if (event.type === 'connection.closed')
    console.log('closed ' + event.closed.connection.id + ': ' + (seen.has(event.closed.connection) ? 'known' : 'unknown'));
} }) };`;

/** Blocks in workers as long as a file `hold` exists, reports it, and logs each connection at level debug. */
const HELD_IN_WORKERS = `
import { access, watch } from 'node:fs/promises';
export default { name: 'held', async install(host) {
  if (host.process !== 'worker') return;
  host.addObserver({ observe: ({ type }) => { if (type === 'connection.accepted') host.log.debug('accepted here'); } });
  const isHeld = () => access(host.baseDir + '/hold').then(() => true, () => false);
  if (!(await isHeld())) return;
  process.stdout.write(JSON.stringify({ msg: 'held' }) + String.fromCharCode(10));
  for await (const _change of watch(host.baseDir)) if (!(await isHeld())) return;
} };`;

const STUCK_IN_WORKERS = `
import cluster from 'node:cluster';
export default { name: 'stuck', install() { if (cluster.isWorker) for (;;); } };`;

describe('the limits of workers', () => {
  const machine = { descriptors: 20_128, memoryBytes: 64 * 2 ** 30, processors: 8 };
  const limitsOf = (text: string) => parseConfig(`listeners: []\n${text}`, 'meshgate.yaml');

  it.each([
    { text: 'workers: 1', count: 1, each: 10_000, total: 10_000 },
    { text: 'workers: 4', count: 4, each: 10_000, total: 40_000 },
    { text: 'workers: auto', count: 8, each: 10_000, total: 80_000 },
    { text: 'workers: 4\nlimits: { connections: 1002 }', count: 4, each: 250, total: 1_000 },
    { text: 'workers: 4\nlimits: { connections: 3 }', count: 4, each: 1, total: 4 },
  ])('is $each connections for each of $count: $text', ({ text, count, each, total }) => {
    const shares = sharesOf(limitsOf(text), machine);
    expect([shares.count, shares.each.connections, shares.total.connections]).toEqual([count, each, total]);
  });
});

describe('the limits of one client with several workers', () => {
  it.each([
    ['{ connections: 100, rate: 50/s }', { connections: 25, rate: { count: 12.5, perMs: 1_000 } }],
    ['{ connections: 3, rate: 1/m }', { connections: 1, rate: { count: 0.25, perMs: 60_000 } }],
  ])('is a fourth of %s in each of four', (perClient, each) => {
    const config = parseConfig(`listeners: []\nworkers: 4\nlimits: { perClient: ${perClient} }`, 'meshgate.yaml');
    const machine = { descriptors: 20_128, memoryBytes: 64 * 2 ** 30, processors: 8 };
    expect(sharesOf(config, machine).each.perClient).toMatchObject(each);
  });
});

describe('docs/operate/workers.md', () => {
  const page = readFileSync(fileURLToPath(new URL('../../../docs/operate/workers.md', import.meta.url)), 'utf8');
  const block = (opening: string): string => page.split(`\`\`\`${opening}\n`)[1]?.split('```')[0] ?? '';

  it('shows a running gateway, the format of connections, and the loss of a worker as it is logged', async () => {
    await using files = await gatewayFolder([]);
    await files.write('meshgate.yaml', `${block('yaml config').replace('8443', '0')}admin: { port: 0 }\n`);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using silent = await rawClient(gateway.address);
    await silent.send(Uint8Array.of(0x16));
    const shown = JSON.parse(block('json GET /connections')) as ConnectionsResponse;
    await until(async () => (await busyWorkers(gateway)).size > 0);
    const { connections } = (await gateway.query('/connections')).json as ConnectionsResponse;
    expect(Object.keys(connections[0] ?? {})).toEqual(Object.keys(shown.connections[0] ?? {}));
    expect(connections[0]?.id).toMatch(/^[12]-\w+$/);
    process.kill(children(gateway.pid)[0] ?? 0, 'SIGKILL');
    const output = await gateway.line(isLoss);
    const logged = JSON.parse(block('jsonl lost')) as LogLine;
    expect(Object.keys(output)).toEqual(Object.keys(logged));
    const anonymous = (line: LogLine): string => String(line['msg']).replace(/\d+/g, 'N');
    expect(anonymous(output)).toBe(anonymous(logged));
    for (const [, metric = ''] of page.matchAll(/^\| `(meshgate_\w+)`/gm))
      expect(await scraped(gateway, metric)).not.toBeNaN();
  });
});
