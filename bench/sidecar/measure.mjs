// The cost of a path through the mesh, compared with mutual TLS in the applications: rounds of every load on every
// path, in turn.
import { execFile } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { orderOfRound } from '../statistics.mjs';
import { spentBetween, usage } from '../usage.mjs';
import { WAY_LOADS, WAYS } from './figures.mjs';
import { startMesh } from './mesh.mjs';

const run = promisify(execFile);
const CLIENT = fileURLToPath(new URL('client.mjs', import.meta.url));
// Every client is a new process, which starts cold.
const WARMUP_SECONDS = 0.5;
// As long as the JIT compilers of four processes are busy.
const MESH_WARMUP_SECONDS = 4;
const SETTLE_MS = 100;

/**
 * @param {object} bench
 * @param {string} bench.folder
 * @param {{ readonly rounds: number, readonly seconds: number }} bench.settings
 * @param {(line: string) => void} progress
 * @returns {Promise<Pick<import('../comparison.mjs').Results, 'contestants' | 'samples'>>}
 */
export async function measureWays({ folder, settings }, progress) {
  const mesh = await startMesh(mkdtempSync(join(folder, 'mesh-')));
  const samples = Object.fromEntries(
    WAY_LOADS.map(({ id }) => [id, Object.fromEntries(WAYS.map((way) => [way.id, []]))]),
  );
  try {
    for (const way of mesh.ways) await warm(mesh, way);
    for (let round = 0; round < settings.rounds; round++) {
      for (const load of WAY_LOADS) {
        progress(`round ${round + 1} of ${settings.rounds}, ${load.id}`);
        for (const way of orderOfRound(mesh.ways, round)) {
          await sleep(SETTLE_MS);
          samples[load.id][way.id][round] = await sampleWay(mesh, way, load, settings.seconds);
        }
      }
    }
  } finally {
    await mesh.stop();
  }
  return { contestants: WAYS, samples };
}

async function warm(mesh, way) {
  const rate = WAY_LOADS.find(({ mode }) => mode === 'rate');
  await sampleWay(mesh, way, rate, MESH_WARMUP_SECONDS);
}

/** @returns {Promise<import('../sampling.mjs').Sample>} rejects when the connections did not take the measured path */
async function sampleWay(mesh, way, { mode, connections, messageBytes }, seconds) {
  const carriedBefore = await mesh.carried();
  const before = usage(mesh.pids);
  const load = { ...way, mode, connections, messageBytes, seconds: seconds + WARMUP_SECONDS, warmup: WARMUP_SECONDS };
  const { stdout } = await run(process.execPath, [CLIENT, JSON.stringify(load)]);
  const spent = spentBetween(before, usage(mesh.pids));
  const carried = (await mesh.carried()).map((count, gateway) => count - carriedBefore[gateway]);
  const throughGateways = way.id === 'gateways';
  if (carried.some((count) => throughGateways !== count > 0)) {
    throw new Error(
      `expected ${throughGateways ? 'all' : 'no'} connections at the gateways, found ${carried.join(' and ')}`,
    );
  }
  return toSample(JSON.parse(stdout), spent);
}

function toSample(told, { machine, othersShare }) {
  return {
    failed: told.failed,
    perSecond: told.perSecond,
    p50Ms: told.p50Ms,
    p99Ms: told.p99Ms,
    gigabytesPerSecond: told.bytesPerSecond / 1e9,
    ...(told.bytes > 0 && { machineSecondsPerGigabyte: machine / (told.bytes / 1e9) }),
    ...(told.completed > 0 && { machineMicroseconds: (machine / told.completed) * 1e6 }),
    othersShare,
  };
}
