import { unixPath } from '@meshgate/core';
import type { Connection, Endpoint, HeldSockets, KeepAlive, Listening, ListenOptions } from '@meshgate/core';
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK } from './abi.ts';
import { AcceptPause } from './accept-pause.ts';
import { isWildcard, removePath } from '@meshgate/core/parts';
import { listeningSocket, OUT_OF_RESOURCES } from './listening-socket.ts';
import type { ListeningSocket } from './listening-socket.ts';
import { SocketConnection } from './socket-connection.ts';
import type { StreamSocket, TransportKernel } from './stream-socket.ts';
import { systemError } from './system-error.ts';

/** The transport-specific part of accepting connections. */
export interface Accepting<Kernel extends TransportKernel, Socket extends StreamSocket> {
  /**
   * Requests connections on the listening socket of `acceptor`, which receives them. Takes ownership of its descriptor.
   *
   * @throws the system's error, with the descriptor closed
   */
  watch(kernel: Kernel, acceptor: Acceptor): AcceptWatch;
  /**
   * Creates a socket for an accepted connection and starts to receive. Takes ownership of `fd`.
   *
   * @throws the system's error, with `fd` closed
   */
  open(kernel: Kernel, fd: number, family: number): Socket;
}

/** The listening socket in a transport's loop. */
export interface AcceptWatch {
  /** Key in the loop; a deadline with this key calls {@link Acceptor.onDeadline}. */
  readonly key: number;
  /** Resumes requests, after {@link AcceptWatch.pause}. */
  resume(): void;
  /** Stops requests; connections wait in the kernel's queue. */
  pause(): void;
  /** Closes the descriptor; no callbacks follow. Called once. */
  close(): Promise<void>;
}

/** Implements `Transport.listen` of core. Throws the system's error if it cannot bind. */
export function listenBy<Kernel extends TransportKernel, Socket extends StreamSocket>(
  kernel: Kernel,
  accepting: Accepting<Kernel, Socket>,
  at: Endpoint,
  options: ListenOptions,
  onConnection: (connection: Connection) => void,
): Listening {
  return new Acceptor(kernel, listeningSocket(kernel, at, options), {
    watch: (acceptor) => accepting.watch(kernel, acceptor),
    open: (fd, family) => accepting.open(kernel, fd, family),
    isShared: options.sharesSocket === true,
    onPause: options.onPause,
    onConnection,
  });
}

/** Functions and callbacks of an acceptor. */
interface AcceptorParts extends Pick<ListenOptions, 'onPause'> {
  watch(acceptor: Acceptor): AcceptWatch;
  open(fd: number, family: number): StreamSocket;
  readonly isShared: boolean;
  onConnection(connection: Connection): void;
}

/** A listening socket: passes accepted connections on, and pauses when the system is out of resources. */
export class Acceptor implements Listening {
  readonly address: Endpoint;
  /** The listening descriptor, which the {@link AcceptWatch} owns. */
  readonly fd: number;
  readonly #kernel: TransportKernel;
  readonly #family: number;
  readonly #parts: AcceptorParts;
  /** Local address of every accepted connection; absent if the listener is bound to a wildcard. */
  readonly #local: Endpoint | undefined;
  readonly #watch: AcceptWatch;
  readonly #pause: AcceptPause;
  #ending: Promise<void> | undefined;
  #isReleased = false;

  constructor(kernel: TransportKernel, { fd, family, address }: ListeningSocket, parts: AcceptorParts) {
    this.#kernel = kernel;
    this.fd = fd;
    this.#family = family;
    this.address = address;
    this.#parts = parts;
    this.#local = isWildcard(address) ? undefined : address;
    this.#watch = parts.watch(this);
    this.#pause = new AcceptPause(kernel.turns, this.#watch.key, parts);
  }

  /** Whether {@link Acceptor.close} or `release` has been called. */
  get closed(): boolean {
    return this.#ending !== undefined;
  }

