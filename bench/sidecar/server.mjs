// The application behind the second sidecar, and the same with its own mutual TLS.
//
//   node server.mjs CREDENTIALS.json     prints {"plain":PORT,"tls":PORT}; exits when its standard input ends
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { CHUNK_BYTES, DISCARD, ECHO, mutualTls, refusal, SOURCE } from './application.mjs';

const { client, ...pem } = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const SOCKET = { noDelay: true };
const chunk = Buffer.alloc(CHUNK_BYTES);

const plain = createServer(SOCKET, serve);
const tls = createTlsServer({ ...SOCKET, ...mutualTls(pem), requestCert: true, rejectUnauthorized: true }, (socket) => {
  if (refusal(socket.getPeerCertificate(), client) === undefined) serve(socket);
  else socket.destroy();
});
for (const server of [plain, tls]) {
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await once(server, 'listening');
}
console.log(JSON.stringify({ plain: plain.address().port, tls: tls.address().port }));
process.stdin.resume().once('end', () => process.exit(0));

/** @param {import('node:net').Socket} socket */
function serve(socket) {
  socket.on('error', () => socket.destroy());
  socket.once('data', (first) => {
    const wanted = String.fromCharCode(first[0]);
    if (wanted === ECHO) {
      socket.write(first);
      socket.on('data', (bytes) => socket.write(bytes));
    } else if (wanted === SOURCE) {
      socket.resume().on('drain', () => fill(socket));
      fill(socket);
    } else if (wanted === DISCARD) {
      socket.resume();
    } else {
      socket.destroy();
    }
  });
}

function fill(socket) {
  while (!socket.destroyed && socket.write(chunk));
}
