import { unixPath } from '@meshgate/core';
import { dialFailure, dialTimeout, undiallable } from '@meshgate/core/parts';
import type { Connection, Dial, DialOptions, Endpoint, ProxyError } from '@meshgate/core';
import {
  AF_UNIX,
  EINPROGRESS,
  encodeAddress,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  systemError,
} from '@meshgate/linux';
import { EpollConnection } from './connection.ts';
import type { Kernel } from './kernel.ts';
import { Socket } from './socket.ts';
import type { SocketOwner } from './socket.ts';

/** As `Transport.dial` of the core. */
export function dial(kernel: Kernel, to: Endpoint, options: DialOptions): Dial {
  const dialling = new Dialling(kernel, to, options);
  dialling.start();
  return dialling;
}

/** A connection on its way up: owns its socket until it is handed on or given up. */
class Dialling implements Dial, SocketOwner {
  readonly done: Promise<Connection>;
  readonly #kernel: Kernel;
  readonly #to: Endpoint;
  readonly #options: DialOptions;
  #resolve: (connection: Connection) => void = IGNORE;
  #reject: (reason: ProxyError) => void = IGNORE;
  #socket: Socket | undefined;
  #settled = false;

  constructor(kernel: Kernel, to: Endpoint, options: DialOptions) {
    this.#kernel = kernel;
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
    const { libc } = this.#kernel;
    const fd = libc.socket(address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd === -1) {
      this.#fail(libc.errno(), 'socket');
      return;
    }
    if (address.family !== AF_UNIX) this.#prepareTcp(fd);
    const refusal = this.#kernel.sockets.connect(fd, address) === -1 ? libc.errno() : 0;
    if (refusal === 0 || refusal === EINPROGRESS) {
      this.#wait(fd, address.family);
      return;
    }
    libc.close(fd);
    this.#fail(refusal, 'connect');
  }

  /** Keepalive comes later, see `Socket.keepAliveLater`. */
  #prepareTcp(fd: number): void {
    this.#kernel.sockets.setNoDelay(fd);
    // One packet less for each connection, see `Handshakes`.
    this.#kernel.sockets.setQuickAck(fd, 0);
  }

  /** The kernel reports the outcome by an event, which the registration brings at once if it is known already. */
  #wait(fd: number, family: number): void {
    try {
      this.#socket = new Socket(this.#kernel, fd, family, this);
    } catch (cause) {
      this.#giveUp(dialFailure(this.#to, cause as NodeJS.ErrnoException));
      return;
    }
    if (family !== AF_UNIX) this.#socket.oweAcknowledgement();
    this.#socket.setDeadline(this.#options.timeoutMs);
  }

  onReady(socket: Socket): void {
    if (socket.failed) {
      this.#fail(socket.takeError(), 'connect');
    } else if (socket.writable) {
      this.#connected(socket);
    }
  }

  #connected(socket: Socket): void {
    this.#settle();
    if (unixPath(this.#to) === undefined) {
      socket.keepAliveLater(this.#options.keepAlive);
      this.#kernel.handshakes.add(socket);
    }
    this.#resolve(new EpollConnection(this.#kernel, socket, 'upstream', this.#to));
  }

  onDeadline(): void {
    this.#giveUp(dialTimeout(this.#to, this.#options.timeoutMs));
  }

  #giveUp(reason: ProxyError): void {
    this.#settle();
    this.#socket?.close();
    this.#reject(reason);
  }

  #settle(): void {
    this.#settled = true;
    this.#socket?.clearDeadline();
    this.#kernel.loop.settled();
  }

  #fail(errno: number, syscall: string): void {
    this.#giveUp(dialFailure(this.#to, systemError(errno, syscall)));
  }
}

/** In the place of what a promise's executor brings at once. */
const IGNORE = (): void => undefined;
