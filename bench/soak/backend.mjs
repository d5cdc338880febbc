// The backends of a soak, in a process that can be killed.
//
//   node backend.mjs SEED PORT     sends its parent { port }, then { number, seen } for each closed connection
import { createServer } from 'node:net';
import { fatesOf } from './fates.mjs';
import { serve } from './peer.mjs';

const [seed = '', port = '0'] = process.argv.slice(2);
const fates = fatesOf(seed);
const send = (message) => process.connected && process.send?.(message);

const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) =>
  serve(socket, fates, (number, seen) => send({ number, seen })),
);
server.listen({ port: Number(port), host: '127.0.0.1', backlog: 1024 }, () => {
  const address = server.address();
  send({ port: typeof address === 'object' ? address?.port : undefined });
});
process.once('disconnect', () => process.exit(0));
