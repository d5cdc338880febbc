// What all benchmarks share: the compiled programs, a folder for files, the sinks, and a ClientHello for each sink.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile, startSinks, writeHellos } from './load.mjs';

const PROGRAMS = fileURLToPath(new URL('../.cache/bench', import.meta.url));

/**
 * @typedef {object} Ground
 * @property {import('./load.mjs').Programs} programs
 * @property {string} folder removed when this process ends
 * @property {Readonly<Record<string, number>>} sinks their ports by name
 * @property {(backend: string) => string} hello path of a sink's hello
 */

/** @returns {Promise<import('./load.mjs').Programs>} rejects with a message for people if the loads cannot run */
export async function compiledPrograms() {
  if (process.platform !== 'linux') throw new Error('the load generator needs epoll and /proc, which are Linux’s');
  return compile(PROGRAMS);
}

/**
 * @template T
 * @param {import('./load.mjs').Programs} programs
 * @param {(ground: Ground) => Promise<T>} measure the sinks run until it has ended
 * @returns {Promise<T>}
 */
export async function onGround(programs, measure) {
  const folder = mkdtempSync(join(tmpdir(), 'meshgate-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const sinks = await startSinks(programs);
  try {
    return await measure({ programs, folder, sinks: sinks.ports, hello: writeHellos(folder) });
  } finally {
    await sinks.stop();
  }
}

/**
 * @param {Pick<Ground, 'folder' | 'sinks'>} ground
 * @param {import('./contestants.mjs').Contestant} contestant
 * @param {{ readonly collectable?: boolean }} [more]
 * @returns {Promise<import('./contestants.mjs').Proxy>} in a folder of its own
 */
export function startOn({ folder, sinks }, contestant, more = {}) {
  return contestant.start({ folder: mkdtempSync(join(folder, `${contestant.id}-`)), sinks, ...more });
}
