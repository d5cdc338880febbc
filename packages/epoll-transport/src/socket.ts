import type { KeepAlive } from '@meshgate/core';
import {
  AF_UNIX,
  EPOLLERR,
  EPOLLET,
  EPOLLHUP,
  EPOLLIN,
  EPOLLOUT,
  EPOLLPRI,
  EPOLLRDHUP,
  MSG_NOSIGNAL,
  SHUT_WR,
  SO_ERROR,
  SOL_SOCKET,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
  EAGAIN,
  KEEP_ALIVE_AFTER_MS,
} from '@meshgate/linux';
import type { SocketOwner, StreamSocket } from '@meshgate/linux';
import type { EpollHandler } from './loop.ts';
import type { EpollKernel } from './kernel.ts';

/** The direction of a splice that receives from the socket. */
export interface EpollIncoming {
  /** Called when it may be able to make progress. */
  wake(): void;
  /** Processes everything available now. */
  carry(): void;
}

/** The direction of a splice that sends to the socket. */
export type EpollOutgoing = Pick<EpollIncoming, 'wake'>;

/**
 * A connected (or connecting) stream socket: its descriptor and its readiness. Registered once, edge-triggered, for all
 * events: an edge sets a bit, and only an attempt that fails with EAGAIN, or returns less than requested, clears it
 * (epoll(7), "Level-triggered and edge-triggered").
 */
export class EpollSocket implements EpollHandler, StreamSocket {
  owner: SocketOwner;
  /** Set while it is spliced. */
  incoming: EpollIncoming | undefined;
  /** Set while it is spliced. */
  outgoing: EpollOutgoing | undefined;
  readonly kernel: EpollKernel;
  #fd: number;
  #state = WRITABLE;
  #keepAlive: KeepAlive | undefined;

  /**
   * Takes ownership of `fd`.
   *
   * @throws the system's error if it cannot be watched, with `fd` closed
   */
  constructor(kernel: EpollKernel, fd: number, family: number, owner: SocketOwner) {
    this.kernel = kernel;
    this.#fd = fd;
    this.owner = owner;
    // A read from a unix socket also ends where the sender changes or passes descriptors (unix(7)): a short read does
    // not mean that the queue is empty.
    if (family === AF_UNIX) this.#state |= SHORT_IS_NOT_EMPTY;
    kernel.loop.add(fd, WATCHED, this);
  }

  get closed(): boolean {
    return this.#fd === -1;
  }

  get readable(): boolean {
    return (this.#state & READABLE) !== 0;
  }

  get writable(): boolean {
    return (this.#state & WRITABLE) !== 0;
  }

  get ended(): boolean {
    return (this.#state & ENDED) !== 0;
  }

  /** The kernel has reported an error: the next attempt returns it, or {@link takeError}. */
  get failed(): boolean {
    return (this.#state & FAILED) !== 0;
  }

  /** Its descriptor, for other system calls; −1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /** Marks the socket as readable: an attempt to read costs less than a wake-up. */
  expectBytes(): void {
    this.#state |= READABLE;
  }

  onEvents(events: number): void {
    let state = this.#state;
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) !== 0) state |= READABLE;
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) !== 0) state |= WRITABLE;
    if ((events & EPOLLRDHUP) !== 0) state |= HUNG_UP;
    if ((events & EPOLLERR) !== 0) state |= FAILED;
    if ((events & EPOLLPRI) !== 0) state |= SHORT_IS_NOT_EMPTY;
    this.#state = state;
    this.incoming?.wake();
    this.outgoing?.wake();
    // While bytes wait for the other side, nothing reads up to the reset; but a reset must be handled at once.
    if ((state & FAILED) !== 0) this.incoming?.carry();
    this.owner.onReady(this);
  }

