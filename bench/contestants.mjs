// Everything that is compared: how to find it, and how to start it with one thread and its best configuration.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { goalLoads, LOADS } from './figures.mjs';
import { BACKENDS, serverName } from './load.mjs';
import { ask, firstJson, freePort, listening, start, until, which } from './processes.mjs';
import { fill } from './template.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = join(HERE, '..');

// What differs between ways to carry bulk.
const BULK = LOADS.map(({ id }) => id).filter((id) => /^(down|up|mixed)/.test(id));
// Of two workers it is asked how much more they do than one: in connections, messages and bytes.
const SHARED_OUT = ['rate', 'pingpong-1024', 'down-8'];

/**
 * @typedef {object} Place where a contestant works
 * @property {string} folder of its own
 * @property {Readonly<Record<string, number>>} sinks their ports by name
 * @property {boolean} [collectable] whether one on Node is to collect its garbage when asked
 *
 * @typedef {object} Proxy a contestant that runs
 * @property {number} pid
 * @property {(backend: string) => number} portFor where connections for a sink are to be made
 * @property {string} [routeFile] the routes that it follows
 * @property {() => Promise<void>} [collect] rid of the garbage that it has not collected yet; where there is none, absent
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} Contestant
 * @property {string} id
 * @property {string} label
 * @property {'peer' | 'tuned' | 'ours' | 'reference'} family `tuned`: a peer in a configuration that is not its usual one
 * @property {string} [transport] of ours
 * @property {number} [workers] of ours
 * @property {readonly string[]} [loads] those in which it has something to say; all when absent
 * @property {() => { readonly version: string } | { readonly missing: string }} find
 * @property {(place: Place) => Promise<Proxy>} start
 */

/**
 * @param {object} ours what of ours is compared
 * @param {readonly string[]} ours.transports
 * @param {readonly number[]} ours.workers
 * @param {string} [ours.root] the checkout that it is taken from, with the configurations of peers; this one when absent
 * @returns {readonly Contestant[]}
 */
export function contestants({ transports, workers, root = ROOT }) {
  return [
    haproxy(root, 'haproxy', 'HAProxy', 'peer'),
    haproxy(root, 'haproxy-splice', 'HAProxy, splice', 'tuned'),
    nginx(root, 'nginx', 'nginx stream', 'peer', '16k'),
    { ...nginx(root, 'nginx-buffers', 'nginx, 64 KiB buffers', 'tuned', '64k'), loads: BULK },
    sniproxy(root),
    envoy(root),
    bare(),
    ...transports.map((transport) => core(root, transport)),
    ...transports.flatMap((transport) => workers.map((count) => gateway(root, transport, count))),
  ];
}

/**
 * @param {readonly Contestant[]} known
 * @returns {readonly Contestant[]} those that the goals name, each with the loads for which they name it
 */
export function forGoals(known) {
  return known
    .map((contestant) => ({ ...contestant, loads: goalLoads(contestant) }))
    .filter(({ loads }) => loads.length > 0);
}

function haproxy(root, id, label, family) {
  return {
    id,
    label,
    family,
    find: () => program('haproxy', ['-v'], /version (\S+)/),
    start: (location) => peer(location, template(root, `${id}.cfg`), 'haproxy', (file) => ['-db', '-q', '-f', file]),
  };
}

function nginx(root, id, label, family, buffer) {
  return {
    id,
    label,
    family,
    find() {
      const found = program('nginx', ['-V'], /nginx\/(\S+)/);
      if ('missing' in found || nginxModule() !== undefined) return found;
      return { missing: 'nginx is built without its stream module (Debian: libnginx-mod-stream)' };
    },
    start: (location) =>
      peer(location, template(root, 'nginx.conf'), 'nginx', (file) => ['-c', file, '-e', 'stderr'], {
        loadModule: nginxModule() ?? '',
        buffer,
      }),
  };
}

/** @returns {string | undefined} the line that loads the stream module, empty when it is built in, `undefined` when there is none */
function nginxModule() {
  const about = ask(programNamed('nginx') ?? 'nginx', ['-V']);
  if (!about.includes('stream_ssl_preread_module')) return undefined;
  if (!about.includes('--with-stream=dynamic')) return '';
  const [, folder = ''] = /--modules-path=(\S+)/.exec(about) ?? [];
  const file = join(folder, 'ngx_stream_module.so');
  return existsSync(file) ? `load_module ${file};` : undefined;
}

function sniproxy(root) {
  return {
    id: 'sniproxy',
    label: 'sniproxy',
    family: 'peer',
    find: () => program('sniproxy', ['-V'], /sniproxy (\S+)/),
    start: (location) => peer(location, template(root, 'sniproxy.conf'), 'sniproxy', (file) => ['-f', '-c', file]),
  };
}

