import { unixPath } from '@meshgate/core';
import type { Connection, Dial, DialOptions, Endpoint, ProxyError } from '@meshgate/core';
import { dialFailure, dialTimeout, undiallable } from '@meshgate/core/parts';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from './abi.ts';
import { encodeAddress } from './socket-address.ts';
import type { SocketAddress } from './socket-address.ts';
import { SocketConnection } from './socket-connection.ts';
import type { SocketOwner, StreamSocket, TransportKernel } from './stream-socket.ts';
import { systemError } from './system-error.ts';

/** The transport-specific part of a dial. */
export interface SocketFactory<Kernel extends TransportKernel, Socket extends StreamSocket> {
  /**
   * Starts to connect. Takes ownership of `fd`; `owner` receives the outcome.
   *
   * @throws the system's error if connect(2) fails at once, with `fd` closed
   */
  begin(kernel: Kernel, fd: number, address: SocketAddress, owner: SocketOwner): Socket;
  /** Called when a TCP connection is established. Absent if there is nothing left to do. */
  connected?(kernel: Kernel, socket: Socket): void;
}

/** Implements `Transport.dial` of core. */
export function dialBy<Kernel extends TransportKernel, Socket extends StreamSocket>(
  kernel: Kernel,
  connecting: SocketFactory<Kernel, Socket>,
  to: Endpoint,
  options: DialOptions,
): Dial {
  const dialling = new Dialling(kernel, connecting, to, options);
  dialling.start();
  return dialling;
}

/** A connection in progress: owns its socket until it is passed on or discarded. */
class Dialling<Kernel extends TransportKernel, Socket extends StreamSocket> implements Dial, SocketOwner {
  readonly done: Promise<Connection>;
  readonly #kernel: Kernel;
  readonly #connecting: SocketFactory<Kernel, Socket>;
  readonly #to: Endpoint;
  readonly #options: DialOptions;
  #resolve: (connection: Connection) => void = IGNORE;
  #reject: (reason: ProxyError) => void = IGNORE;
  #socket: Socket | undefined;
  #settled = false;

  constructor(kernel: Kernel, connecting: SocketFactory<Kernel, Socket>, to: Endpoint, options: DialOptions) {
    this.#kernel = kernel;
    this.#connecting = connecting;
    this.#to = to;
    this.#options = options;
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  cut(reason: ProxyError): void {
    if (!this.#settled) this.#giveUp(reason);
  }

  start(): void {
    const address = encodeAddress(this.#to);
    if (typeof address === 'string') {
      this.#giveUp(undiallable(this.#to, address));
      return;
    }
    const { libc, sockets } = this.#kernel;
    const fd = libc.socket(address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd === -1) {
      this.#giveUp(dialFailure(this.#to, systemError(libc.errno(), 'socket')));
      return;
    }
    if (address.family !== AF_UNIX) sockets.setNoDelay(fd);
    try {
      this.#socket = this.#connecting.begin(this.#kernel, fd, address, this);
    } catch (cause) {
      this.#giveUp(dialFailure(this.#to, cause as NodeJS.ErrnoException));
      return;
    }
    this.#socket.setDeadline(this.#options.timeoutMs);
  }

  onReady(): void {
    const socket = this.#socket;
    if (socket === undefined) return;
    if (socket.failed) this.#giveUp(dialFailure(this.#to, systemError(socket.takeError(), 'connect')));
    else if (socket.writable) this.#connected(socket);
  }

  onDeadline(): void {
    this.#giveUp(dialTimeout(this.#to, this.#options.timeoutMs));
  }

  #connected(socket: Socket): void {
    this.#settle();
    if (unixPath(this.#to) === undefined) {
      socket.keepAliveLater(this.#options.keepAlive);
      this.#connecting.connected?.(this.#kernel, socket);
    }
    this.#resolve(new SocketConnection(this.#kernel, socket, { side: 'upstream', remote: this.#to }));
  }

  #giveUp(reason: ProxyError): void {
    this.#settle();
    this.#socket?.close();
    this.#reject(reason);
  }

  #settle(): void {
    this.#settled = true;
    this.#socket?.clearDeadline();
    this.#kernel.turns.afterMicrotasks();
  }
}

/** Replaced synchronously by the promise's executor. */
const IGNORE = (): void => undefined;
