import { unixPath } from '@meshgate/core';
import type { Connection, Endpoint, Listening, ListenOptions } from '@meshgate/core';
import {
  AF_UNIX,
  isWildcard,
  listeningSocket,
  OUT_OF_RESOURCES,
  removeIfThere,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  systemError,
} from '@meshgate/linux';
import type { ListeningSocket } from '@meshgate/linux';
import { ACCEPT_MULTISHOT, CANCEL_ALL, CANCEL_FD, CQE_MORE, OP_ACCEPT, OP_ASYNC_CANCEL } from './abi.ts';
import { UringConnection } from './connection.ts';
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
  readonly #options: ListenOptions;
  readonly #onConnection: (connection: Connection) => void;
  /** What every accepted connection has as its local address, unless the listener is bound to all of them. */
  readonly #local: Endpoint | undefined;
  #paused: { readonly reason: Error; readonly closedBefore: number; waits: number } | undefined;
  #underWay = 0;
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
    this.#options = options;
    this.#onConnection = onConnection;
    try {
      this.slot = kernel.loop.add(this);
    } catch (reason) {
      kernel.libc.close(fd);
      throw reason;
    }
  }

  accept(): void {
    this.#underWay |= ACCEPT;
    const ring = this.#kernel.loop.request(this, OP_ACCEPT, ACCEPT);
    ring.setFlags(0, ACCEPT_MULTISHOT);
    ring.setOperationFlags(SOCK_NONBLOCK | SOCK_CLOEXEC);
  }

  close(): Promise<void> {
    if (this.#closed !== undefined) return this.#closed.done;
    let resolve = (): void => undefined;
    const done = new Promise<void>((fulfil) => {
      resolve = fulfil;
    });
    this.#closed = { done, resolve };
    this.#kernel.loop.clearDeadline(this.slot);
    const path = unixPath(this.address);
    if (path !== undefined) removeIfThere(path);
    if (this.#underWay === 0) this.#remove();
    else this.#cancel();
    return done;
  }

  onCompletion(kind: number, result: number, flags: number): void {
    if ((flags & CQE_MORE) === 0) this.#underWay &= ~kind;
    if (kind === ACCEPT) this.#accepted(result);
    if (this.#closed === undefined) {
      if (this.#underWay === 0 && this.#paused === undefined) this.accept();
    } else if (this.#underWay === 0) this.#remove();
  }

  /** While paused: looks whether there is room again. */
  onDeadline(): void {
    if (this.#paused === undefined) return;
    this.#paused.waits += 1;
    const { closedBefore, waits, reason } = this.#paused;
    // Somebody of ours has closed a descriptor; or somebody else may have, of whom we hear nothing.
    if (this.#kernel.loop.closed > closedBefore || waits >= WAITS_AT_MOST) this.#tryAgain(reason);
    else this.#kernel.loop.setDeadline(this.slot, PAUSE_MS);
  }

  #accepted(result: number): void {
    if (result < 0) {
      // Of anything else only the one connection dies: accept(2), "Error handling".
      if (OUT_OF_RESOURCES.has(-result) && this.#closed === undefined) this.#pause(systemError(-result, 'accept'));
      return;
    }
    // Accepted in the moment in which it was closed: nobody would answer for it.
    if (this.#closed === undefined) this.#handOver(result);
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
    this.#onConnection(new UringConnection(this.#kernel, socket, 'downstream', remote, this.#local));
    this.#kernel.loop.settled();
  }

  /** Clients wait in the kernel's queue, unharmed, until there is room again. */
  #pause(reason: Error): void {
    const first = this.#paused === undefined;
    this.#paused = { reason, closedBefore: this.#kernel.loop.closed, waits: 0 };
    this.#kernel.loop.setDeadline(this.slot, PAUSE_MS);
    if (first) this.#options.onPause(true, reason);
  }

  /** The pause is over only once an accept does not fail any more: who listens is told once of each, not of every attempt. */
  #tryAgain(reason: Error): void {
    const { libc, sockets, loop } = this.#kernel;
    const fd = sockets.accept(this.fd, SOCK_NONBLOCK | SOCK_CLOEXEC);
    const errno = fd === -1 ? libc.errno() : 0;
    if (OUT_OF_RESOURCES.has(errno)) {
      this.#paused = { reason, closedBefore: loop.closed, waits: 0 };
      loop.setDeadline(this.slot, PAUSE_MS);
      return;
    }
    this.#paused = undefined;
    this.#options.onPause(false, reason);
    if (fd !== -1) this.#handOver(fd);
    if (this.#closed === undefined && this.#underWay === 0) this.accept();
  }

  #cancel(): void {
    this.#underWay |= CANCEL;
    this.#kernel.loop.request(this, OP_ASYNC_CANCEL, CANCEL).setOperationFlags(CANCEL_ALL | CANCEL_FD);
  }

  #remove(): void {
    this.#kernel.loop.remove(this.slot, this.fd);
    this.#closed?.resolve();
    this.#kernel.loop.settled();
  }
}

// Kinds of requests, as bits.
const ACCEPT = 1;
const CANCEL = 2;

/** How long a pause lasts at least: room for one connection is no room yet, and each pause is an event for somebody to read. */
const PAUSE_MS = 20;

/** A fifth of a second: short enough that a client's own patience is not over. */
const WAITS_AT_MOST = 10;

/** Owner of a socket for the moment between its making and its connection; nothing can happen to it in between. */
const NOBODY = {
  onConnected: (): void => undefined,
  onReceived: (): false => false,
  onEnded: (): void => undefined,
  onSent: (): void => undefined,
  onReadable: (): void => undefined,
  onWritable: (): void => undefined,
  onLost: (): void => undefined,
  onDeadline: (): void => undefined,
  onClosed: (): void => undefined,
};
