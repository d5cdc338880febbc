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
import { PATH_LOADS, PATHS } from './figures.mjs';
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
export async function measurePaths({ folder, settings }, progress) {
  const mesh = await startMesh(mkdtempSync(join(folder, 'mesh-')));
  const samples = Object.fromEntries(
    PATH_LOADS.map(({ id }) => [id, Object.fromEntries(PATHS.map((path) => [path.id, []]))]),
  );
  try {
    for (const path of mesh.paths) await warm(mesh, path);
    for (let round = 0; round < settings.rounds; round++) {
      for (const load of PATH_LOADS) {
        progress(`round ${round + 1} of ${settings.rounds}, ${load.id}`);
        for (const path of orderOfRound(mesh.paths, round)) {
          await sleep(SETTLE_MS);
          samples[load.id][path.id][round] = await samplePath(mesh, path, load, settings.seconds);
        }
      }
    }
  } finally {
    await mesh.stop();
  }
  return { contestants: PATHS, samples };
}

async function warm(mesh, path) {
  const rate = PATH_LOADS.find(({ mode }) => mode === 'rate');
  await samplePath(mesh, path, rate, MESH_WARMUP_SECONDS);
}

/** @returns {Promise<import('../sampling.mjs').Sample>} rejects when the connections did not take the measured path */
async function samplePath(mesh, path, { mode, connections, messageBytes }, seconds) {
  const carriedBefore = await mesh.carried();
  const before = usage(mesh.pids);
  const load = { ...path, mode, connections, messageBytes, seconds: seconds + WARMUP_SECONDS, warmup: WARMUP_SECONDS };
  const { stdout } = await run(process.execPath, [CLIENT, JSON.stringify(load)]);
  const spent = spentBetween(before, usage(mesh.pids));
  const carried = (await mesh.carried()).map((count, gateway) => count - carriedBefore[gateway]);
  const throughGateways = path.id === 'gateways';
  if (carried.some((count) => throughGateways !== count > 0)) {
    throw new Error(
      `expected ${throughGateways ? 'all' : 'no'} connections at the gateways, found ${carried.join(' and ')}`,
    );
  }
  return toSample(JSON.parse(stdout), spent);
}

function toSample(results, { machine, othersShare }) {
  return {
    failed: results.failed,
    perSecond: results.perSecond,
    p50Ms: results.p50Ms,
    p99Ms: results.p99Ms,
    gigabytesPerSecond: results.bytesPerSecond / 1e9,
    ...(results.bytes > 0 && { machineSecondsPerGigabyte: machine / (results.bytes / 1e9) }),
    ...(results.completed > 0 && { machineMicroseconds: (machine / results.completed) * 1e6 }),
    othersShare,
  };
}
