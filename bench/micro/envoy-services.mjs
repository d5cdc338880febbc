// The memory of Envoy as a mesh gateway of so many services, to compare with consul-services.mjs: the clusters that Consul would send, in a file.
//
//   MESHGATE_BENCH_ENVOY=/opt/envoy node bench/micro/envoy-services.mjs [5000]     prints {"services":…,"mib":…}
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort, listening, start, which } from '../processes.mjs';
import { fill } from '../template.mjs';
import { memoryBytes } from '../usage.mjs';

const TEMPLATE = new URL('../peers/envoy-mesh-gateway.yaml.template', import.meta.url);
const SETTLE_MS = 2_000;

const envoy = process.env.MESHGATE_BENCH_ENVOY ?? which('envoy');
if (envoy === undefined) throw new Error('expected Envoy in MESHGATE_BENCH_ENVOY or PATH, found none');
const services = Number(process.argv[2] ?? 5_000);
const folder = mkdtempSync(join(tmpdir(), 'meshgate-envoy-'));
try {
  const port = await freePort();
  const config = join(folder, 'envoy.yaml');
  writeFileSync(config, fill(readFileSync(TEMPLATE, 'utf8'), { port }, Array.from({ length: services }, clusterOf)));
  const args = ['-c', config, '--concurrency', '1', '--disable-hot-restart', '--log-level', 'error'];
  const started = start(envoy, args);
  await listening(started, port);
  await sleep(SETTLE_MS);
  console.log(JSON.stringify({ services, mib: memoryBytes(started.pid) / 2 ** 20 }));
  await started.stop();
} finally {
  rmSync(folder, { recursive: true });
}

/** A service with one sidecar, by the name that other datacenters send. */
function clusterOf(_, index) {
  const address = `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;
  return { serverName: `service-${index}.default.dc1.internal.11111111-2222-3333-4444-555555555555.consul`, address };
}
