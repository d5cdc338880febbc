// The same intent in HAProxy's configuration and in ours, the same clients from many addresses, the same outcome:
// cases.ts is the table.
import { execFileSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import { needs } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folder, TEST_CONFIG } from '../daemon.ts';
import type { Folder } from '../daemon.ts';
import { eventually } from '../federation/eventually.ts';
import { Namespace, namespacesAvailable } from '../federation/namespace.ts';
import { PORTS, SETUPS } from './cases.ts';
import type { Case, Setup } from './cases.ts';
import { Peers } from './peers.ts';
import type { BackendConduct } from './peers.ts';

const MAIN = fileURLToPath(new URL('../../dist/main.js', import.meta.url));

function isThere(command: string): true | string {
  try {
    execFileSync(command, ['-v'], { stdio: 'pipe' });
    return true;
  } catch (reason) {
    return `${command} -v fails: ${reason instanceof Error ? reason.message.split('\n').join(' ') : String(reason)}`;
  }
}

/** The same everywhere: long enough for a busy machine, short enough to wait for. */
const IDLE = '1s';
const OUR_PORTS = 30_000;
const THEIR_PORTS = 20_000;
const NGINX_PORTS = 40_000;

const ourPort = (setup: Setup): number => OUR_PORTS + SETUPS.indexOf(setup);
const theirPort = (setup: Setup): number => THEIR_PORTS + SETUPS.indexOf(setup);
const hostOf = ({ host = '127.0.0.1' }: Setup): string => host;
const clientsGoTo = ({ clientsConnectTo, ...setup }: Setup): string => clientsConnectTo ?? hostOf(setup);
const idOf = (setup: Setup): string => `s${SETUPS.indexOf(setup)}`;

/** One listener for each setup, with routes for that listener only. */
function ourConfig(): Readonly<Record<string, object>> {
  const listeners = SETUPS.map((setup) => ({
    name: idOf(setup),
    address: hostOf(setup),
    port: ourPort(setup),
    ...setup.listener,
  }));
  const routes = SETUPS.flatMap((setup) =>
    setup.routes.map((route) => ({
      ...route,
      name: `${idOf(setup)}-${String(route['name'])}`,
      listeners: [idOf(setup)],
    })),
  );
  const limits = { helloTimeout: '500ms', idleTimeout: IDLE, connectTimeout: '2s' };
  return { 'meshgate.yaml': { ...TEST_CONFIG, listeners, limits, prefer: { zone: 'a' } }, 'routes.yaml': { routes } };
}

/** @param path folder of the files that it refers to */
function theirConfig(path: string): string {
  const sections = SETUPS.flatMap((setup) => {
    const pool = (name: string): string => `${idOf(setup)}_${name}`;
    const named = (line: string): string =>
      line
        .replace(
          /(use_backend|default_backend) (\w+)/,
          (_, keyword: string, name: string) => `${keyword} ${pool(name)}`,
        )
        .replaceAll(/POOL_(\w+)/g, (_, name: string) => pool(name));
    return [
      `frontend ${idOf(setup)}`,
      `  bind ${hostOf(setup)}:${theirPort(setup)} ${setup.bind ?? ''}`,
      ...setup.frontend.map((line) => `  ${named(line)}`),
      ...Object.entries(setup.pools).flatMap(([name, lines]) => [
        `backend ${pool(name)}`,
        ...lines.map((line) => `  ${line}`),
      ]),
    ];
  });
  const defaults = ['  mode tcp', '  timeout connect 2s', `  timeout client ${IDLE}`, `  timeout server ${IDLE}`];
  const retries = ['  retries 3', '  option redispatch 1', '  timeout check 1s'];
  return ['global', '  nbthread 1', 'defaults', ...defaults, ...retries, ...sections, '']
    .join('\n')
    .replaceAll('FOLDER', path);
}

const nginxPort = (setup: Setup): number => NGINX_PORTS + SETUPS.indexOf(setup);

