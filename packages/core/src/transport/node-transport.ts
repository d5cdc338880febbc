import { createServer } from 'node:net';
import type { ListenOptions as NetListenOptions, Server, Socket } from 'node:net';
import { Deadlines, DeadlinesByLength } from '../pipeline/deadlines.ts';
import { failedDial, undiallable } from './dial-failure.ts';
import { formatEndpoint, portProblem, unixPath } from './endpoint.ts';
import type { Endpoint } from './endpoint.ts';
import { NodeConnection } from './node-connection.ts';
import type { UpgradeOptions } from './node-connection.ts';
import { NodeDial } from './node-dial.ts';
import type { DialShared } from './node-dial.ts';
import { NodeSplice } from './node-splice.ts';
import { warmUpSockets } from './node-warm-up.ts';
import type { KeepAlive } from '../routes/route.ts';
import {
  bindPath,
  descriptorOf,
  handleOf,
  isRemovedByNode,
  listenOnDescriptor,
  removePath,
  whyNoDescriptor,
} from './node-listening.ts';
import type { Connection, Dial, DialOptions, HeldSockets, Listening, ListenOptions, Transport } from './transport.ts';

/** Creates the transport over `node:net`: it runs everywhere, and is the reference for all others. */
export function nodeTransport(): Transport {
  warmUpSockets();
  const shortage = new Shortage();
  const timers = {
    lasting: new Deadlines<NodeSplice>(KEEP_ALIVE_AFTER_MS, (splice) => splice.keepAlive()),
    silence: new DeadlinesByLength<NodeSplice>((splice) => splice.onQuiet()),
  };
  const dials: DialShared = {
    deadlines: new DeadlinesByLength<NodeDial>((one) => one.onTimeout()),
    highWaterMark: HIGH_WATER_MARK_BYTES,
    onConnected: (socket) => shortage.check(socket),
    onFailure: (cause) => shortage.notify(cause),
  };
  return {
    name: 'node',
    listen: (at, options, onConnection) => listen(at, options, onConnection, shortage),
    dial: (to, options) => dial(to, options, dials),
    splice: (down, up, options) => new NodeSplice(NodeConnection.own(down), NodeConnection.own(up), options, timers),
  };
}

/**
 * Replaces the socket of a connection of this transport, for TLS that the proxy itself terminates or originates.
 * `connection` can then only be destroyed, which closes both sockets; use the result in its place.
 *
 * @param upgrade gets the socket with all bytes it has received; handles errors of both sockets until its promise
 * settles
 * @throws the error of `upgrade`, with the connection closed; ProxyError if the connection is of another transport,
 * lost or ended
 */
export function upgradeConnection(
  connection: Connection,
  upgrade: (socket: Socket) => Promise<Socket>,
  options?: UpgradeOptions,
): Promise<Connection> {
  return NodeConnection.over(connection, upgrade, options);
}

/**
 * Detects that file descriptors have run out, and notifies listeners. Node does not report it for accepts: libuv then
 * silently accepts and closes pending connections. Detectable are dials without a descriptor, and descriptor numbers:
 * the system assigns the lowest free number, so that the last descriptor is the highest.
 */
class Shortage {
  readonly #listeners = new Set<(reason: Error) => void>();
  /** No descriptor below this number can be the last one. */
  #lowestPossible = 0;

