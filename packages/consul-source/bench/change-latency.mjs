// How long a change in Consul takes to become a route, with a real agent.
//
//   node packages/consul-source/bench/change-latency.mjs [SERVICES] [CHANGES]
//
// Every service has two instances, each with a sidecar and a check, spread over 200 nodes. A change is one write to the catalog: a check
// that turns, a weight, a new instance, one less, in turn. Printed: milliseconds from the write being sent to the snapshot
// that shows it, and what agent and source needed for it.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Pool } from 'undici';
import { obtainConsul } from '../../../scripts/consul.mjs';
import { consulSource } from '../dist/index.js';

const services = Number(process.argv[2] ?? 100);
const changes = Number(process.argv[3] ?? 100);
const NODES = 200;
const CLOCK_TICKS = 100;

const folder = mkdtempSync(join(tmpdir(), 'meshgate-bench-'));
const agent = await startAgent();
const catalog = new Pool(agent.address, { connections: 32 });
try {
  await fill();
  await measure();
} finally {
  agent.process.kill('SIGKILL');
  await catalog.destroy();
  rmSync(folder, { recursive: true, force: true });
}

async function startAgent() {
  const ports = await Promise.all([freePort(), freePort(), freePort()]);
  const [http, server, serf_lan] = ports;
  const config = {
    server: true,
    bootstrap_expect: 1,
    data_dir: join(folder, 'data'),
    bind_addr: '127.0.0.1',
    connect: { enabled: true },
    ports: { http, server, serf_lan, dns: -1, grpc: -1, serf_wan: -1 },
    performance: { raft_multiplier: 1 },
    log_level: 'ERROR',
  };
  writeFileSync(join(folder, 'agent.json'), JSON.stringify(config));
  const child = spawn(await obtainConsul(), ['agent', '-config-file', join(folder, 'agent.json')], { stdio: 'ignore' });
  const address = `http://127.0.0.1:${http}`;
  for (;;) {
    const roots = await fetch(`${address}/v1/agent/connect/ca/roots`).catch(() => undefined);
    if (roots?.ok) return { process: child, address };
    await pause(100);
  }
}

async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  return port;
}

async function put(path, body) {
  const response = await catalog.request({ method: 'PUT', path: `/v1/${path}`, body: JSON.stringify(body) });
  if (response.statusCode !== 200) throw new Error(`${path}: ${response.statusCode} ${await response.body.text()}`);
  await response.body.dump();
}

function registration(index, copy, { status = 'passing', weight = 1 } = {}) {
  const node = (index * 7 + copy) % NODES;
  const location = { Node: `node-${node}`, Address: `10.1.${node >> 8}.${node & 255}`, SkipNodeUpdate: false };
  const id = `s${index}-${copy}`;
  const app = { ...location, Service: { ID: id, Service: `s${index}`, Port: 8000 } };
  const proxy = {
    ...location,
    Service: {
      ID: `${id}-proxy`,
      Service: `s${index}-sidecar-proxy`,
      Kind: 'connect-proxy',
      Address: `10.${index >> 8}.${index & 255}.${copy + 1}`,
      Port: 20000,
      Weights: { Passing: weight, Warning: 1 },
      Proxy: { DestinationServiceName: `s${index}`, DestinationServiceID: id },
    },
    Check: { CheckID: `${id}-up`, Name: 'up', ServiceID: `${id}-proxy`, Status: status },
  };
  return [app, proxy];
}

async function fill() {
  const bodies = Array.from({ length: services * 2 }, (_, at) => registration(at >> 1, at & 1)).flat();
  const queue = bodies.values();
  const worker = async () => {
    for (const body of queue) await put('catalog/register', body);
  };
  const start = performance.now();
  await Promise.all(Array.from({ length: 32 }, worker));
  console.log(
    `${services} services, ${services * 2} instances registered in ${Math.round(performance.now() - start)} ms`,
  );
}

async function measure() {
  const stop = new AbortController();
  let latest;
  const waiting = new Set();
  const startedAt = performance.now();
  const following = (async () => {
    for await (const snapshot of consulSource({ address: agent.address, proxyId: 'none' }).watch(stop.signal)) {
      if (latest === undefined) console.log(`first routes after ${Math.round(performance.now() - startedAt)} ms`);
      latest = new Map(snapshot.routes.map((route) => [route.name, route]));
      for (const wait of waiting) wait();
    }
  })();
  const until = (holds) =>
    new Promise((resolve) => {
      const check = () => {
        if (latest === undefined || !holds()) return;
        waiting.delete(check);
        resolve();
      };
      waiting.add(check);
      check();
    });
  await until(() => latest.size >= services);
  const [agentCpu, ownCpu, measuredAt] = [cpuMs(agent.process.pid), process.cpuUsage(), performance.now()];
  const took = [];
  for (let turn = 0; turn < changes; turn += 1) {
    await pause(Math.random() * 200);
    const index = Math.floor(Math.random() * services);
    const backends = () => latest.get(`service:s${index}`)?.backends ?? [];
    const [what, write, holds] = [
      ['check', () => registration(index, 0, { status: 'critical' })[1], () => backends().some((b) => !b.healthy)],
      [
        'weight',
        () => registration(index, 1, { weight: 2 + (turn % 90) })[1],
        () => backends().some((b) => b.weight === 2 + (turn % 90)),
      ],
      [
        'instance',
        () => registration(index, 2 + turn)[1],
        () => backends().some((b) => b.address.host.endsWith(`.${3 + turn}`)),
      ],
    ][turn % 3];
    const start = performance.now();
    await put('catalog/register', write());
    await until(holds);
    took.push({ what, ms: performance.now() - start });
    if (what === 'check') await put('catalog/register', registration(index, 0)[1]);
  }
  const forMs = performance.now() - measuredAt;
  const own = process.cpuUsage(ownCpu);
  for (const what of ['check', 'weight', 'instance', undefined]) report(took, what);
  const share = (ms) => `${((100 * ms) / forMs).toFixed(1)} %`;
  console.log(
    `CPU of one core: source ${share((own.user + own.system) / 1000)}, agent ${share(cpuMs(agent.process.pid) - agentCpu)}`,
  );
  console.log(
    `memory: source ${Math.round(process.memoryUsage.rss() / 2 ** 20)} MiB, agent ${rssMiB(agent.process.pid)} MiB`,
  );
  stop.abort();
  await following;
}

function report(took, what) {
  const ms = took
    .filter((one) => what === undefined || one.what === what)
    .map((one) => one.ms)
    .sort((a, b) => a - b);
  const at = (share) => Math.round(ms[Math.min(ms.length - 1, Math.floor(ms.length * share))] ?? 0);
  console.log(`${(what ?? 'all').padEnd(9)} n=${ms.length} median ${at(0.5)} ms, p99 ${at(0.99)} ms, max ${at(1)} ms`);
}

function cpuMs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / CLOCK_TICKS;
}

function rssMiB(pid) {
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024);
}
