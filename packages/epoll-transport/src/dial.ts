import { formatEndpoint, ProxyError, unixPath } from '@meshgate/core';
import type { Connection, DialOptions, Endpoint } from '@meshgate/core';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM } from './abi.ts';
import { EpollConnection } from './connection.ts';
import type { Kernel } from './kernel.ts';
import { Socket } from './socket.ts';
import type { SocketOwner } from './socket.ts';
import { encodeAddress } from './socket-address.ts';
import { EINPROGRESS, errorName, systemError } from './system-error.ts';

/** As `Transport.dial` of the core. */
export function dial(kernel: Kernel, to: Endpoint, options: DialOptions, signal: AbortSignal): Promise<Connection> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) reject(signal.reason as Error);
    else new Dialling(kernel, to, options, { signal, resolve, reject }).start();
  });
}

interface Asker {
  readonly signal: AbortSignal;
  resolve(connection: Connection): void;
  reject(reason: Error): void;
}

/** A connection on its way up: owns its socket until it is handed on or given up. */
class Dialling implements SocketOwner {
  readonly #kernel: Kernel;
  readonly #to: Endpoint;
  readonly #options: DialOptions;
  readonly #asker: Asker;
  #socket: Socket | undefined;
  readonly #onAbort = (): void => this.#giveUp(this.#asker.signal.reason as Error);

  constructor(kernel: Kernel, to: Endpoint, options: DialOptions, asker: Asker) {
    this.#kernel = kernel;
    this.#to = to;
    this.#options = options;
    this.#asker = asker;
  }

  start(): void {
    const address = encodeAddress(this.#to);
    if (typeof address === 'string') {
      this.#asker.reject(new ProxyError('CONNECT_FAILED', `dial ${formatEndpoint(this.#to)}: ${address}`));
      return;
    }
    const { libc } = this.#kernel;
    const fd = libc.socket(address.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd === -1) {
      this.#fail(libc.errno(), 'socket');
      return;
    }
    if (address.family !== AF_UNIX) this.#prepareTcp(fd);
    const refusal = this.#kernel.connect(fd, address) === -1 ? libc.errno() : 0;
    if (refusal === 0 || refusal === EINPROGRESS) {
      this.#wait(fd, address.family);
      return;
    }
    libc.close(fd);
    this.#fail(refusal, 'connect');
  }

  /** Keepalive comes later, see `Socket.keepAliveLater`. */
  #prepareTcp(fd: number): void {
    this.#kernel.setNoDelay(fd);
    // One packet less for each connection, see `Handshakes`.
    this.#kernel.setQuickAck(fd, 0);
  }

  /** The kernel reports the outcome by an event, which the registration brings at once if it is known already. */
  #wait(fd: number, family: number): void {
    try {
      this.#socket = new Socket(this.#kernel, fd, family, this);
    } catch (cause) {
      this.#asker.reject(this.#failure('CONNECT_FAILED', String(cause), cause));
      return;
    }
    if (family !== AF_UNIX) this.#socket.oweAcknowledgement();
    this.#socket.setDeadline(this.#options.timeoutMs);
    this.#asker.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  onReady(socket: Socket): void {
    if (socket.failed) {
      const errno = socket.takeError();
      this.#settle();
      socket.close();
      this.#fail(errno, 'connect');
    } else if (socket.writable) {
      this.#settle();
      if (unixPath(this.#to) === undefined) {
        socket.keepAliveLater(this.#options.keepAlive);
        this.#kernel.handshakes.add(socket);
      }
      this.#asker.resolve(new EpollConnection(this.#kernel, socket, 'upstream', this.#to));
    }
  }

  onDeadline(): void {
    this.#giveUp(this.#failure('CONNECT_TIMEOUT', `no answer within ${this.#options.timeoutMs} ms`));
  }

  #giveUp(reason: Error): void {
    this.#settle();
    this.#socket?.close();
    this.#asker.reject(reason);
  }

  #settle(): void {
    this.#socket?.clearDeadline();
    this.#asker.signal.removeEventListener('abort', this.#onAbort);
    this.#kernel.loop.settled();
  }

  #fail(errno: number, syscall: string): void {
    const code = DIAL_FAILURES[errorName(errno)] ?? 'CONNECT_FAILED';
    this.#asker.reject(this.#failure(code, errorName(errno), systemError(errno, syscall)));
  }

  #failure(code: DialFailure, detail: string, cause?: unknown): ProxyError {
    return new ProxyError(code, `dial ${formatEndpoint(this.#to)}: ${detail}`, cause === undefined ? {} : { cause });
  }
}

type DialFailure = 'CONNECT_REFUSED' | 'CONNECT_TIMEOUT' | 'CONNECT_FAILED';

const DIAL_FAILURES: Readonly<Record<string, DialFailure>> = {
  ECONNREFUSED: 'CONNECT_REFUSED',
  // A unix socket that nobody listens on any more, or that is not there.
  ENOENT: 'CONNECT_REFUSED',
  // The kernel gave up before our own deadline.
  ETIMEDOUT: 'CONNECT_TIMEOUT',
};
