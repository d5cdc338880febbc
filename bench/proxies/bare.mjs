// The minimum that a TCP proxy over `node:net` can be: two sockets, piped into each other. No hello is read, no route
// looked up: every backend has a port of its own. What Meshgate's `node` transport costs in addition is the cost of the
// pipeline.
//
//   node bare.mjs NAME=PORT…     prints {"ports":{NAME:PORT…}}; exits when its standard input ends
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

const SOCKET = { allowHalfOpen: true, noDelay: true };

const ports = {};
for (const pair of process.argv.slice(2)) {
  const [name, port] = pair.split('=');
  const server = createServer(SOCKET, (downstream) => carry(downstream, Number(port)));
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
  await once(server, 'listening');
  ports[name] = server.address().port;
}
console.log(JSON.stringify({ ports }));
process.stdin.resume().once('end', () => process.exit(0));

/**
 * @param {import('node:net').Socket} downstream
 * @param {number} port of the backend
 */
function carry(downstream, port) {
  const upstream = connect({ ...SOCKET, host: '127.0.0.1', port });
  downstream.on('error', () => upstream.destroy());
  upstream.on('error', () => downstream.destroy());
  downstream.pipe(upstream);
  upstream.pipe(downstream);
}