  /** Whether other processes accept on the socket too. */
  get isShared(): boolean {
    return this.#parts.isShared;
  }

  get held(): HeldSockets | undefined {
    return this.closed ? undefined : { fds: [this.fd], release: () => this.#release() };
  }

  /** Sets the TCP keepalive of further connections; on a shared socket, for all processes that accept on it. */
  keepAlive(keepAlive: KeepAlive): void {
    if (!this.closed && this.#family !== AF_UNIX) this.#kernel.sockets.setKeepAlive(this.fd, keepAlive);
  }

  /** Closes the listener and removes its unix socket path, which would keep the next listener from binding. */
  close(): Promise<void> {
    const path = this.closed ? undefined : unixPath(this.address);
    if (path !== undefined) removePath(path);
    return this.#end();
  }

  #release(): Promise<void> {
    this.#isReleased = true;
    return this.#end();
  }

  #end(): Promise<void> {
    if (this.#ending === undefined) {
      this.#kernel.turns.clearDeadline(this.#watch.key);
      this.#ending = this.#watch.close();
    }
    return this.#ending;
  }

  /** Accepts one connection, if there is one. */
  acceptOne(): AcceptOutcome {
    const { sockets, libc } = this.#kernel;
    const fd = sockets.accept(this.fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd === -1 ? this.failed(libc.errno()) : this.#handOver(fd, sockets.lastAddress());
  }

  /** Handles a connection accepted without its client's address. */
  accepted(fd: number): AcceptOutcome {
    return this.#handOver(fd, this.#kernel.sockets.peerAddress(fd));
  }

  /**
   * Accepts the waiting connections after `release`. A watch whose wait is exclusive calls this before it closes the
   * descriptor: a successor on the same socket would not be woken for clients that are already waiting.
   */
  acceptWaiting(): void {
    while (this.#isReleased && this.acceptOne() === 'accepted');
  }

  /**
   * Handles a failed accept. Most errors only concern one connection: accept(2), "Error handling". `EAGAIN` means that
   * there is none.
   */
  failed(errno: number): AcceptOutcome {
    return OUT_OF_RESOURCES.has(errno) ? this.#exhausted(systemError(errno, 'accept4')) : 'none';
  }

  /** Retries while paused: the pause ends with the first accept that does not fail. */
  onDeadline(): void {
    if (!this.#pause.isOver() || this.acceptOne() === 'exhausted' || this.closed) return;
    this.#pause.end();
    this.#watch.resume();
  }

  #handOver(fd: number, peer: Endpoint | undefined): AcceptOutcome {
    const remote = this.#family === AF_UNIX ? this.address : peer;
    // A connection accepted while closing would never be served, nor reach a successor: it is reset. One whose client
    // has already disconnected needs no response.
    if (remote === undefined || (this.closed && !this.#isReleased)) {
      this.#kernel.libc.close(fd);
      return 'none';
    }
    let socket: StreamSocket;
    try {
      socket = this.#parts.open(fd, this.#family);
    } catch (error) {
      // Out of epoll watches (epoll(7), `max_user_watches`): the connection is already closed, and the next one would
      // fail too.
      return this.#exhausted(error instanceof Error ? error : new Error(String(error)));
    }
    const ends = { side: 'downstream', remote, local: this.#local } as const;
    this.#parts.onConnection(new SocketConnection(this.#kernel, socket, ends));
    this.#kernel.turns.afterMicrotasks();
    return 'accepted';
  }

  /** Stops accepting, but not listening. Otherwise the same connection would be reported repeatedly. */
  #exhausted(reason: Error): AcceptOutcome {
    if (this.closed) return 'none';
    this.#watch.pause();
    this.#pause.begin(reason);
    return 'exhausted';
  }
}

/** Result of an accept: a connection, nothing now, or a pause. */
export type AcceptOutcome = 'accepted' | 'none' | 'exhausted';
