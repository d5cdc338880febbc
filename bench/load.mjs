// The load generator and the sinks behind the proxies: two small C programs, compiled on first use.
import { execFile } from 'node:child_process';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { clientHello, inRecords } from '../packages/testkit/dist/hellos.js';
import { firstJson, start, which } from './processes.mjs';

const SOURCES = fileURLToPath(new URL('load/', import.meta.url));
const run = promisify(execFile);

/** The sinks, and the last label of each one's server name. */
export const BACKENDS = ['reply', 'discard', 'source', 'echo'];

/** @param {string} backend */
export function serverName(backend) {
  return `${backend}.bench.example`;
}

/**
 * @typedef {object} Programs
 * @property {string} drive
 * @property {string} sink
 */

/**
 * @param {string} folder for the compiled programs
 * @returns {Promise<Programs>} rejects if there is no compiler, or if it fails
 */
export async function compile(folder) {
  const cc = which('cc');
  if (cc === undefined)
    throw new Error('no C compiler: expected a program named cc (Debian: apt-get install gcc libc6-dev)');
  mkdirSync(folder, { recursive: true });
  const programs = { drive: join(folder, 'drive'), sink: join(folder, 'sink') };
  for (const [name, program] of Object.entries(programs)) {
    const source = join(SOURCES, `${name}.c`);
    if (isNewer(program, [source, join(SOURCES, 'clock.h'), join(SOURCES, 'histogram.h')])) continue;
    await run(cc, ['-O2', '-Wall', '-o', program, source]);
  }
  return programs;
}

// What OpenSSL and most others send to a new server: padded to 512 bytes (RFC 7685), in one record.
const HELLO_MESSAGE_BYTES = 512;

/**
 * The ClientHello for each sink, as a file.
 *
 * @param {string} folder
 * @returns {(backend: string) => string} the path of a sink's hello
 */
export function writeHellos(folder) {
  const path = (backend) => join(folder, `${backend}.hello`);
  for (const backend of BACKENDS) {
    const options = { serverName: serverName(backend), alpn: ['h2', 'http/1.1'], padToBytes: HELLO_MESSAGE_BYTES };
    writeFileSync(path(backend), inRecords(clientHello(options)));
  }
  return path;
}

/**
 * @param {Programs} programs
 * @returns {Promise<{ readonly ports: Readonly<Record<string, number>>, stop(): Promise<void> }>}
 */
export async function startSinks({ sink }) {
  const started = start(sink, []);
  return { ports: await firstJson(started), stop: started.stop };
}

/**
 * One run of the generator.
 *
 * @param {Programs} programs
 * @param {readonly string[]} args
 * @returns {Promise<Record<string, number>>} what it reports
 */
export async function drive({ drive: program }, args) {
  const { stdout } = await run(program, args);
  return JSON.parse(stdout);
}

/**
 * Opens idle connections and holds them until they are released.
 *
 * @param {Programs} programs
 * @param {readonly string[]} args
 * @returns {Promise<{ readonly held: number, readonly failed: number, release(): Promise<void> }>}
 */
export async function holdIdle({ drive: program }, args) {
  const started = start(program, args);
  const { held, failed } = await firstJson(started, HELD_WITHIN_MS);
  return { held, failed, release: started.stop };
}

// Opening a few thousand connections takes about a second on an idle machine.
const HELD_WITHIN_MS = 60_000;

function isNewer(program, sources) {
  const time = statSync(program, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return sources.every((source) => statSync(source).mtimeMs < time);
}
