// Sends connections of every fate through a transport and checks every byte, every count, and what is left behind.
import { fork, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { fatesOf, HEADER_BYTES } from './fates.mjs';
import { live } from './peer.mjs';

/**
 * @typedef {object} SoakOptions
 * @property {'node' | 'epoll' | 'uring'} transport
 * @property {'copy' | 'splice'} [splice] of `epoll`
 * @property {number} connections
 * @property {string} seed
 * @property {number} [atATime] 48
 * @property {number} [deaths] how often the backends are killed and restarted, spread over the run
 * @property {number} [descriptors] limit of open files of the transport's process: about the number of concurrent
 * connections, so that accept, dial and pipe reach it
 * @property {(progress: Progress) => void} [onProgress] called after each connection
 */

/**
 * @typedef {object} Progress
 * @property {number} done connections that have ended
 * @property {number} complete of these, those whose bytes all had to arrive, and did
 * @property {number} disturbed of these, those in progress when the backends were killed
 * @property {number} starved of these, those for which no descriptor was left
 * @property {number} bytes compared
 * @property {readonly string[]} complaints
 */

/**
 * @typedef {Progress & { readonly before: object, readonly after: object, readonly seconds: number }} SoakReport
 * `before` and `after`: what the transport's process held with everything closed, after a first round and after the
 * last
 */

/**
 * @param {SoakOptions} options
 * @returns {Promise<SoakReport>} without complaints nothing was lost and nothing has leaked
 */
export async function soak({ connections, seed, atATime = 48, deaths = 0, descriptors, onProgress, ...variant }) {
  const fates = fatesOf(seed);
  const backend = new Backend(seed);
  await backend.start();
  const relay = new Relay({ ...variant, seed, backend: backend.port }, descriptors);
  const progress = { done: 0, complete: 0, disturbed: 0, starved: 0, bytes: 0, complaints: [] };
  const began = performance.now();
  try {
    await relay.start();
    // What is loaded, compiled and cached once is not a leak.
    await round(0, FIRST_ROUND);
    const before = await relay.usage();
    await round(FIRST_ROUND, FIRST_ROUND + connections, deaths);
    const after = await relay.usage();
    progress.complaints.push(...leaks(before, after, connections));
    return { ...progress, before, after, seconds: (performance.now() - began) / 1000 };
  } finally {
    relay.stop();
    backend.stop();
  }

  async function round(first, end, killings = 0) {
    const port = await relay.listen();
    const killAt = new Set(
      Array.from({ length: killings }, (_, at) => first + Math.floor(((at + 0.5) * (end - first)) / killings)),
    );
    let next = first;
    const lane = async () => {
      while (next < end && progress.complaints.length < MOST_COMPLAINTS) {
        const number = next++;
        if (killAt.has(number)) await backend.die();
        await one(port, fates.draw(number));
      }
    };
    await Promise.all(Array.from({ length: atATime }, lane));
    await relay.close();
  }

  async function one(port, fate) {
    let death;
    // It may be killed meanwhile.
    do {
      death = backend.death;
      await backend.up;
    } while (death !== backend.death);

    const ended = relay.ended(fate.number);
    const served = backend.served(fate.number);
    const client = await inTime(live(port, fate, fates));
    const refused = descriptors !== undefined && client?.error !== undefined && client.received === 0;
    // An aborted or refused connection may be closed before its header is read: then no process reports it.
    const transfer = fate.complete && !refused ? await inTime(ended) : undefined;
    const seen =
      transfer !== undefined && transfer.error === undefined ? await inTime(Promise.race([served, death])) : undefined;
    const disturbed = death !== backend.death;
    relay.forget(fate.number);
    backend.forget(fate.number);
    const starved = refused || isStarved(transfer, descriptors);
    const complaint = judge(fate, { client, transfer, backend: seen, excused: disturbed || starved });
    if (complaint !== undefined) progress.complaints.push(`${JSON.stringify(fate)}: ${complaint}`);
    progress.done += 1;
    progress.bytes += (client?.received ?? 0) + (seen?.received ?? 0);
    if (starved) progress.starved += 1;
    else if (disturbed) progress.disturbed += 1;
    else if (fate.complete && complaint === undefined) progress.complete += 1;
    onProgress?.(progress);
    // As a client would: an immediate retry would be refused as well.
    if (refused) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** What is wrong with the end of a connection, if anything. */
function judge(fate, { client, transfer, backend, excused }) {
  if (client === undefined) return `the client has seen no end after ${PATIENCE_MS / 1000} s`;
  if (client.wrongAt !== undefined) return `the client got a wrong byte after ${client.wrongAt}`;
  if (backend?.wrongAt !== undefined) return `the backend got a wrong byte after ${backend.wrongAt}`;
  if (!fate.complete || excused) return undefined;
  if (transfer?.error !== undefined) return `ended with ${transfer.error}`;
  const expected = { up: fate.upBytes, down: fate.downBytes, counted: [fate.upBytes + HEADER_BYTES, fate.downBytes] };
  const found = { up: backend?.received, down: client.received, counted: [transfer?.bytesUp, transfer?.bytesDown] };
  if (JSON.stringify(found) !== JSON.stringify(expected)) {
    return `expected ${JSON.stringify(expected)}, found ${JSON.stringify(found)}`;
  }
  return client.ended && backend?.ended === true ? undefined : 'an end did not see the other finish';
}

/** A dial may only fail in a process without descriptors. */
function isStarved(transfer, descriptors) {
  return descriptors !== undefined && transfer?.error === 'LOCAL_RESOURCE';
}

function leaks(before, after, connections) {
  const complaints = [];
  for (const what of ['descriptors', 'timers']) {
    const [was, is] = [JSON.stringify(before[what]), JSON.stringify(after[what])];
    if (was !== is) complaints.push(`left behind: ${what} were ${was}, are ${is}`);
  }
  const grown = after.heapBytes - before.heapBytes;
  const allowed = HEAP_NOISE_BYTES + HEAP_BYTES_EACH * connections;
  if (grown > allowed)
    complaints.push(`left behind: expected at most ${allowed} bytes more on the heap, found ${grown}`);
  return complaints;
}

async function inTime(promise) {
  let timer;
  const timeout = new Promise((resolve) => (timer = setTimeout(resolve, PATIENCE_MS, undefined)));
  return Promise.race([promise, timeout]).finally(() => clearTimeout(timer));
}

/** Stores one value per connection until it is requested. */
class Mailbox {
  /** @readonly */
  #letters = new Map();

  /** @returns {Promise<any>} */
  of(number) {
    return this.#slot(number).promise;
  }

  put(number, letter) {
    this.#slot(number).resolve(letter);
  }

  forget(number) {
    this.#letters.delete(number);
  }

  #slot(number) {
    let slot = this.#letters.get(number);
    if (slot === undefined) {
      let resolve = (_letter) => undefined;
      const promise = new Promise((settle) => (resolve = settle));
      slot = { promise, resolve };
      this.#letters.set(number, slot);
    }
    return slot;
  }
}

/** The process of the backends, which may be killed and restarts on the same port. */
class Backend {
  port = 0;
  /** Resolves when it accepts connections. */
  up = Promise.resolve();
  #onDeath = () => undefined;
  /** Resolves when it is killed; replaced at each restart. */
  death = new Promise((resolve) => (this.#onDeath = resolve));
  /** @readonly */
  #seed;
  #child;
  /** @readonly */
  #mail = new Mailbox();

  constructor(seed) {
    this.#seed = seed;
  }

  start() {
    this.up = this.#begin();
    return this.up;
  }

  served(number) {
    return this.#mail.of(number);
  }

  forget(number) {
    this.#mail.forget(number);
  }

  /** Kills it, whatever it is doing. */
  async die() {
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    this.#onDeath();
    this.death = new Promise((resolve) => (this.#onDeath = resolve));
    this.up = gone.then(() => this.#begin());
    await this.up;
  }

  async #begin() {
    this.#child = fork(path('backend.mjs'), [this.#seed, String(this.port)]);
    const [{ port }] = await once(this.#child, 'message');
    this.port = port;
    this.#child.on('message', ({ number, seen }) => this.#mail.put(number, seen));
  }

  stop() {
    this.#child?.kill('SIGKILL');
  }
}

/** Descriptors for Node's loader, which opens many modules at a time; the process occupies them once it is loaded. */
const LOADING = 200;

/** The process of the transport. */
class Relay {
  /** @readonly */
  #settings;
  /** @readonly */
  #descriptors;
  #child;
  /** @readonly */
  #mail = new Mailbox();
  #onResponse = (_response) => undefined;

  constructor(settings, descriptors) {
    this.#settings = settings;
    this.#descriptors = descriptors;
  }

  async start() {
    const limit = this.#descriptors === undefined ? ':' : `ulimit -n ${this.#descriptors + LOADING}`;
    const settings = { ...this.#settings, ...(this.#descriptors !== undefined && { occupied: LOADING }) };
    const command = [process.execPath, '--expose-gc', path('relay.mjs'), JSON.stringify(settings)];
    this.#child = spawn('sh', ['-c', `${limit}; exec "$@"`, 'sh', ...command], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const gone = once(this.#child, 'exit').then(([status, signal]) => {
      throw new Error(`expected the transport's process to live, found it gone with ${status ?? signal}`);
    });
    this.gone = gone;
    gone.catch(() => undefined);
    this.#child.on('message', ({ ended, response }) => {
      if (response !== undefined) this.#onResponse(response);
      else if (ended.number !== undefined) this.#mail.put(ended.number, ended);
    });
    await this.#answered();
  }

  async listen() {
    return (await this.#command('listen')).port;
  }

  close() {
    return this.#command('close');
  }

  usage() {
    return this.#command('usage');
  }

  ended(number) {
    return this.#mail.of(number);
  }

  forget(number) {
    this.#mail.forget(number);
  }

  stop() {
    this.#child?.kill('SIGKILL');
  }

  #command(command) {
    const answered = this.#answered();
    this.#child.send({ command });
    return answered;
  }

  #answered() {
    const answered = new Promise((resolve) => (this.#onResponse = resolve));
    return Promise.race([answered, this.gone]);
  }
}

function path(name) {
  return fileURLToPath(new URL(name, import.meta.url));
}

const FIRST_ROUND = 200;
const RETRY_MS = 20;
/** Further complaints would only repeat these. */
const MOST_COMPLAINTS = 10;
/** Longer than the idle timeout of the transport under test. */
const PATIENCE_MS = 60_000;
/** The heap of an idle process varies by about this much. */
const HEAP_NOISE_BYTES = 3_000_000;
/** Less than the smallest possible leak per connection. */
const HEAP_BYTES_EACH = 16;
