// Runs in a network namespace: the backends behind all proxies, and the clients in front of them. One JSON request per
// line on standard input, one response per line on standard output. Exits when its standard input ends.
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';

const V2_SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');
/** The first bytes of a TLS server: enough for a health check, not for a handshake. */
const SERVER_HELLO = Buffer.from([22, 3, 3, 0, 4, 2, 0, 0, 0]);

const servers = new Map();

const WORK = {
  serve: ({ name, port, conduct }) => serve(name, port, conduct),
  stop: ({ name }) => stop(name),
  call: (request) => call(request),
};

const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => void respond(JSON.parse(line)));
lines.on('close', () => process.exit());

async function respond({ id, work, ...request }) {
  const outcome = await WORK[work](request).catch((reason) => ({ error: String(reason) }));
  process.stdout.write(`${JSON.stringify({ id, ...outcome })}\n`);
}

/** Responds with `<name>` and the PROXY header that it received, once the first byte after that header has arrived. */
function serve(name, port, conduct = 'answer') {
  const sockets = new Set();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    behave(socket, name, conduct, server);
  });
  servers.set(name, { server, sockets });
  return new Promise((resolve, reject) => {
    server.on('error', reject);
    server.listen(port, '127.0.0.1', () => resolve({}));
  });
}

function behave(socket, name, conduct, server) {
  let bytes = Buffer.alloc(0);
  let answered = false;
  if (conduct === 'reset') return void socket.resetAndDestroy();
  socket.on('data', (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    const { header, rest } = proxyHeader(bytes);
    if (answered || rest === undefined || rest.length === 0) return;
    if (conduct === 'silent') return;
    if (conduct === 'hangup') return void socket.end();
    if (conduct === 'leave') leave(socket, server);
    answered = true;
    if (conduct === 'tls') socket.write(SERVER_HELLO);
    if (conduct !== 'answer-last') socket.write(`<${name}${header}>`);
    if (conduct === 'close') socket.end();
  });
  socket.on('end', () => {
    const { header, rest = bytes } = proxyHeader(bytes);
    if (conduct === 'answer-last') socket.write(`<${name}${header}> ${rest.length}`);
    socket.end();
  });
}

/** Its connections continue, and are never silent. */
function leave(socket, server) {
  server.close();
  const talking = setInterval(() => socket.write('.'), 100);
  socket.on('close', () => clearInterval(talking));
}

/** What precedes the hello; without `rest` while it is incomplete. */
function proxyHeader(bytes) {
  if (bytes.subarray(0, 6).toString('latin1') === 'PROXY ') {
    const end = bytes.indexOf('\r\n');
    if (end === -1) return { header: '' };
    return {
      header: ` v1 ${bytes.toString('latin1', 6, end).split(' ').slice(0, 2).join(' ')}`,
      rest: bytes.subarray(end + 2),
    };
  }
  if (bytes.length >= 16 && bytes.subarray(0, 12).equals(V2_SIGNATURE)) {
    const length = bytes.readUInt16BE(14);
    if (bytes.length < 16 + length) return { header: '' };
    const isIPv4 = bytes[13] >> 4 === 1;
    const source = isIPv4 ? [...bytes.subarray(16, 20)].join('.') : bytes.subarray(16, 32).toString('hex');
    const header = (bytes[12] & 15) === 0 ? ' v2 LOCAL' : ` v2 ${isIPv4 ? 'TCP4' : 'TCP6'} ${source}`;
    return { header, rest: bytes.subarray(16 + length) };
  }
  return { header: '', rest: bytes };
}

async function stop(name) {
  const { server, sockets } = servers.get(name);
  servers.delete(name);
  for (const socket of sockets) socket.resetAndDestroy();
  await new Promise((resolve) => server.close(resolve));
  return {};
}

const held = [];

/**
 * Connects from an address, sends pieces one after the other, and reports the outcome: the response of a backend,
 * `closed` without one, `refused` at connect, or `open` if nothing has happened for as long as the caller waits.
 */
async function call({ to, from, pieces, finish, until = 'answer', hold, forMs = 3_000, release }) {
  if (release) for (const socket of held.splice(0)) socket.destroy();
  if (to === undefined) return { outcome: 'released' };
  const began = performance.now();
  const socket = connect({ ...to, ...(from && { localAddress: from }), allowHalfOpen: true, noDelay: true });
  let received = '';
  const outcome = await new Promise((resolve) => {
    const timer = setTimeout(() => resolve('open'), forMs);
    const end = (what) => (clearTimeout(timer), resolve(what));
    socket.on('connect', () => void send(socket, pieces, finish));
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
      const [, response] = /<([^>]+)>/.exec(received) ?? [];
      if (response !== undefined && until === 'answer') end(response);
    });
    const ended = (reason) => {
      if (reason?.code === 'ECONNREFUSED') return end('refused');
      const [, response] = /<([^>]+)>(.*)/s.exec(received) ?? [];
      const after = /<[^>]+>(.*)/s.exec(received)?.[1] ?? '';
      // A TLS alert before the close means the same.
      end(response === undefined ? 'closed' : `${response}${after}${until === 'end' ? ', end' : ''}`);
    };
    socket.on('end', ended);
    socket.on('error', ended);
    socket.on('close', ended);
  });
  if (hold) held.push(socket.on('error', () => undefined));
  else socket.destroy();
  return { outcome, tookMs: Math.round(performance.now() - began) };
}

async function send(socket, pieces, finish) {
  for (const piece of pieces) {
    if (socket.destroyed) return;
    socket.write(Buffer.from(piece, 'base64'));
    if (pieces.length > 1) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  if (finish) socket.end();
}
