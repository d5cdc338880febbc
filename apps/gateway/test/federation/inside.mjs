// Runs inside a network namespace and carries connections between it and unix sockets, which are not bound to any network: so the
// test itself, outside, dials and serves as if it were inside. One JSON request a line on standard input, one answer a line on
// standard output. Ends with its standard input.
import { rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const DOORS = {
  // Whoever connects to the unix socket `path` is connected to `host:port` of this network.
  dial: ({ path, host, port }) => carry({ path }, { host, port }),
  // Whoever connects to `host:port` in this network is connected to the unix socket `path`.
  serve: ({ path, host, port }) => carry({ host, port }, { path }),
  // Whoever connects to `host:port` in this network is connected to `to`, under whatever address this network is known there.
  forward: ({ host, port, to }) => carry({ host, port }, to),
  // Whether somebody accepts at `host:port`.
  probe: ({ host, port }) => probe({ host, port, timeout: 2_000 }),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => void respond(JSON.parse(line)));
lines.on('close', () => process.exit());

async function respond({ id, ...request }) {
  const outcome = await DOORS[request.door](request).catch((reason) => ({ error: reason.message }));
  process.stdout.write(`${JSON.stringify({ id, ...outcome })}\n`);
}

function carry(from, to) {
  if (from.path) rmSync(from.path, { force: true });
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (one) => {
    const other = connect({ ...to, allowHalfOpen: true, noDelay: true });
    one.pipe(other);
    other.pipe(one);
    one.on('error', () => other.destroy());
    other.on('error', () => one.destroy());
    one.on('close', () => other.destroy());
    other.on('close', () => one.destroy());
  });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(from, () => resolve({}));
  });
}

function probe(at) {
  return new Promise((resolve) => {
    const socket = connect(at);
    const end = (result) => {
      socket.destroy();
      resolve({ result });
    };
    socket.on('connect', () => end('connected'));
    socket.on('error', ({ code }) => end(code));
    socket.on('timeout', () => end('timeout'));
  });
}
