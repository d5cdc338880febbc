// Memory of a gateway with this many services from Consul: a stand-in agent simulates Consul, each service with one
// sidecar.
//
//   node bench/micro/consul-services.mjs [5000]     prints {"services":…,"mibAtStart":…,"mib":…,"mibCollected":…}
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { standInAgent } from '../../packages/testkit/dist/index.js';
import { memoryBytes } from '../usage.mjs';

const MAIN = fileURLToPath(new URL('../../apps/gateway/dist/main.js', import.meta.url));
const COLLECT = new URL('../proxies/collect.mjs', import.meta.url).href;
// For garbage collector and kernel: then memory usage is stable.
const SETTLE_MS = 2_000;
const LOOK_EVERY_MS = 250;

const count = Number(process.argv[2] ?? 5_000);
const agent = await standInAgent({ mesh: { services: meshGateway() } });
const folder = mkdtempSync(join(tmpdir(), 'meshgate-services-'));
const gateway = await started();
try {
  await sleep(SETTLE_MS);
  const mibAtStart = mib();
  const beganMs = performance.now();
  agent.change({
    services: [...meshGateway(), ...Array.from({ length: count }, (_, index) => sidecarOf(index)).flat()],
  });
  await routesAre(count);
  const seconds = (performance.now() - beganMs) / 1000;
  await sleep(SETTLE_MS);
  const total = mib();
  gateway.child.kill('SIGURG');
  await sleep(SETTLE_MS);
  console.log(JSON.stringify({ services: count, seconds, mibAtStart, mib: total, mibCollected: mib() }));
} finally {
  gateway.child.kill('SIGKILL');
  await agent[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true });
}

/** The gateway. */
function meshGateway() {
  return [{ name: 'mesh-gateway', kind: 'mesh-gateway', address: '127.0.0.1', port: 8443 }];
}

/** A service and its Connect proxy, as `consul connect` registers them. */
function sidecarOf(index) {
  const address = `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
  const name = `service-${index}`;
  return [
    { name, address, port: 8080 },
    { name: `${name}-sidecar-proxy`, kind: 'connect-proxy', destination: name, address, port: 21_000 },
  ];
}

async function started() {
  const config = join(folder, 'gateway.json');
  writeFileSync(
    config,
    JSON.stringify({
      listeners: [{ name: 'bench', address: '127.0.0.1', port: 0 }],
      sources: [{ use: 'consul', address: agent.address }],
      admin: { address: '127.0.0.1', port: 0 },
      log: { level: 'info', access: false, format: 'json' },
    }),
  );
  const child = spawn(process.execPath, ['--import', COLLECT, MAIN, 'gateway', '--config', config], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  for await (const line of createInterface({ input: child.stdout })) {
    const { admin } = JSON.parse(line);
    if (admin === undefined) continue;
    child.stdout.resume();
    return { child, admin };
  }
  throw new Error('expected a line that names the admin address, found none');
}

async function routesAre(least) {
  for (;;) {
    const result = await fetch(`${gateway.admin}/routes`).then((response) => response.json());
    if (result.routes.length >= least) return;
    await sleep(LOOK_EVERY_MS);
  }
}

function mib() {
  return memoryBytes(gateway.child.pid) / 2 ** 20;
}