  /** Checks whether the open `socket` has the last descriptor. */
  check(socket: Socket): void {
    const fd = handleOf(socket)?.fd ?? -1;
    if (fd < this.#lowestPossible) return;
    const reason = whyNoDescriptor();
    if (reason === undefined) this.#lowestPossible = fd + 1;
    else {
      this.#lowestPossible = isShortage(reason) ? fd : Infinity;
      this.notify(reason);
    }
  }

  notify(cause: NodeJS.ErrnoException): void {
    if (!isShortage(cause)) return;
    for (const listener of this.#listeners) listener(cause);
  }

  /**
   * @returns a function that ends the subscription
   */
  onShortage(listener: (reason: Error) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function isShortage({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EMFILE' || code === 'ENFILE';
}

// Keepalive is for connections that last: shorter ones are spared its four system calls per side.
const KEEP_ALIVE_AFTER_MS = 1_000;

// For a slow receiver, at most two reads of libuv of 64 KiB each are buffered: one being written, and one that came
// before reading paused. With more, V8 moves the buffers to its old generation, which causes one full garbage
// collection after another.
const HIGH_WATER_MARK_BYTES = 16 * 1024;

/** {@link ListenOptions} with a mutable keepalive, for {@link Listening.keepAlive}. */
type OwnOptions = Omit<ListenOptions, 'keepAlive'> & { keepAlive: KeepAlive };

async function listen(
  at: Endpoint,
  settled: ListenOptions,
  onConnection: (connection: Connection) => void,
  shortage: Shortage,
): Promise<Listening> {
  const problem = portProblem(at);
  if (problem !== undefined) throw new RangeError(`listen ${formatEndpoint(at)}: ${problem}`);
  const options: OwnOptions = { ...settled };
  const settings = { allowHalfOpen: true, noDelay: true, highWaterMark: HIGH_WATER_MARK_BYTES };
  let address = at;
  const server = createServer(settings, (socket) => {
    shortage.check(socket);
    const connection = NodeConnection.accepted(socket, address, options.keepAlive);
    if (connection !== undefined) onConnection(connection);
  });
  await bind(server, at, options);
  address = boundAddress(server, at);
  return pausing(server, address, options, shortage);
}

/** Binds the address. Rejects with the system's error. */
async function bind(server: Server, at: Endpoint, { backlog, reusePort, socket }: ListenOptions): Promise<void> {
  if (socket !== undefined) return listening(server, () => listenOnDescriptor(server, socket, backlog));
  const path = unixPath(at);
  if (path !== undefined)
    return bindPath(path, (bound) => listening(server, () => server.listen({ path: bound, backlog })), server);
  // `reusePort` is newer than the oldest supported Node, whose types lack it and whose `listen` ignores it.
  const options: NetListenOptions & { reusePort?: boolean } = { host: at.host, port: at.port, backlog };
  if (reusePort === true) options.reusePort = true;
  await listening(server, () => server.listen(options));
}

async function listening(server: Server, begin: () => unknown): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', onError);
    server.once('listening', onListening);
    begin();

    function onError(error: Error): void {
      server.removeListener('listening', onListening);
      reject(error);
    }
    function onListening(): void {
      server.removeListener('error', onError);
      resolve();
    }
  });
}

function boundAddress(server: Server, requested: Endpoint): Endpoint {
  const address = server.address();
  return address === null || typeof address === 'string' ? requested : { host: address.address, port: address.port };
}

// Long enough for other connections to free descriptors, short enough that a client's own retry succeeds.
const RELISTEN_AFTER_MS = 250;

/**
 * Pauses accepts by closing the listening socket, since Node has no other way: clients are refused instead of being
 * accepted and dropped, and can tell that from a broken service; the port is bound again a little later.
 */
function pausing(server: Server, address: Endpoint, options: OwnOptions, shortage: Shortage): Listening {
  let closed = false;
  let retry: NodeJS.Timeout | undefined;
  let binding: Promise<void> = Promise.resolve();
  const path = unixPath(address);
  const unsubscribe = shortage.onShortage(pause);
  server.on('error', pause);
  return {
    address,
    close,
    keepAlive: (keepAlive) => void (options.keepAlive = keepAlive),
    get held(): HeldSockets | undefined {
      const isLost = options.socket === undefined && isRemovedByNode(path);
      const fd = closed || isLost ? undefined : descriptorOf(server);
      return fd === undefined ? undefined : { fds: [fd], handles: [handleOf(server)], release: end };
    },
  };

  function pause(reason: Error): void {
    // An inherited socket cannot be bound again while another process holds it, such as a service manager.
    if (closed || retry !== undefined || options.socket !== undefined) return;
    server.close();
    if (path !== undefined) removePath(path);
    options.onPause(true, reason);
    retry = setTimeout(resume, RELISTEN_AFTER_MS, reason);
  }

  function resume(reason: Error): void {
    binding = bind(server, address, options).then(
      () => {
        retry = undefined;
        if (!closed) options.onPause(false, reason);
      },
      () => {
        if (!closed) retry = setTimeout(resume, RELISTEN_AFTER_MS, reason);
      },
    );
  }

  async function close(): Promise<void> {
    closed = true;
    // A pause may be ending right now.
    await binding;
    const hasPath = server.listening;
    await end();
    if (path !== undefined && hasPath) removePath(path);
  }

  async function end(): Promise<void> {
    closed = true;
    unsubscribe();
    clearTimeout(retry);
    // A pause may be ending right now: the port is free only after that socket is closed as well.
    await binding;
    if (!server.listening) return;
    // The callback of `close` would also wait for every accepted connection, and these continue.
    server.close();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function dial(to: Endpoint, options: DialOptions, shared: DialShared): Dial {
  const problem = portProblem(to);
  if (problem !== undefined) return failedDial(undiallable(to, problem));
  return new NodeDial(to, unixPath(to), options, shared);
}