/** In `folder`, which it may write to. */
function nginxConfig(path: string): string {
  const sections = SETUPS.flatMap((setup) => {
    if (setup.nginx === undefined) return [];
    const { map, upstreams, listen = '', server = [] } = setup.nginx;
    const id = idOf(setup);
    return [
      `map $ssl_preread_server_name $${id} {`,
      '  hostnames;',
      `  default ${id}_none;`,
      ...Object.entries(map).map(([pattern, upstream]) => `  ${pattern} ${id}_${upstream};`),
      '}',
      ...Object.entries(upstreams).flatMap(([name, lines]) => [
        `upstream ${id}_${name} {`,
        ...lines.map((line) => `  ${line};`),
        '}',
      ]),
      'server {',
      `  listen ${formatEndpoint({ host: hostOf(setup), port: nginxPort(setup) })} ${listen};`,
      ...server.map((line) => `  ${line};`),
      `  proxy_pass $${id};`,
      '}',
    ];
  });
  const times = [
    'preread_timeout 500ms;',
    `proxy_timeout ${IDLE};`,
    'proxy_connect_timeout 2s;',
    'proxy_half_close on;',
    'ssl_preread on;',
  ];
  const modules = existsSync(NGINX_STREAM) ? [`load_module ${NGINX_STREAM};`] : [];
  const own = [
    'daemon off;',
    `pid ${path}/nginx.pid;`,
    `error_log ${path}/nginx.log;`,
    'worker_processes 1;',
    'events {}',
  ];
  return [...modules, ...own, 'stream {', ...times, ...sections, '}', ''].join('\n');
}

/** A separate package in Debian. */
const NGINX_STREAM = '/usr/lib/nginx/modules/ngx_stream_module.so';

const CONDUCTS: Readonly<Record<string, BackendConduct>> = {
  lastByte: 'answer-last',
  closer: 'close',
  resetter: 'reset',
  silent: 'silent',
  tls: 'tls',
  hangup: 'hangup',
  leaver: 'leave',
  leaver2: 'leave',
  leaver3: 'leave',
  leaver4: 'leave',
};
const ABSENT: readonly string[] = ['dead', 'gone', 'flap'];

interface World {
  readonly namespace: Namespace;
  readonly files: Folder;
  readonly peers: Peers;
  readonly proxies: readonly ChildProcess[];
}

async function newWorld(): Promise<World> {
  const namespace = await Namespace.create('differential');
  for (const address of ['2001:db8::7/128', '2001:db8::66/128', '2001:db8:1::7/128'])
    await namespace.ip('-6', 'addr', 'add', address, 'dev', 'lo');
  const files = await folder({ ...ourConfig(), 'denied.txt': '127.0.42.1\n127.0.42.64/26\n' });
  await files.write('haproxy.cfg', theirConfig(files.path));
  const peers = new Peers(namespace);
  for (const [name, port] of Object.entries(PORTS))
    if (!ABSENT.includes(name)) await peers.serve(name, port, CONDUCTS[name] ?? 'answer');
  const theirs = namespace.spawn(['haproxy', '-db', '-f', `${files.path}/haproxy.cfg`], ['ignore', 'ignore', 'pipe']);
  const command = [process.execPath, MAIN, 'gateway', '--config', `${files.path}/meshgate.yaml`];
  const ours = namespace.spawn(command, ['ignore', 'pipe', 'inherit']);
  const proxies = [ours, theirs];
  if (hasNginx) proxies.push(await nginx(namespace, files));
  await untilReady(ours);
  await untilListening(peers, THEIR_PORTS, theirs);
  if (hasNginx) await untilListening(peers, NGINX_PORTS, proxies.at(-1));
  return { namespace, files, peers, proxies };
}

async function nginx(namespace: Namespace, files: Folder): Promise<ChildProcess> {
  // Its workers run as another user.
  await chmod(files.path, 0o755);
  const config = await files.write('nginx.conf', nginxConfig(files.path));
  return namespace.spawn(['nginx', '-p', files.path, '-c', config], ['ignore', 'ignore', 'pipe']);
}

async function untilReady({ stdout }: ChildProcess): Promise<void> {
  if (stdout === null) throw new Error('expected the standard output of the gateway, found none');
  const lines: string[] = [];
  for await (const line of createInterface({ input: stdout })) {
    lines.push(line);
    if (line.includes('"msg":"ready"')) return void stdout.resume();
  }
  throw new Error(`the gateway did not become ready:\n${lines.join('\n')}`);
}

