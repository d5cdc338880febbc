// Sessions over an in-memory transport, from accept to close: the pipeline alone, without the kernel.
import { createProxy } from '../../packages/core/dist/index.js';
import { sniSniffer } from '../../packages/sni/dist/index.js';
import { clientHello, inRecords } from '../../packages/testkit/dist/hellos.js';

// Accepted in one turn of the event loop.
const AT_ONCE = 32;
const NAME = 'web.apps.example';

const LOCAL = { host: '127.0.0.1', port: 8443 };
const HELLO = inRecords(clientHello({ serverName: NAME, alpn: ['h2', 'http/1.1'], grease: true, padToBytes: 512 }));

let accept;
let onEnded = () => undefined;

class MemoryConnection {
  onReset = undefined;
  local = LOCAL;
  #bytes = HELLO;

  constructor(remote) {
    this.remote = remote;
  }

  read() {
    const bytes = this.#bytes;
    this.#bytes = undefined;
    return Promise.resolve(bytes);
  }

  write() {
    return Promise.resolve();
  }

  destroy() {}
}

class MemorySplice {
  bytesDown = 1;
  lastByteAt = 0;

  constructor(bytesUp) {
    this.bytesUp = bytesUp;
    this.done = nextTurn(this);
  }

  cut() {}
}

const transport = {
  name: 'memory',
  listen: async (at, options, onConnection) => {
    accept = onConnection;
    return { address: LOCAL, close: async () => undefined };
  },
  dial: (to) => ({ done: nextTurn(new MemoryConnection(to)), cut: () => undefined }),
  splice: (down, up, { head }) => {
    const splice = new MemorySplice(head.length);
    void splice.done.then(() => onEnded());
    return splice;
  },
};

/** Starts the proxy, once per process. */
export function startProxy() {
  return proxyOver(transport).start();
}

/**
 * Carries connections, several at a time, each from accept to close.
 *
 * @param {number} connections
 */
export async function carry(connections) {
  let ended = 0;
  const allEnded = new Promise((resolve) => {
    onEnded = () => {
      ended += 1;
      if (ended === connections) resolve();
    };
  });
  for (let accepted = 0; accepted < connections; accepted += AT_ONCE) {
    const count = Math.min(AT_ONCE, connections - accepted);
    for (let index = 0; index < count; index++)
      accept(new MemoryConnection({ host: '127.0.0.1', port: 10_000 + accepted + index }));
    await nextTurn();
  }
  await allEnded;
}

function proxyOver(inMemory) {
  const backends = [{ address: { host: '127.0.0.2', port: 443 }, weight: 1, healthy: true }];
  const snapshot = { version: '1', routes: [{ name: 'web', serverNames: [NAME], backends }] };
  const source = {
    name: 'bench',
    async *watch() {
      yield snapshot;
      await new Promise(() => undefined);
    },
  };
  return createProxy({
    listen: LOCAL,
    sources: [source],
    sniffers: [sniSniffer()],
    limits: { connections: 100_000, pendingHellos: 10_000 },
    transport: inMemory,
  });
}

function nextTurn(value) {
  return new Promise((resolve) => setImmediate(resolve, value));
}
