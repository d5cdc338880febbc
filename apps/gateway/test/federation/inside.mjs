// Runs in a network namespace and forwards connections between it and unix sockets, which are not bound to any network:
// so the test outside can dial and serve as if it were inside. One JSON request per line on standard input, one
// response per line on standard output. Exits when its standard input ends.
import { rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const DOORS = {
  // Forwards connections from the unix socket `path` to `host:port` of this network.
  dial: ({ path, host, port }) => carry({ path }, { host, port }),
  // Forwards connections from `host:port` in this network to the unix socket `path`.
  serve: ({ path, host, port }) => carry({ host, port }, { path }),
  // Forwards connections from `host:port` in this network to `to`, from this network's own address there.
  forward: ({ host, port, to }) => carry({ host, port }, to),
  // Whether something accepts at `host:port`.
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
