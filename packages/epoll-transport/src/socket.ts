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

/** The direction of a splice in which a socket's peer sends. */
export interface EpollIncoming {
  /** May be able to make progress. */
  wake(): void;
  /** Processes whatever is available now. */
  carry(): void;
}

/** The direction of a splice in which the socket receives. */
export type EpollOutgoing = Pick<EpollIncoming, 'wake'>;

/**
 * A connected (or connecting) stream socket: its descriptor and its readiness. Registered once, edge-triggered, for
 * everything: an edge sets a bit here, and only an attempt that fails with EAGAIN, or returns less than requested,
 * clears it (epoll(7), "Level-triggered and edge-triggered").
 */
export class EpollSocket implements EpollHandler, StreamSocket {
  owner: SocketOwner;
  /** While it is spliced. */
  incoming: EpollIncoming | undefined;
  /** While it is spliced. */
  outgoing: EpollOutgoing | undefined;
  readonly kernel: EpollKernel;
  #fd: number;
  #state = WRITABLE;
  #keepAlive: KeepAlive | undefined;

  /**
   * Owns `fd` from here on.
   * @throws the system's error when it cannot be watched; `fd` is closed then
   */
  constructor(kernel: EpollKernel, fd: number, family: number, owner: SocketOwner) {
    this.kernel = kernel;
    this.#fd = fd;
    this.owner = owner;
    // A read from a unix socket also ends where the sender changes or passes descriptors (unix(7)): a short read does
    // not mean empty.
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

  /** The end of the stream has been received. */
  get ended(): boolean {
    return (this.#state & ENDED) !== 0;
  }

  /** The kernel has reported an error; the next attempt returns it, or {@link takeError}. */
  get failed(): boolean {
    return (this.#state & FAILED) !== 0;
  }

  /** For calls that are not made here. −1 once closed. */
  get fd(): number {
    return this.#fd;
  }

  /** There may already be bytes: trying costs less than a wake-up. */
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
    // While bytes wait for the other side, nothing would read up to the reset; and a reset is handled at once.
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
   * @returns the number of bytes; 0 when there are none, now or, if {@link ended}, for ever; −errno when the connection
   * is lost
   */
  receive(): number {
    const { bytes, address } = this.kernel.buffer;
    const received = this.kernel.libc.recv(this.#fd, address, bytes.length, 0);
    if (received <= 0) return this.#nothingReceived(received);
    if (received < bytes.length) this.#cameShort();
    return received;
  }

  /** As {@link receive}, from the socket into an empty pipe. */
  receiveInto(pipe: number, length: number): number {
    const received = this.kernel.libc.splice(this.#fd, 0, pipe, 0, length, SPLICE_FLAGS);
    return received <= 0 ? this.#nothingReceived(received) : received;
  }

  send(address: number, length: number): number {
    return this.#sent(this.kernel.libc.send(this.#fd, address, length, MSG_NOSIGNAL), length);
  }

  /** As {@link send}, of what is in a pipe. */
  sendFrom(pipe: number, length: number): number {
    // A short result does not mean full: the amount per call depends on how the bytes are laid out in the pipe.
    const sent = this.kernel.libc.splice(pipe, 0, this.#fd, 0, length, SPLICE_FLAGS);
    return sent > 0 ? sent : this.#sent(sent, length);
  }

  finish(): void {
    this.kernel.libc.shutdown(this.#fd, SHUT_WR);
  }

  /** The socket's pending error, as errno; 0 when there is none. Reading it clears it: socket(7), `SO_ERROR`. */
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

  /** Our acknowledgement of the handshake waits for the first bytes, see `Handshakes`. */
  delayAcknowledgement(): void {
    this.#state |= ACKNOWLEDGEMENT_DELAYED;
  }

  /** Acknowledges the handshake, if no data has done so yet. */
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
   * A short read: the queue is empty (epoll(7), question 9). If the peer was known to have finished before, nothing can
   * have arrived since: this was the end, and another read would only repeat that.
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
