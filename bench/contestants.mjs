// Everything that is compared: how to find it, and how to start it with one thread and its best configuration.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { goalLoads, LOADS } from './figures.mjs';
import { BACKENDS, serverName } from './load.mjs';
import { outputOf, firstJson, freePort, listening, start, until, which } from './processes.mjs';
import { fill } from './template.mjs';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const ROOT = join(HERE, '..');

// Loads where the methods of carrying bulk differ.
const BULK = LOADS.map(({ id }) => id).filter((id) => /^(down|up|mixed)/.test(id));
// Loads for which two workers are compared with one: connections, messages and bytes.
const SHARED_OUT = ['rate', 'pingpong-1024', 'down-8'];

/**
 * @typedef {object} Place where a contestant runs
 * @property {string} folder of its own
 * @property {Readonly<Record<string, number>>} sinks ports by name
 * @property {boolean} [collectable] whether a proxy on Node collects its garbage on request
 *
 * @typedef {object} Proxy a running contestant
 * @property {number} pid
 * @property {(backend: string) => number} portFor port for connections to a sink
 * @property {string} [routeFile] the route file that it follows
 * @property {() => Promise<void>} [collect] collects garbage; absent if it has no garbage collector
 * @property {() => Promise<void>} stop
 *
 * @typedef {object} Contestant
 * @property {string} id
 * @property {string} label
 * @property {'peer' | 'tuned' | 'ours' | 'reference'} family `tuned`: a peer with an unusual configuration
 * @property {string} [transport] of ours
 * @property {number} [workers] of ours
 * @property {readonly string[]} [loads] that it takes part in; absent: all
 * @property {() => { readonly version: string } | { readonly missing: string }} find
 * @property {(place: Place) => Promise<Proxy>} start
 */

/**
 * @param {object} ours which of ours to compare
 * @param {readonly string[]} ours.transports
 * @param {readonly number[]} ours.workers
 * @param {string} [ours.root] checkout of ours and of the peers' configurations; by default this one
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
 * @returns {readonly Contestant[]} those that the goals name, each with its loads in the goals
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

/**
 * @returns {string | undefined} the line that loads the stream module, empty if it is built in, `undefined` if there is
 * none
 */
function nginxModule() {
  const about = outputOf(programNamed('nginx') ?? 'nginx', ['-V']);
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

/** Common settings of all proxies on Node. */
function running(started, { collectable = false }) {
  return { pid: started.pid, stop: started.stop, ...(collectable && { collect: () => collected(started) }) };
}

async function collected(started) {
  const collections = () => started.output().split('garbage collected').length;
  const before = collections();
  started.child.kill('SIGURG');
  await until(started, () => (collections() > before ? true : undefined));
}

/** The access log is off, as in the peers' configurations; metrics are on, as always. */
function gatewayConfig({ port, routeFile, transport, workers }) {
  return {
    listeners: [{ name: 'bench', address: '127.0.0.1', port }],
    sources: [{ use: 'file', path: routeFile }],
    admin: { address: '127.0.0.1', port: 0 },
    log: { level: 'error', access: false, format: 'json' },
    drain: { grace: '0s' },
    transport,
    // All of the load comes from one address, which by default may have half of the connections.
    limits: { connections: 18_000 },
    ...(workers === 1 ? {} : { workers }),
  };
}

/** @returns {string} path of a route file with a route to every sink */
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
  return { version: version.exec(outputOf(path, args))?.[1] ?? 'unknown version' };
}

/**
 * Path of a peer: from the environment, if it is not installed (`MESHGATE_BENCH_ENVOY=/somewhere/envoy`), or from PATH.
 */
function programNamed(name) {
  return process.env[`MESHGATE_BENCH_${name.toUpperCase()}`] ?? which(name);
}

function built(path) {
  return existsSync(path)
    ? { version: process.version }
    : { missing: `${path} is not built: run npm test or npm start once` };
}
