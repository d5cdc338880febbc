import { unixPath } from '@meshgate/core';
import type { Connection, Endpoint, HeldSockets, Listening, ListenOptions } from '@meshgate/core';
import {
  AcceptPause,
  AF_UNIX,
  NOBODY,
  EPOLLIN,
  isWildcard,
  listeningSocket,
  OUT_OF_RESOURCES,
  removeIfThere,
  SocketConnection,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  systemError,
} from '@meshgate/linux';
import type { ListeningSocket } from '@meshgate/linux';
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
  readonly #onConnection: (connection: Connection) => void;
  /** What every accepted connection has as its local address, unless the listener is bound to all of them. */
  readonly #local: Endpoint | undefined;
  readonly #pause: AcceptPause;
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
    this.#pause = new AcceptPause(kernel.turns, fd, options);
    this.#onConnection = onConnection;
    // Level-triggered, unlike all else: what one turn leaves in the queue is reported again.
    kernel.loop.add(fd, EPOLLIN, this);
  }

  get held(): HeldSockets | undefined {
    return this.#closed ? undefined : { fds: [this.#fd], release: () => this.#end() };
  }

  async close(): Promise<void> {
    const path = this.#closed ? undefined : unixPath(this.address);
    await this.#end();
    // Nobody can connect to it any more; left behind, it would keep the next listener from binding.
    if (path !== undefined) removeIfThere(path);
  }

  #end(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    this.#closed = true;
    this.#kernel.loop.unwatch(this.#fd);
    this.#kernel.loop.close(this.#fd);
    return Promise.resolve();
  }

  onEvents(): void {
    for (let accepts = 0; accepts < ACCEPTS_PER_TURN && !this.#closed; accepts += 1) {
      if (this.#acceptOne() !== 'accepted') return;
    }
  }

  /** While paused: the pause is over only once an accept does not fail any more. */
  onDeadline(): void {
    if (!this.#pause.isOver()) return;
    const outcome = this.#acceptOne();
    if (outcome === 'exhausted' || this.#closed) return;
    this.#kernel.loop.modify(this.#fd, EPOLLIN);
    this.#pause.end();
    if (outcome === 'accepted') this.onEvents();
  }

  #acceptOne(): 'accepted' | 'none' | 'exhausted' {
    const fd = this.#kernel.sockets.accept(this.#fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd !== -1) return this.#handOver(fd);
    const errno = this.#kernel.libc.errno();
    // Of anything else only the one connection dies: accept(2), "Error handling". With EAGAIN there is none.
    return OUT_OF_RESOURCES.has(errno) ? this.#exhausted(systemError(errno, 'accept4')) : 'none';
  }

  #handOver(fd: number): 'accepted' | 'exhausted' {
    const { sockets, turns } = this.#kernel;
    const remote = (this.#family === AF_UNIX ? undefined : sockets.lastAddress()) ?? this.address;
    let socket: Socket;
    try {
      socket = new Socket(this.#kernel, fd, this.#family, NOBODY);
    } catch (error) {
      // Out of epoll watches (epoll(7), `max_user_watches`): the connection is closed already, and there will be no other.
      return this.#exhausted(error instanceof Error ? error : new Error(String(error)));
    }
    // Under load a client's first bytes are there before its connection is accepted.
    socket.expectBytes();
    const ends = { side: 'downstream', remote, local: this.#local } as const;
    this.#onConnection(new SocketConnection(this.#kernel, socket, ends));
    turns.settled();
    return 'accepted';
  }

  /** Stops listening for events, but not listening. Not stopping would mean being woken for the same connection over and over. */
  #exhausted(reason: Error): 'exhausted' {
    this.#kernel.loop.modify(this.#fd, 0);
    this.#pause.begin(reason);
    return 'exhausted';
  }
}

/** Each costs some microseconds of the kernel's and of ours: 64 stay well below the length of a turn. */
const ACCEPTS_PER_TURN = 64;
