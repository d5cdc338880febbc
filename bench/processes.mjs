// Starts, monitors and stops the processes of a run. None of them outlives it, however it ends.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { connect, createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** @type {Set<import('node:child_process').ChildProcess>} */
const running = new Set();
process.once('exit', () => {
  for (const child of running) killAll(child);
});

/**
 * @typedef {object} Started
 * @property {number} pid
 * @property {import('node:child_process').ChildProcess} child
 * @property {() => string} output everything that it has printed so far
 * @property {() => Promise<void>} stop stops it, forcibly after a while, and waits until it has exited
 */

/**
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {Started}
 */
export function start(command, args) {
  // A process group of its own: a kill includes its workers.
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
  running.add(child);
  let printed = '';
  const gone = new Promise((resolve) => {
    child.once('error', (error) => {
      printed += error.message;
      resolve(undefined);
    });
    child.once('close', resolve);
  }).finally(() => running.delete(child));
  child.stdin.on('error', () => undefined);
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (printed += text));
  return { pid: child.pid ?? 0, child, output: () => printed, stop };

  async function stop() {
    child.stdin.end();
    child.kill('SIGTERM');
    const force = setTimeout(() => killAll(child), STOP_PATIENCE_MS);
    await gone;
    clearTimeout(force);
  }
}

function killAll({ pid }) {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has exited already.
  }
}

// A proxy that drains must not delay the run.
const STOP_PATIENCE_MS = 2_000;

/**
 * The first line of JSON that a process prints.
 *
 * @param {Started} started
 * @param {number} [withinMs] timeout, for a process that has work to do first
 * @returns {Promise<Record<string, unknown>>} rejects when it exits without one, or on timeout
 */
export async function firstJson(started, withinMs) {
  const find = () => {
    const line = started
      .output()
      .split('\n')
      .slice(0, -1)
      .find((text) => text.startsWith('{'));
    return line === undefined ? undefined : JSON.parse(line);
  };
  return until(started, find, withinMs);
}

/**
 * Resolves when `port` of 127.0.0.1 accepts connections.
 *
 * @param {Started} started the process that must listen there
 * @param {number} port
 */
export async function listening(started, port) {
  await until(started, async () => ((await accepts(port)) ? true : undefined));
}

// Below the ephemeral ports of all systems: one of those could be in use again before the program listens on it.
const LOWEST_PORT = 3_000;
/** The highest port of servers; those above are for clients. */
export const HIGHEST_PORT = 9_999;
const given = new Set();

/**
 * A free port of 127.0.0.1, for programs that cannot choose one themselves. Never returns the same port twice.
 *
 * @returns {Promise<number>}
 */
export async function freePort() {
  for (;;) {
    const port = LOWEST_PORT + Math.floor(Math.random() * (HIGHEST_PORT - LOWEST_PORT));
    if (given.has(port) || !(await isFree(port))) continue;
    given.add(port);
    return port;
  }
}

function isFree(port) {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', (error) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    );
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}

/**
 * Path of an installed program.
 *
 * @param {string} name
 * @returns {string | undefined}
 */
export function which(name) {
  // Servers are in folders that only root has in its PATH.
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  return folders.map((folder) => join(folder, name)).find(isProgram);
}

/**
 * Output of a program about itself.
 *
 * @param {string} command
 * @param {readonly string[]} args
 * @returns {string}
 */
export function outputOf(command, args) {
  const { stdout, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  return `${stdout ?? ''}${stderr ?? ''}`;
}

const READY_WITHIN_MS = 15_000;
const LOOK_EVERY_MS = 20;

/**
 * Polls until there is a result.
 *
 * @template T
 * @param {Started} started the process on which it depends
 * @param {() => T | undefined | Promise<T | undefined>} find
 * @param {number} [withinMs]
 * @returns {Promise<T>} rejects when the process exits before, or on timeout
 */
export async function until(started, find, withinMs = READY_WITHIN_MS) {
  const endsAt = performance.now() + withinMs;
  for (;;) {
    const found = await find();
    if (found !== undefined) return found;
    const { exitCode, signalCode, spawnfile } = started.child;
    const ended = exitCode !== null || signalCode !== null || started.pid === 0;
    if (ended || performance.now() > endsAt) {
      const what = ended ? `ended (${exitCode ?? signalCode ?? 'never started'})` : 'was not ready in time';
      throw new Error(`${spawnfile} ${what}: ${started.output().trim() || 'it printed nothing'}`);
    }
    await sleep(LOOK_EVERY_MS);
  }
}

function accepts(port) {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1' });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function isProgram(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
