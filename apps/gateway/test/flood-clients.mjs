// Runs in a network namespace: clients with one address each, from an IPv6 block. A line `FROM COUNT` on standard input
// starts that many, from that index on; the response is how many connected. Each sends its hello, and disconnects when
// the other side has.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const [port, encoded] = process.argv.slice(2);
const hello = Buffer.from(encoded ?? '', 'base64');
/** Enough to keep the gateway busy, few enough for its backlog. */
const AT_A_TIME = 256;
const PATIENCE_MS = 5_000;

for await (const line of createInterface({ input: process.stdin })) {
  const [from = 0, count = 0] = line.split(' ').map(Number);
  let next = from;
  let connected = 0;
  const work = async () => {
    while (next < from + count) {
      const index = next;
      next += 1;
      if (await visited(addressOf(index))) connected += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  process.stdout.write(`${connected}\n`);
}

/** A /64 for each, which counts as one client. @param {number} index */
function addressOf(index) {
  return `2001:db8:${(index >>> 16).toString(16)}:${(index & 0xffff).toString(16)}::1`;
}

/** @param {string} localAddress */
function visited(localAddress) {
  return new Promise((resolve) => {
    const socket = connect({ host: '::1', port: Number(port), localAddress });
    let isConnected = false;
    const timer = setTimeout(() => socket.destroy(), PATIENCE_MS);
    socket.on('connect', () => {
      isConnected = true;
      socket.write(hello);
    });
    socket.on('data', () => socket.resetAndDestroy());
    socket.on('end', () => socket.resetAndDestroy());
    socket.on('error', () => undefined);
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(isConnected);
    });
  });
}
