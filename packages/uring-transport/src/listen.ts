import { unixPath } from '@meshgate/core';
import type { Connection, Endpoint, HeldSockets, Listening, ListenOptions } from '@meshgate/core';
import {
  AcceptPause,
  AF_UNIX,
  NOBODY,
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
import { ACCEPT_MULTISHOT, CANCEL_ALL, CANCEL_FD, CQE_MORE, OP_ACCEPT, OP_ASYNC_CANCEL } from './abi.ts';
import type { Kernel } from './kernel.ts';
import type { Handler } from './loop.ts';
import type { Requester } from './ring.ts';
import { Socket } from './socket.ts';

/** As `Transport.listen` of the core. Throws the system's error when it cannot bind. */
export function listen(
  kernel: Kernel,
  at: Endpoint,
  options: ListenOptions,
  onConnection: (connection: Connection) => void,
): Listening {
  const acceptor = new Acceptor(kernel, listeningSocket(kernel, at, options), options, onConnection);
  acceptor.accept();
  return acceptor;
}

/** A listening socket: one request accepts on and on, and is made anew after a while when the system has nothing left to accept with. */
class Acceptor implements Listening, Handler, Requester {
  readonly address: Endpoint;
  readonly #kernel: Kernel;
  readonly fd: number;
  readonly slot: number;
  readonly #family: number;
  readonly #onConnection: (connection: Connection) => void;
  /** What every accepted connection has as its local address, unless the listener is bound to all of them. */
  readonly #local: Endpoint | undefined;
  readonly #pause: AcceptPause;
  #underWay = 0;
  #isReleased = false;
  #closed: { readonly done: Promise<void>; resolve(): void } | undefined;

  constructor(
    kernel: Kernel,
    { fd, family, address }: ListeningSocket,
    options: ListenOptions,
    onConnection: (connection: Connection) => void,
  ) {
    this.#kernel = kernel;
    this.fd = fd;
    this.#family = family;
    this.address = address;
    this.#local = isWildcard(address) ? undefined : address;
    this.#onConnection = onConnection;
    try {
      this.slot = kernel.loop.add(this);
    } catch (reason) {
      kernel.libc.close(fd);
      throw reason;
    }
    this.#pause = new AcceptPause(kernel.turns, this.slot, options);
  }

  accept(): void {
    this.#underWay |= ACCEPT;
    const ring = this.#kernel.loop.request(this, OP_ACCEPT, ACCEPT);
    ring.setFlags(0, ACCEPT_MULTISHOT);
    ring.setOperationFlags(SOCK_NONBLOCK | SOCK_CLOEXEC);
  }

  get held(): HeldSockets | undefined {
    return this.#closed === undefined ? { fds: [this.fd], release: () => this.#release() } : undefined;
  }

  close(): Promise<void> {
    const path = this.#closed === undefined ? unixPath(this.address) : undefined;
    if (path !== undefined) removeIfThere(path);
    return this.#end();
  }

  #release(): Promise<void> {
    this.#isReleased = true;
    return this.#end();
  }

  #end(): Promise<void> {
    if (this.#closed !== undefined) return this.#closed.done;
    let resolve = (): void => undefined;
    const done = new Promise<void>((fulfil) => {
      resolve = fulfil;
    });
    this.#closed = { done, resolve };
    this.#kernel.turns.clearDeadline(this.slot);
    if (this.#underWay === 0) this.#remove();
    else this.#cancel();
    return done;
  }

  onCompletion(kind: number, result: number, flags: number): void {
    if ((flags & CQE_MORE) === 0) this.#underWay &= ~kind;
    if (kind === ACCEPT) this.#accepted(result);
    if (this.#closed === undefined) {
      if (this.#underWay === 0 && !this.#pause.active) this.accept();
    } else if (this.#underWay === 0) this.#remove();
  }

  /** While paused: the pause is over only once an accept does not fail any more. */
  onDeadline(): void {
    if (!this.#pause.isOver()) return;
    const fd = this.#kernel.sockets.accept(this.fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const errno = fd === -1 ? this.#kernel.libc.errno() : 0;
    if (OUT_OF_RESOURCES.has(errno)) {
      this.#pause.begin(systemError(errno, 'accept4'));
      return;
    }
    this.#pause.end();
    if (fd !== -1) this.#handOver(fd);
    if (this.#closed === undefined && this.#underWay === 0) this.accept();
  }

  #accepted(result: number): void {
    if (result < 0) {
      // Of anything else only the one connection dies: accept(2), "Error handling".
      if (OUT_OF_RESOURCES.has(-result) && this.#closed === undefined)
        this.#pause.begin(systemError(-result, 'accept'));
      return;
    }
    // Accepted in the moment in which it was closed: nobody would answer for it. A successor never sees it any more.
    if (this.#closed === undefined || this.#isReleased) this.#handOver(result);
    else this.#kernel.libc.close(result);
  }

  #handOver(fd: number): void {
    const remote = this.#family === AF_UNIX ? this.address : this.#kernel.sockets.peerAddress(fd);
    if (remote === undefined) {
      // The client was gone before it could be asked for its address.
      this.#kernel.libc.close(fd);
      return;
    }
    const socket = new Socket(this.#kernel, fd, NOBODY);
    socket.receive();
    const ends = { side: 'downstream', remote, local: this.#local } as const;
    this.#onConnection(new SocketConnection(this.#kernel, socket, ends));
    this.#kernel.turns.settled();
  }

  #cancel(): void {
    this.#underWay |= CANCEL;
    this.#kernel.loop.request(this, OP_ASYNC_CANCEL, CANCEL).setOperationFlags(CANCEL_ALL | CANCEL_FD);
  }

  #remove(): void {
    this.#kernel.loop.remove(this.slot, this.fd);
    this.#closed?.resolve();
    this.#kernel.turns.settled();
  }
}

// Kinds of requests, as bits.
const ACCEPT = 1;
const CANCEL = 2;