function envoy(root) {
  const quiet = ['--concurrency', '1', '--disable-hot-restart', '--log-level', 'error'];
  return {
    id: 'envoy',
    label: 'Envoy',
    family: 'peer',
    find: () => program('envoy', ['--version'], /\/(\d+\.\d+\.\d+)\//),
    start: (location) =>
      peer(location, template(root, 'envoy.yaml.template'), 'envoy', (file) => ['-c', file, ...quiet]),
  };
}

function bare() {
  return {
    id: 'bare',
    label: 'bare node pipe',
    family: 'reference',
    find: () => ({ version: process.version }),
    async start(location) {
      const pairs = Object.entries(location.sinks).map(([name, port]) => `${name}=${port}`);
      const started = startNode(location, [join(HERE, 'proxies/bare.mjs'), ...pairs]);
      const { ports } = await firstJson(started);
      return { ...running(started, location), portFor: (backend) => ports[backend] };
    },
  };
}

function core(root, transport) {
  return {
    id: `core-${transport}`,
    label: `Meshgate core, ${transport}`,
    family: 'ours',
    transport,
    workers: 1,
    find: () => built(join(root, 'packages/core/dist/index.js')),
    async start(location) {
      const routeFile = writeRoutes(location);
      const args = [join(root, 'bench/proxies/core.mjs'), '--routes', routeFile, '--transport', transport];
      const started = startNode(location, args);
      const { port } = await firstJson(started);
      return { ...running(started, location), portFor: () => port, routeFile };
    },
  };
}

function gateway(root, transport, workers) {
  const main = join(root, 'apps/gateway/dist/main.js');
  const many = workers === 1 ? '' : `, ${workers} workers`;
  return {
    id: workers === 1 ? `gateway-${transport}` : `gateway-${transport}-${workers}w`,
    label: `Meshgate, ${transport}${many}`,
    family: 'ours',
    transport,
    workers,
    ...(workers > 1 && { loads: SHARED_OUT }),
    find: () => built(main),
    async start(location) {
      const port = await freePort();
      const routeFile = writeRoutes(location);
      const config = join(location.folder, 'gateway.json');
      writeFileSync(config, JSON.stringify(gatewayConfig({ port, routeFile, transport, workers })));
      const started = startNode(location, [main, 'gateway', '--config', config]);
      await listening(started, port);
      return { ...running(started, location), portFor: () => port, routeFile };
    },
  };
}

const COLLECT = new URL('proxies/collect.mjs', import.meta.url).href;

function startNode({ collectable = false }, args) {
  return start(process.execPath, [...(collectable ? ['--import', COLLECT] : []), ...args]);
}

/** What every proxy on Node has in common. */
function running(started, { collectable = false }) {
  return { pid: started.pid, stop: started.stop, ...(collectable && { collect: () => collected(started) }) };
}

async function collected(started) {
  const said = () => started.output().split('garbage collected').length;
  const before = said();
  started.child.kill('SIGURG');
  await until(started, () => (said() > before ? true : undefined));
}

/** What peers are not asked to do, a log line for each connection, is switched off; metrics stay on, as they always are. */
function gatewayConfig({ port, routeFile, transport, workers }) {
  return {
    listeners: [{ name: 'bench', address: '127.0.0.1', port }],
    sources: [{ use: 'file', path: routeFile }],
    admin: { address: '127.0.0.1', port: 0 },
    log: { level: 'error', access: false, format: 'json' },
    drain: { grace: '0s' },
    transport,
    // All of the load comes from one address, which may have half of the connections.
    limits: { connections: 18_000 },
    ...(workers === 1 ? {} : { workers }),
  };
}

/** @returns {string} the path of a route file that leads to every sink */
function writeRoutes({ folder, sinks }) {
  const path = join(folder, 'routes.json');
  writeFileSync(path, JSON.stringify({ routes: routesTo(sinks) }));
  return path;
}

/** @param {Readonly<Record<string, number>>} sinks */
export function routesTo(sinks) {
  return BACKENDS.map((name) => ({
    name,
    serverNames: [serverName(name)],
    backends: [{ address: '127.0.0.1', port: sinks[name] }],
  }));
}

function template(root, name) {
  return join(root, 'bench/peers', name);
}

async function peer({ folder, sinks }, from, command, args, values = {}) {
  const port = await freePort();
  const file = join(folder, basename(from, '.template'));
  const backends = BACKENDS.map((name) => ({ serverName: serverName(name), port: sinks[name] }));
  const text = readFileSync(from, 'utf8');
  writeFileSync(file, fill(text, { port, folder, ...values }, backends));
  const started = start(programNamed(command) ?? command, args(file));
  await listening(started, port);
  return { pid: started.pid, portFor: () => port, stop: started.stop };
}

function program(name, args, version) {
  const path = programNamed(name);
  if (path === undefined) return { missing: `${name} is not installed` };
  return { version: version.exec(ask(path, args))?.[1] ?? 'unknown version' };
}

/** Where a peer is: as the environment says, for one that is not installed (`MESHGATE_BENCH_ENVOY=/somewhere/envoy`), or in the PATH. */
function programNamed(name) {
  return process.env[`MESHGATE_BENCH_${name.toUpperCase()}`] ?? which(name);
}

function built(path) {
  return existsSync(path)
    ? { version: process.version }
    : { missing: `${path} is not built: run npm test or npm start once` };
}
