// Meshgate without its daemon: core, the SNI sniffer and a route file, as an embedder composes them. No log, no metrics.
//
//   node core.mjs --routes FILE [--transport node|epoll] [--splice auto|copy|splice]     prints {"port":PORT}; ends when its standard input does
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import {
  AddressBook,
  Admission,
  balancedConnector,
  DEFAULT_LIMITS,
  Sessions,
  Listeners,
  nodeTransport,
  Outliers,
  RouteStore,
} from '../../packages/core/dist/index.js';
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

// More than any measure opens: what is measured is the carrying, not the refusing.
const limits = { ...DEFAULT_LIMITS, connections: 100_000, pendingHellos: 10_000 };
const observer = { observe: () => undefined };
const keepAlive = { idleMs: 60_000 };

const transport = await transportNamed(values);
const routes = new RouteStore({ sources: [fileSource({ path: resolve(values.routes) })], observer });
const connector = balancedConnector({
  addresses: new AddressBook(observer),
  outliers: new Outliers(observer),
  observer,
  limits,
  keepAlive,
});
const sessions = new Sessions({
  sniffer: sniSniffer(),
  resolver: routes,
  connector,
  transport,
  limits,
  admission: new Admission(limits),
  observer,
});
const listeners = new Listeners({
  addresses: [{ name: 'bench', endpoint: { host: '127.0.0.1', port: 0 } }],
  sources: [],
  transport,
  listen: { backlog: 4096, keepAlive },
  observer,
  accept: (connection, listener) => sessions.accept(connection, listener),
});

await routes.start(new AbortController().signal);
await listeners.start();
console.log(JSON.stringify({ port: listeners.status[0]?.address?.port }));
process.stdin.resume().once('end', () => process.exit(0));

async function transportNamed({ transport: name, splice }) {
  if (name === 'node') return nodeTransport();
  const { epollTransport, selfTest } = await import('../../packages/epoll-transport/dist/index.js');
  const tested = await selfTest({ splice });
  if (!tested.ok) throw new Error(`the transport ${name} with splice: ${splice} cannot be used here: ${tested.reason}`);
  return epollTransport({ splice });
}
