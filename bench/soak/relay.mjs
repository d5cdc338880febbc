// The subject of a soak: a transport between clients and one backend, in a process whose resources can be counted.
//
//   node --expose-gc relay.mjs '{"transport":"epoll","splice":"copy","seed":"1","backend":PORT}'
//
// Follows the commands of its parent: { command: 'listen' | 'close' | 'usage' }. Sends { ended: … } for each connection
// that it has accepted.
import { openSync, readdirSync, readlinkSync } from 'node:fs';
import { nodeTransport, ProxyError } from '../../packages/core/dist/index.js';
import { fatesOf, HEADER_BYTES } from './fates.mjs';

const settings = JSON.parse(process.argv[2] ?? '{}');
const fates = fatesOf(settings.seed);
const transport = await transportOf(settings);
for (let count = 0; count < (settings.occupied ?? 0); count += 1) openSync('/dev/null');
const keepAlive = { idleMs: 60_000 };
let pauses = 0;
const live = new Set();
/** @type {{ readonly address: { readonly port: number }, close(): Promise<void> } | undefined} */
let listening;

const RESPONSES = { listen, close, usage };
process.on('message', ({ command }) => void RESPONSES[command]().then((response) => process.send?.({ response })));
process.once('disconnect', () => process.exit(0));
process.send?.({ response: { ready: true } });

async function listen() {
  const options = { backlog: 1024, keepAlive, onPause: (paused) => (pauses += paused ? 1 : 0) };
  listening = await transport.listen({ host: '127.0.0.1', port: 0 }, options, (down) => {
    live.add(down);
    carry(down).then(
      (ended) => report(down, ended),
      (reason) =>
        report(down, { ...(reason.number !== undefined && { number: reason.number }), error: codeOf(reason) }),
    );
  });
  return { port: listening.address.port };
}

function report(down, ended) {
  live.delete(down);
  process.send?.({ ended });
}

/** From the header to the last byte, as the connection's fate says. */
async function carry(down) {
  const { number, head } = await headOf(down);
  const fate = fates.draw(number);
  // Connections to port 1 of loopback are refused.
  const to = { host: '127.0.0.1', port: fate.plan === 'nobody there' ? 1 : settings.backend };
  const up = await transport.dial(to, { keepAlive, timeoutMs: 10_000 }).done.catch((reason) => {
    down.destroy();
    return { refused: codeOf(reason) };
  });
  if ('refused' in up) return { number, error: up.refused };
  const splice = transport.splice(down, up, { head, idleTimeoutMs: 30_000 });
  if (fate.plan === 'cut') cutAfter(splice, fate.breaksAt);
  const { bytesUp, bytesDown, error } = await splice.done;
  return { number, bytesUp, bytesDown, ...(error && { error: error.code }) };
}

/** What has arrived first; it may be the header alone, or a part of it. */
async function headOf(down) {
  let head = Buffer.alloc(0);
  while (head.length < HEADER_BYTES) {
    const bytes = await down.read().catch(() => undefined);
    if (bytes === undefined) {
      down.destroy();
      throw new Error('no header');
    }
    head = Buffer.concat([head, bytes]);
  }
  return { number: head.readUInt32BE(0), head };
}

function cutAfter(splice, bytes) {
  let over = false;
  void splice.done.then(() => (over = true));
  const look = () => {
    if (splice.bytesUp + splice.bytesDown >= bytes) splice.cut(new ProxyError('CLOSED_BY_DRAIN', 'soaked'));
    else if (!over) setImmediate(look);
  };
  look();
}

async function close() {
  await listening?.close();
  while (live.size > 0) await new Promise((resolve) => setTimeout(resolve, 1));
  return {};
}

/** With everything closed, and after a few turns in which cached resources are released. */
async function usage() {
  for (let turns = 0; turns < 20; turns += 1) await new Promise((resolve) => setImmediate(resolve));
  for (let times = 0; times < 2; times += 1) globalThis.gc?.();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  const timers = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
  return { descriptors: descriptorsByKind(), timers, heapBytes: heapUsed + arrayBuffers, rssBytes: rss, pauses };
}

function descriptorsByKind() {
  const counts = {};
  for (const fd of readdirSync('/dev/fd')) {
    const kind = kindOf(fd);
    if (kind !== undefined) counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Linux names the kind; elsewhere there is only one. The descriptor of the folder that is listed is closed by then. */
function kindOf(fd) {
  if (process.platform !== 'linux') return 'open';
  try {
    const target = readlinkSync(`/proc/self/fd/${fd}`);
    return target.startsWith('/') ? 'file' : target.slice(0, target.indexOf(':'));
  } catch {
    return undefined;
  }
}

async function transportOf({ transport: name, splice }) {
  if (name === 'node') return nodeTransport();
  if (name === 'uring') {
    const { uringTransport } = await import('../../packages/uring-transport/dist/index.js');
    return uringTransport();
  }
  const { epollTransport } = await import('../../packages/epoll-transport/dist/index.js');
  return epollTransport({ splice });
}

function codeOf(reason) {
  return reason.code ?? reason.message;
}