  onDeadline(): void {
    if (this.#keepAlive === undefined) {
      this.owner.onDeadline(this);
      return;
    }
    this.kernel.sockets.setKeepAlive(this.#fd, this.#keepAlive);
    this.#keepAlive = undefined;
  }

  keepAliveLater(keepAlive: KeepAlive): void {
    this.#keepAlive = keepAlive;
    this.setDeadline(KEEP_ALIVE_AFTER_MS);
  }

  take(): Uint8Array | number {
    const received = this.ended ? 0 : this.receive();
    return received > 0 ? Buffer.from(this.kernel.buffer.bytes.subarray(0, received)) : received;
  }

  /**
   * Receives into the kernel's buffer.
   * @returns the number of bytes; 0 if there are none, for the moment or, if {@link ended}, forever; −errno if the
   * connection is lost
   */
  receive(): number {
    const { bytes, address } = this.kernel.buffer;
    const received = this.kernel.libc.recv(this.#fd, address, bytes.length, 0);
    if (received <= 0) return this.#nothingReceived(received);
    if (received < bytes.length) this.#cameShort();
    return received;
  }

  /** Like {@link receive}, from the socket into an empty pipe. */
  receiveInto(pipe: number, length: number): number {
    const received = this.kernel.libc.splice(this.#fd, 0, pipe, 0, length, SPLICE_FLAGS);
    return received <= 0 ? this.#nothingReceived(received) : received;
  }

  send(address: number, length: number): number {
    return this.#sent(this.kernel.libc.send(this.#fd, address, length, MSG_NOSIGNAL), length);
  }

  /** Like {@link send}, from a pipe. */
  sendFrom(pipe: number, length: number): number {
    // A short result does not mean that the socket is full: the amount per call depends on the layout of the bytes in
    // the pipe.
    const sent = this.kernel.libc.splice(pipe, 0, this.#fd, 0, length, SPLICE_FLAGS);
    return sent > 0 ? sent : this.#sent(sent, length);
  }

  finish(): void {
    this.kernel.libc.shutdown(this.#fd, SHUT_WR);
  }

  /** Returns the socket's pending error as errno; 0 if there is none. Reading it clears it: socket(7), `SO_ERROR`. */
  takeError(): number {
    return this.kernel.sockets.getOption(this.#fd, SOL_SOCKET, SO_ERROR);
  }

  close(): void {
    if (this.#fd === -1) return;
    const fd = this.#fd;
    this.#fd = -1;
    this.#state = 0;
    this.kernel.loop.close(fd);
    this.owner.onClosed?.(this);
  }

  /** Closes with a reset: undelivered data is dropped (socket(7), `SO_LINGER`; RFC 1122, section 4.2.2.13). */
  reset(): void {
    if (this.#fd !== -1) this.kernel.sockets.dropUnsent(this.#fd);
    this.close();
  }

  /** Delays the acknowledgement of the handshake until the first bytes are sent, see `Handshakes`. */
  delayAcknowledgement(): void {
    this.#state |= ACKNOWLEDGEMENT_DELAYED;
  }

  /** Acknowledges the handshake, if no data has done so. */
  acknowledge(): void {
    if ((this.#state & ACKNOWLEDGEMENT_DELAYED) === 0) return;
    this.#state &= ~ACKNOWLEDGEMENT_DELAYED;
    this.kernel.sockets.setQuickAck(this.#fd, 1);
  }

  setDeadline(afterMs: number): void {
    this.kernel.turns.setDeadline(this.#fd, afterMs);
  }

  clearDeadline(): void {
    this.kernel.turns.clearDeadline(this.#fd);
  }

  #nothingReceived(result: number): number {
    if (result === 0) {
      this.#state |= ENDED;
      return 0;
    }
    const errno = this.kernel.libc.errno();
    if (errno !== EAGAIN) return -errno;
    this.#state &= ~READABLE;
    return 0;
  }

  /**
   * Handles a short read: the queue is empty (epoll(7), question 9). If the peer was already known to have finished,
   * nothing can have arrived since: this was the end, and another read would only repeat it.
   */
  #cameShort(): void {
    if ((this.#state & SHORT_IS_NOT_EMPTY) !== 0) return;
    if ((this.#state & FAILED) !== 0) return;
    if ((this.#state & HUNG_UP) !== 0) this.#state |= ENDED;
    else this.#state &= ~READABLE;
  }

  #sent(result: number, length: number): number {
    this.#state &= ~ACKNOWLEDGEMENT_DELAYED;
    if (result === length) return result;
    if (result < 0) {
      const errno = this.kernel.libc.errno();
      if (errno !== EAGAIN) return -errno;
    }
    this.#state &= ~WRITABLE;
    return Math.max(0, result);
  }
}

const WATCHED = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
const SPLICE_FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

const READABLE = 1;
const WRITABLE = 2;
const ENDED = 4;
/** The peer has finished, but not all of its data has been received. */
const HUNG_UP = 8;
const FAILED = 16;
/** Urgent data also ends a read early (tcp(7)). */
const SHORT_IS_NOT_EMPTY = 32;
const ACKNOWLEDGEMENT_DELAYED = 64;
