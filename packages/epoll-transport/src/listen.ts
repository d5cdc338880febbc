import { unixPath } from '@meshgate/core';
import type { Connection, Endpoint, Listening, ListenOptions } from '@meshgate/core';
import {
  AF_UNIX,
  EPOLLIN,
  isWildcard,
  listeningSocket,
  OUT_OF_RESOURCES,
  removeIfThere,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  systemError,
} from '@meshgate/linux';
import type { ListeningSocket } from '@meshgate/linux';
import { EpollConnection } from './connection.ts';
import type { Kernel } from './kernel.ts';
import type { Handler } from './loop.ts';
import { Socket } from './socket.ts';

/** As `Transport.listen` of the core. Throws the system's error when it cannot bind. */
export function listen(
  kernel: Kernel,
  at: Endpoint,
  options: ListenOptions,
  onConnection: (connection: Connection) => void,
): Listening {
  return new Acceptor(kernel, listeningSocket(kernel, at, options), options, onConnection);
}

/** A listening socket: accepts what is there, and stops for a while when the system has nothing left to accept with. */
class Acceptor implements Listening, Handler {
  readonly address: Endpoint;
  readonly #kernel: Kernel;
  readonly #fd: number;
  readonly #family: number;
  readonly #options: ListenOptions;
  readonly #onConnection: (connection: Connection) => void;
  /** What every accepted connection has as its local address, unless the listener is bound to all of them. */
  readonly #local: Endpoint | undefined;
  #paused: { readonly reason: Error; readonly closedBefore: number; waits: number } | undefined;
  #closed = false;

  constructor(
    kernel: Kernel,
    { fd, family, address }: ListeningSocket,
    options: ListenOptions,
    onConnection: (connection: Connection) => void,
  ) {
    this.#kernel = kernel;
    this.#fd = fd;
    this.#family = family;
    this.address = address;
    this.#local = isWildcard(address) ? undefined : address;
    this.#options = options;
    this.#onConnection = onConnection;
    // Level-triggered, unlike all else: what one turn leaves in the queue is reported again.
    kernel.loop.add(fd, EPOLLIN, this);
  }

  close(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    this.#kernel.loop.close(this.#fd);
    const path = unixPath(this.address);
    // Nobody can connect to it any more; left behind, it would keep the next listener from binding.
    if (path !== undefined) removeIfThere(path);
    return Promise.resolve();
  }

  onEvents(): void {
    for (let accepted = 0; accepted < ACCEPTS_PER_TURN && !this.#closed; accepted += 1) {
      if (!this.#acceptOne()) return;
    }
  }

  /** While paused: looks whether there is room again. */
  onDeadline(): void {
    if (this.#paused === undefined) return;
    this.#paused.waits += 1;
    const { closedBefore, waits, reason } = this.#paused;
    // Somebody of ours has closed a descriptor; or somebody else may have, of whom we hear nothing.
    if (this.#kernel.loop.closed > closedBefore || waits >= WAITS_AT_MOST) this.#tryAgain(reason);
    else this.#kernel.loop.setDeadline(this.#fd, PAUSE_MS);
  }

  /** @returns whether there may be more */
  #acceptOne(): boolean {
    const fd = this.#kernel.sockets.accept(this.#fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd === -1) {
      const errno = this.#kernel.libc.errno();
      if (OUT_OF_RESOURCES.has(errno)) this.#pause(systemError(errno, 'accept4'));
      // Of anything else only the one connection dies: accept(2), "Error handling". With EAGAIN there is none.
      return false;
    }
    this.#handOver(fd);
    return true;
  }

  #handOver(fd: number): void {
    const remote = (this.#family === AF_UNIX ? undefined : this.#kernel.sockets.lastAddress()) ?? this.address;
    let socket: Socket;
    try {
      socket = new Socket(this.#kernel, fd, this.#family, NOBODY);
    } catch (error) {
      // Out of epoll watches (epoll(7), `max_user_watches`): the connection is closed already, and there will be no other.
      this.#pause(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    // Under load a client's first bytes are there before its connection is accepted.
    socket.expectBytes();
    this.#onConnection(new EpollConnection(this.#kernel, socket, 'downstream', remote, this.#local));
    this.#kernel.loop.settled();
  }

  /**
   * Stops listening for events, but not listening: clients wait in the kernel's queue, unharmed, until there is room again.
   * Not stopping would mean being woken for the same connection over and over.
   */
  #pause(reason: Error): void {
    const first = this.#paused === undefined;
    this.#paused = { reason, closedBefore: this.#kernel.loop.closed, waits: 0 };
    this.#kernel.loop.modify(this.#fd, 0);
    this.#kernel.loop.setDeadline(this.#fd, PAUSE_MS);
    if (first) this.#options.onPause(true, reason);
  }

  /** The pause is over only once an accept does not fail any more: who listens is told once of each, not of every attempt. */
  #tryAgain(reason: Error): void {
    const before = this.#paused;
    const more = this.#acceptOne();
    if (this.#paused !== before || this.#closed) return;
    this.#paused = undefined;
    this.#kernel.loop.modify(this.#fd, EPOLLIN);
    this.#options.onPause(false, reason);
    if (more) this.onEvents();
  }
}

/** Each costs some microseconds of the kernel's and of ours: 64 stay well below the length of a turn. */
const ACCEPTS_PER_TURN = 64;

/** How long a pause lasts at least: room for one connection is no room yet, and each pause is an event for somebody to read. */
const PAUSE_MS = 20;

/** A fifth of a second: short enough that a client's own patience is not over. */
const WAITS_AT_MOST = 10;

/** Owner of a socket for the moment between its registration and its connection; no event can come in between. */
const NOBODY = { onReady: (): void => undefined, onDeadline: (): void => undefined };
