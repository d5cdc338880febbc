import { connect } from 'node:net';
import type { NetConnectOpts, Socket } from 'node:net';
import { Deadline } from '../pipeline/deadlines.ts';
import type { DeadlinesByLength } from '../pipeline/deadlines.ts';
import type { ProxyError } from '../errors.ts';
import { dialFailure, dialTimeout } from './dial-failure.ts';
import type { Endpoint } from './endpoint.ts';
import { NodeConnection } from './node-connection.ts';
import type { Connection, Dial, DialOptions } from './transport.ts';

const OWNER = Symbol('dial');

/** A socket with a reference to its dial, so that one set of listeners serves all dials. */
interface DialSocket extends Socket {
  [OWNER]: NodeDial;
}

/** State shared by all dials of a transport. */
export interface DialShared {
  /** Deadlines that call {@link NodeDial.onTimeout}. */
  readonly deadlines: DeadlinesByLength<NodeDial>;
  /** High-water mark of the sockets, in bytes. */
  readonly highWaterMark: number;
  /** Called for each connected socket. */
  onConnected(socket: Socket): void;
  /** Called for each error of the system. */
  onFailure(cause: NodeJS.ErrnoException): void;
}

/** One dial. Owns its socket until `done` resolves. */
export class NodeDial implements Dial {
  readonly done: Promise<Connection>;
  readonly #to: Endpoint;
  readonly #options: DialOptions;
  readonly #shared: DialShared;
  readonly #socket: DialSocket;
  readonly #deadline = new Deadline<NodeDial>(this);
  #resolve: (connection: Connection) => void = () => undefined;
  #reject: (reason: ProxyError) => void = () => undefined;
  #isOver = false;

  static readonly #listeners = {
    connect(this: DialSocket): void {
      this[OWNER].#onConnect();
    },
    error(this: DialSocket, cause: NodeJS.ErrnoException): void {
      this[OWNER].#onError(cause);
    },
  };

  /**
   * @param path path of a unix socket, instead of the host and port of `to`
   */
  constructor(to: Endpoint, path: string | undefined, options: DialOptions, shared: DialShared) {
    this.#to = to;
    this.#options = options;
    this.#shared = shared;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    this.#socket = Object.assign(connect(socketOptions(to, path, shared.highWaterMark)), { [OWNER]: this });
    this.#socket.on('connect', NodeDial.#listeners.connect).on('error', NodeDial.#listeners.error);
    // Whole milliseconds: dials with the same timeout share a timer.
    this.#deadline.begin(shared.deadlines.of(Math.ceil(options.timeoutMs)), performance.now());
  }

  onTimeout(): void {
    this.cut(dialTimeout(this.#to, this.#options.timeoutMs));
  }

  cut(reason: ProxyError): void {
    if (this.#isOver) return;
    this.#end();
    // Without a listener, a last error of the socket would end the process.
    this.#socket.on('error', () => undefined);
    this.#socket.destroy();
    this.#reject(reason);
  }

  #onConnect(): void {
    this.#end();
    this.#shared.onConnected(this.#socket);
    this.#resolve(NodeConnection.dialled(this.#socket, this.#to, this.#options.keepAlive));
  }

  #onError(cause: NodeJS.ErrnoException): void {
    this.#end();
    this.#shared.onFailure(cause);
    this.#reject(dialFailure(this.#to, cause));
  }

  #end(): void {
    this.#isOver = true;
    this.#deadline.end();
    const { connect: onConnect, error } = NodeDial.#listeners;
    this.#socket.removeListener('connect', onConnect).removeListener('error', error);
  }
}

function socketOptions(
  { host, port }: Endpoint,
  path: string | undefined,
  highWaterMark: number,
): NetConnectOpts & { highWaterMark: number } {
  const { onread } = NodeConnection;
  if (path !== undefined) return { path, allowHalfOpen: true, highWaterMark, onread };
  return { host, port, allowHalfOpen: true, noDelay: true, highWaterMark, onread };
}
