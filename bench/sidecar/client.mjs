// The application in front of the first sidecar, or with its own mutual TLS: runs one load, then prints one line of
// JSON.
//
//   node client.mjs JSON      { mode: latency | rate | down | up, port, connections, seconds, warmup, messageBytes, tls? }
//
//   latency   repeated round trips of a message, on persistent connections
//   rate      connect, one round trip, close, repeat; latency covers the cycle up to the response
//   down, up  endless bytes
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { CHUNK_BYTES, DISCARD, ECHO, mutualTls, refusal, SOURCE } from './application.mjs';

const load = JSON.parse(process.argv[2]);
const message = Buffer.alloc(load.messageBytes ?? 1, ECHO);
const chunk = Buffer.alloc(CHUNK_BYTES, DISCARD);
const open = opener(load);

let counting = false;
let countingSince = 0;
let completed = 0;
let counted = 0;
let bytes = 0;
let countedBytes = 0;
let failed = 0;
let over = false;
const latencies = [];

const MODES = { latency: pingPong, rate: requestOnce, down: receive, up: send };
for (let index = 0; index < load.connections; index++) MODES[load.mode]();
setTimeout(beginCounting, load.warmup * 1e3);
setTimeout(report, load.seconds * 1e3);

function pingPong() {
  const socket = opened();
  exchange(socket, () => request(socket));
}

function requestOnce() {
  const socket = opened();
  exchange(socket, () => {
    socket.end();
    if (!over) requestOnce();
  });
}

/** Sends requests once it is open; counts every complete response, and calls `then`. */
function exchange(socket, then) {
  let received = 0;
  socket.on('data', ({ length }) => {
    received += length;
    if (received < message.length) return;
    received -= message.length;
    completed += 1;
    if (counting) {
      counted += 1;
      latencies.push(performance.now() - socket.since);
    }
    then();
  });
  socket.since = performance.now();
  socket.once(socket.readyEvent, () => (load.mode === 'rate' ? socket.write(message) : request(socket)));
}

function request(socket) {
  socket.since = performance.now();
  socket.write(message);
}

function receive() {
  const socket = opened();
  socket.once(socket.readyEvent, () => socket.write(SOURCE));
  socket.on('data', ({ length }) => carried(length));
}

function send() {
  const socket = opened();
  const fill = () => {
    while (!socket.destroyed && socket.write(chunk, () => carried(chunk.length)));
  };
  socket.once(socket.readyEvent, fill).on('drain', fill);
}

function carried(length) {
  bytes += length;
  if (counting) countedBytes += length;
}

function opened() {
  const socket = open();
  let broken = false;
  socket.on('error', () => (broken = true));
  socket.on('close', () => {
    if (over || (!broken && load.mode === 'rate')) return;
    failed += 1;
    // A failed connection is replaced by another.
    if (load.mode === 'rate') requestOnce();
  });
  return socket;
}

/** @returns {() => import('node:net').Socket} */
function opener({ port, tls }) {
  const to = { host: '127.0.0.1', port, noDelay: true };
  if (tls === undefined) return () => Object.assign(connect(to), { readyEvent: 'connect' });
  const { server, serverName, ...pem } = JSON.parse(readFileSync(tls, 'utf8'));
  const secure = { ...to, ...mutualTls(pem), servername: serverName };
  const checkServerIdentity = (_name, certificate) => refusal(certificate, server);
  return () => Object.assign(connectTls({ ...secure, checkServerIdentity }), { readyEvent: 'secureConnect' });
}

function beginCounting() {
  counting = true;
  countingSince = performance.now();
}

function report() {
  over = true;
  const seconds = (performance.now() - countingSince) / 1e3;
  const sorted = Float64Array.from(latencies).sort();
  const percentile = (share) => (sorted.length === 0 ? 0 : sorted[Math.floor(share * (sorted.length - 1))]);
  const [p50Ms, p99Ms, p999Ms] = [0.5, 0.99, 0.999].map(percentile);
  const bytesPerSecond = countedBytes / seconds;
  console.log(
    JSON.stringify({ completed, perSecond: counted / seconds, p50Ms, p99Ms, p999Ms, bytes, bytesPerSecond, failed }),
  );
  process.exit(0);
}