async function untilListening(peers: Peers, port: number, proxy: ChildProcess | undefined): Promise<void> {
  let logged = '';
  proxy?.stderr?.on('data', (chunk: Buffer) => (logged += chunk.toString()));
  const to = { host: '127.0.0.1', port };
  const queried = async (): Promise<true | undefined> => {
    if ((await peers.call({ to, pieces: [], finish: true })) !== 'refused') return true;
    throw new Error(logged);
  };
  await eventually(`somebody to listen on ${port}`, queried, 10_000);
}

async function ended(world: World | undefined): Promise<void> {
  if (world === undefined) return;
  for (const proxy of world.proxies) {
    if (proxy.exitCode !== null || proxy.signalCode !== null) continue;
    const gone = once(proxy, 'close');
    proxy.kill('SIGKILL');
    await gone;
  }
  await world.peers[Symbol.asyncDispose]();
  await world.namespace[Symbol.asyncDispose]();
  await world.files[Symbol.asyncDispose]();
}

async function outcomes(peers: Peers, to: Endpoint, { clients, judge = (all) => all }: Case): Promise<unknown> {
  const all: string[] = [];
  for (const client of clients) all.push(await peers.call({ to, ...client }));
  return judge(all);
}

const nginxIsThere = isThere('nginx');
const hasNginx = nginxIsThere === true;
const available = namespacesAvailable();
const declare = available === true ? needs('haproxy', isThere('haproxy')) : needs('netns', available);

/** Health checks, and backends that have failed before, need a moment. */
const POLLING = { timeout: 8_000 };

async function agree(row: Case, ours: () => Promise<unknown>, theirs: () => Promise<unknown>): Promise<void> {
  const { expected, haproxy } = row;
  const does = haproxy === undefined ? expected : haproxy.does;
  if (row.eventually === true) {
    await expect.poll(ours, POLLING).toEqual(expected);
    await expect.poll(theirs, POLLING).toEqual(does);
    return;
  }
  const logged = { meshgate: await ours(), haproxy: await theirs() };
  expect(logged).toEqual({ meshgate: expected, haproxy: does ?? logged.haproxy });
}

/** The backends do not change, and the outcome is always the same. */
function isOfNginx({ starts, stops, nginx: theirs }: Case): boolean {
  return starts === undefined && stops === undefined && (theirs === undefined || 'does' in theirs);
}

declare('Meshgate and HAProxy', () => {
  let world: World | undefined;
  beforeAll(async () => void (world = await newWorld()), 30_000);
  afterAll(() => ended(world));
  const peers = (): Peers => {
    if (world === undefined) throw new Error('expected the proxies to run, found none');
    return world.peers;
  };

  describe.each(SETUPS)('$name', (setup) => {
    it.each(setup.cases)('$name', async (row) => {
      if (row.starts !== undefined) await peers().serve(row.starts, PORTS[row.starts as keyof typeof PORTS], 'answer');
      if (row.stops !== undefined) await peers().stop(row.stops);
      const ours = () => outcomes(peers(), { host: clientsGoTo(setup), port: ourPort(setup) }, row);
      const theirs = () => outcomes(peers(), { host: clientsGoTo(setup), port: theirPort(setup) }, row);
      await agree(row, ours, theirs);
    });
  });

  needs('nginx', nginxIsThere)('and nginx', () => {
    describe.each(SETUPS.filter(({ nginx: theirs }) => theirs !== undefined))('$name', (setup) => {
      it.each(setup.cases.filter(isOfNginx))('$name', async (row) => {
        const expected = row.nginx?.does ?? row.expected;
        await expect
          .poll(() => outcomes(peers(), { host: clientsGoTo(setup), port: nginxPort(setup) }, row), POLLING)
          .toEqual(expected);
      });
    });
  });

  it('are run with at least sixty cases', () => {
    expect(SETUPS.flatMap(({ cases }) => cases).length).toBeGreaterThanOrEqual(60);
  });
});
