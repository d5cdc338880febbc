// Meshgate without its daemon: core, the SNI sniffer and a route file, as an embedder composes them. No log, no
// metrics.
//
//   node core.mjs --routes FILE [--transport node|epoll|uring] [--splice auto|copy|splice]
//
// Prints {"port":PORT}; exits when its standard input ends.
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { createProxy, nodeTransport } from '../../packages/core/dist/index.js';
import { fileSource } from '../../packages/file-source/dist/index.js';
import { sniSniffer } from '../../packages/sni/dist/index.js';

const { values } = parseArgs({
  options: {
    routes: { type: 'string' },
    transport: { type: 'string', default: 'node' },
    splice: { type: 'string', default: 'auto' },
  },
});
if (values.routes === undefined) throw new TypeError('expected --routes FILE, found none');

const proxy = createProxy({
  listen: { host: '127.0.0.1', port: 0 },
  sources: [fileSource({ path: resolve(values.routes) })],
  sniffers: [sniSniffer()],
  // More than any benchmark opens: limits must not affect the measurement.
  limits: { connections: 100_000, pendingHellos: 10_000 },
  transport: await transportNamed(values),
});
await proxy.start();
console.log(JSON.stringify({ port: proxy.address.port }));
process.stdin.resume().once('end', () => process.exit(0));

async function transportNamed({ transport: name, splice }) {
  if (name === 'node') return nodeTransport();
  const { tested, transport } = await (name === 'uring' ? uring() : epoll(splice));
  if (!tested.ok) throw new Error(`the transport ${name} cannot be used here: ${tested.reason}`);
  return transport;
}

async function epoll(splice) {
  const { epollTransport, selfTest } = await import('../../packages/epoll-transport/dist/index.js');
  return { tested: await selfTest({ splice }), transport: epollTransport({ splice }) };
}

async function uring() {
  const { selfTest, uringTransport } = await import('../../packages/uring-transport/dist/index.js');
  return { tested: await selfTest(), transport: uringTransport() };
}
