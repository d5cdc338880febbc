import { unixPath } from '@meshgate/core';
import type { Connection, Dial, DialOptions, Endpoint, ProxyError } from '@meshgate/core';
import { dialFailure, dialTimeout, undiallable } from '@meshgate/core/parts';
import { AF_UNIX, encodeAddress, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, systemError } from '@meshgate/linux';
import { UringConnection } from './connection.ts';
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
    const { libc, sockets } = this.#kernel;
    const fd = libc.socket(address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd === -1) {
      this.#giveUp(dialFailure(this.#to, systemError(libc.errno(), 'socket')));
      return;
    }
    if (address.family !== AF_UNIX) sockets.setNoDelay(fd);
    try {
      this.#socket = new Socket(this.#kernel, fd, this);
    } catch (cause) {
      this.#giveUp(dialFailure(this.#to, cause as NodeJS.ErrnoException));
      return;
    }
    this.#socket.connect(address.bytes);
    this.#socket.setDeadline(this.#options.timeoutMs);
  }

  onConnected(socket: Socket, errno: number): void {
    if (errno !== 0) {
      this.#giveUp(dialFailure(this.#to, systemError(errno, 'connect')));
      return;
    }
    this.#settle();
    if (unixPath(this.#to) === undefined) socket.keepAliveLater(this.#options.keepAlive);
    this.#resolve(new UringConnection(this.#kernel, socket, 'upstream', this.#to));
  }

  onDeadline(): void {
    this.#giveUp(dialTimeout(this.#to, this.#options.timeoutMs));
  }

  onReceived(): false {
    return false;
  }

  onEnded(): void {
    // Nothing is received before it is connected.
  }

  onSent(): void {
    // Nor sent.
  }

  onReadable(): void {
    // Never asked for.
  }

  onWritable(): void {
    // Never asked for.
  }

  onLost(): void {
    // Its connecting fails instead.
  }

  onClosed(): void {
    // Nobody waits for it.
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
}

/** In the place of what a promise's executor brings at once. */
const IGNORE = (): void => undefined;
