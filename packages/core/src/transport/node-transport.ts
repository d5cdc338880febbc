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

/** The transport over `node:net`: runs everywhere, and is the reference for every other. */
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
 * Puts another socket over the one of a connection of this transport: TLS that the proxy itself ends or begins. From the call on
 * `connection` can only be destroyed, which ends both; what comes of it goes through the pipeline in its place.
 *
 * @param upgrade gets the socket with all that it has received; answers for both sockets' errors until its promise settles
 * @throws what `upgrade` rejects with, the connection closed; ProxyError when it is of another transport, lost or ended
 */
export function upgradeConnection(
  connection: Connection,
  upgrade: (socket: Socket) => Promise<Socket>,
  options?: UpgradeOptions,
): Promise<Connection> {
  return NodeConnection.over(connection, upgrade, options);
}

/**
 * Who must know when file descriptors have run out. Node never says so of an accept: libuv then accepts and closes at once
 * whatever waits, unseen by anybody. What we do get to know is a dial that cannot have a descriptor, and the number of each that a
 * socket has: the system gives the lowest that is free, so that the last one is the highest.
 */
class Shortage {
  readonly #listeners = new Set<(reason: Error) => void>();
  /** Below it none has been the last one. */
  #lowestPossible = 0;

  /** `socket` is open: was that the last descriptor? */
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

  /** @returns ends the subscription */
  onShortage(listener: (reason: Error) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

function isShortage({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EMFILE' || code === 'ENFILE';
}

// Keepalive is for connections that last: those that are over within the second are spared its four system calls for each side.
const KEEP_ALIVE_AFTER_MS = 1_000;

// Of a slow receiver at most two reads of libuv wait, 64 KiB each: one that was written, one that came before reading had stopped. With more,
// buffers that V8's collector takes for old ones have it go through the whole heap again and again.
const HIGH_WATER_MARK_BYTES = 16 * 1024;

/** {@link ListenOptions}, of which {@link Listening.keepAlive} changes one. */
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

/** Rejects with the system's error when the address cannot be bound. */
async function bind(server: Server, at: Endpoint, { backlog, reusePort, socket }: ListenOptions): Promise<void> {
  if (socket !== undefined) return listening(server, () => listenOnDescriptor(server, socket, backlog));
  const path = unixPath(at);
  if (path !== undefined)
    return bindPath(path, (bound) => listening(server, () => server.listen({ path: bound, backlog })), server);
  // `reusePort` is newer than the oldest Node supported, whose types do not know it and whose listen ignores it.
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

// Long enough for other connections to give their descriptors back, short enough that a client's own retry finds us.
const RELISTEN_AFTER_MS = 250;

/**
 * Node has no way to stop accepting but to close the listening socket, so that is how we pause: clients are refused, which they
 * can tell from a broken service, instead of being accepted and dropped; the port is bound again a little later.
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
    // One that was inherited cannot be bound again for as long as somebody else has it, a service manager for example.
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
    // Bound again in this very moment, perhaps.
    await binding;
    const hasPath = server.listening;
    await end();
    if (path !== undefined && hasPath) removePath(path);
  }

  async function end(): Promise<void> {
    closed = true;
    unsubscribe();
    clearTimeout(retry);
    // Bound again in this very moment, perhaps: the port is free only once that has been undone.
    await binding;
    if (!server.listening) return;
    // Not waited for through its callback: that one also waits for every accepted connection, and these live on.
    server.close();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function dial(to: Endpoint, options: DialOptions, shared: DialShared): Dial {
  const problem = portProblem(to);
  if (problem !== undefined) return failedDial(undiallable(to, problem));
  return new NodeDial(to, unixPath(to), options, shared);
}
