import type { KeepAlive } from '@meshgate/core';
import {
  EAGAIN,
  ECONNRESET,
  ENOBUFS,
  EPOLLERR,
  EPOLLIN,
  EPOLLOUT,
  EPOLLRDHUP,
  KEEP_ALIVE_AFTER_MS,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SHUT_WR,
  SO_ERROR,
  SOL_SOCKET,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
} from '@meshgate/linux';
import type { SocketOwner, StreamSocket } from '@meshgate/linux';
import {
  CANCEL_ALL,
  CANCEL_FD,
  CQE_BUFFER,
  CQE_SOCK_NONEMPTY,
  OP_ASYNC_CANCEL,
  OP_CONNECT,
  OP_POLL_ADD,
  OP_RECV,
  OP_SEND,
  RECV_POLL_FIRST,
  SQE_BUFFER_SELECT,
} from './abi.ts';
import type { UringKernel } from './kernel.ts';
import type { UringHandler } from './loop.ts';
import type { Requester, Ring } from './ring.ts';

/** The direction of a splice that receives from the socket. */
export interface UringIncoming {
  /**
   * Called when `length` bytes have arrived in the buffer `id`. Nothing more is received until requested.
   *
   * @returns whether the buffer is being sent now: the sender then returns it. Otherwise it is returned after this
   * call.
   */
  onReceived(id: number, length: number): boolean;
  /** Called when the peer has finished sending. */
  onEnded(): void;
  /** The response to {@link UringSocket.awaitReadable}. */
  onReadable(): void;
}

/** The direction of a splice that sends to the socket. */
export interface UringOutgoing {
  /**
   * Called when the kernel has accepted `sent` bytes of the buffer `id` of {@link Socket.sendBuffer}; the buffer is
   * returned after this call.
   */
  onSent(id: number, sent: number): void;
  /** The response to {@link Socket.awaitWritable}. */
  onWritable(): void;
}

/**
 * A stream socket whose requests use the ring. At most one request of each kind is pending; closing waits until none
 * is, since the kernel keeps the socket open during a request, and memory must not be released before its end.
 *
 * Until the socket is spliced, one read is always pending ahead of the reader: one result is buffered, and an end or a
 * reset is known at once.
 */
export class UringSocket implements UringHandler, Requester, StreamSocket {
  owner: SocketOwner;
  /** Set while it is spliced. */
  incoming: UringIncoming | undefined;
  /** Set while it is spliced. */
  outgoing: UringOutgoing | undefined;
  readonly kernel: UringKernel;
  readonly fd: number;
  readonly slot: number;
  #sentWhileClosing = 0;
  /** Pending requests, as bits. */
  #inFlight = 0;
  #state = 0;
  #held: Uint8Array | undefined;
  /** Why the connection is lost. */
  #errno = 0;
  #sending = NO_BUFFER;
  #keepAlive: KeepAlive | undefined;

  /**
   * Takes ownership of `fd`.
   *
   * @throws the system's error if there is no ring, with `fd` closed
   */
  constructor(kernel: UringKernel, fd: number, owner: SocketOwner) {
    this.kernel = kernel;
    this.fd = fd;
    this.owner = owner;
    try {
      this.slot = kernel.loop.add(this);
    } catch (reason) {
      kernel.libc.close(fd);
      throw reason;
    }
  }

  get closed(): boolean {
    return (this.#state & CLOSING) !== 0;
  }

  get readable(): boolean {
    return this.#held !== undefined || this.ended;
  }

  get writable(): boolean {
    return (this.#inFlight & (CONNECT | WRITABLE)) === 0;
  }

  get failed(): boolean {
    return (this.#state & FAILED) !== 0;
  }

  get ended(): boolean {
    return (this.#state & ENDED) !== 0;
  }

  /** Whether a receive is pending, or its result is. */
  get receiving(): boolean {
    return (this.#inFlight & (RECEIVE | RETRY)) !== 0;
  }

  /** Number of bytes that the kernel accepted in a send pending at the close. Final once it is closed. */
  get sentWhileClosing(): number {
    return this.#sentWhileClosing;
  }

  /**
   * @param address a `struct sockaddr`
   */
  connect(address: Uint8Array): void {
    const at = this.kernel.addressAt(this.kernel.loop.nextIndex, address);
    this.#request(OP_CONNECT, CONNECT).setSocketAddress(at, address.length);
  }

  /**
   * Receives once, into a buffer that the kernel takes when bytes arrive. No effect while a receive is pending, or at
   * the end.
   */
  receive(): void {
    if ((this.#inFlight & (RECEIVE | RETRY)) !== 0 || (this.#state & (ENDED | CLOSING)) !== 0) return;
    const expectsNothing = (this.#state & EXPECTS_NOTHING) !== 0;
    this.#request(OP_RECV, RECEIVE).setFlags(SQE_BUFFER_SELECT, expectsNothing ? RECV_POLL_FIRST : 0);
  }

  take(): Uint8Array | number {
    const held = this.#held;
    if (held === undefined) return 0;
    this.#held = undefined;
    this.receive();
    return held;
  }

  takeError(): number {
    return this.#errno;
  }

  /** Sends the contents of buffer `id`, as much as the kernel accepts now. The socket owns the buffer until then. */
  sendBuffer(id: number, length: number): void {
    this.#sending = id;
    const ring = this.#request(OP_SEND, SEND);
    ring.setMemory(this.kernel.buffers.addressOf(id), length);
    ring.setOperationFlags(MSG_NOSIGNAL | MSG_DONTWAIT);
  }

  /** Requests one call of {@link UringIncoming.onReadable}. */
  awaitReadable(): void {
    this.#poll(READABLE, EPOLLIN | EPOLLRDHUP);
  }

  /** Requests one call of {@link UringOutgoing.onWritable}, or of the owner's `onReady`. */
  awaitWritable(): void {
    this.#poll(WRITABLE, EPOLLOUT);
  }

  /** Reports a reset to the owner from now on: without a pending receive it would not be reported. Idempotent. */
  watchForLoss(): void {
    this.#poll(LOSS, 0);
  }

  send(address: number, length: number): number {
    const result = this.kernel.libc.send(this.fd, address, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    const sent = result < 0 ? this.#none() : result;
    if (sent >= 0 && sent < length) this.awaitWritable();
    return sent;
  }

  /** Like {@link send}, from a pipe. */
  sendFrom(pipe: number, length: number): number {
    const sent = this.kernel.libc.splice(pipe, 0, this.fd, 0, length, SPLICE_FLAGS);
    return sent < 0 ? this.#none() : sent;
  }

  /**
   * Moves received bytes into an empty pipe.
   * @returns the number of bytes; 0 if there are none, for the moment or, if {@link ended}, forever; −errno if the
   * connection is lost
   */
  receiveInto(pipe: number, length: number): number {
    const received = this.kernel.libc.splice(this.fd, 0, pipe, 0, length, SPLICE_FLAGS);
    if (received === 0) this.#state |= ENDED;
    return received < 0 ? this.#none() : received;
  }

  finish(): void {
    this.kernel.libc.shutdown(this.fd, SHUT_WR);
  }

  keepAliveLater(keepAlive: KeepAlive): void {
    this.#keepAlive = keepAlive;
    this.setDeadline(KEEP_ALIVE_AFTER_MS);
  }

  setDeadline(afterMs: number): void {
    this.kernel.turns.setDeadline(this.slot, afterMs);
  }

  clearDeadline(): void {
    this.kernel.turns.clearDeadline(this.slot);
  }

  /** Closes the socket. The only further callback is {@link SocketOwner.onClosed}, which may be called at once. */
  close(): void {
    if (this.closed) return;
    this.#state |= CLOSING;
    this.clearDeadline();
    if (this.#inFlight === 0) this.#removeIfIdle();
    else this.#request(OP_ASYNC_CANCEL, CANCEL).setOperationFlags(CANCEL_ALL | CANCEL_FD);
  }

  /** Closes with a reset: undelivered data is dropped (socket(7), `SO_LINGER`; RFC 1122, section 4.2.2.13). */
  reset(): void {
    if (!this.closed) this.kernel.sockets.dropUnsent(this.fd);
    this.close();
  }

  onCompletion(kind: number, result: number, flags: number): void {
    this.#inFlight &= ~kind;
    if ((this.#state & CLOSING) === 0) this.#completed(kind, result, flags);
    else this.#releaseBuffer(kind, result, flags);
    this.#removeIfIdle();
  }

  onDeadline(): void {
    const keepAlive = this.#keepAlive;
    if (keepAlive === undefined) {
      this.owner.onDeadline(this);
      return;
    }
    this.#keepAlive = undefined;
    this.kernel.sockets.setKeepAlive(this.fd, keepAlive);
  }

  #completed(kind: number, result: number, flags: number): void {
    if (kind === RECEIVE) this.#received(result, flags);
    else if (kind === SEND) this.#sent(result);
    else if (kind === CONNECT) this.#connected(-result);
    else if (kind === READABLE) this.incoming?.onReadable();
    else if (kind === WRITABLE) this.#nowWritable();
    else if (kind === RETRY) this.receive();
    else if (kind === LOSS && (result & EPOLLERR) !== 0) this.#lost(this.#pendingError());
  }

  #connected(errno: number): void {
    if (errno !== 0) {
      this.#lost(errno);
      return;
    }
    this.receive();
    this.owner.onReady(this);
  }

  #nowWritable(): void {
    if (this.outgoing === undefined) this.owner.onReady(this);
    else this.outgoing.onWritable();
  }

  #received(result: number, flags: number): void {
    if (result > 0) {
      const id = flags >>> 16;
      if ((flags & CQE_SOCK_NONEMPTY) === 0) this.#state |= EXPECTS_NOTHING;
      else this.#state &= ~EXPECTS_NOTHING;
      if (this.incoming === undefined) this.#hold(this.kernel.buffers.bytesOf(id, result));
      else if (this.incoming.onReceived(id, result)) return;
      this.kernel.buffers.give(id);
      return;
    }
    if ((flags & CQE_BUFFER) !== 0) this.kernel.buffers.give(flags >>> 16);
    if (result === 0) this.#ended();
    else if (result === -ENOBUFS) {
      // Every buffer was in use: those being sent are free when this request is submitted.
      this.#state &= ~EXPECTS_NOTHING;
      this.receive();
    } else if (result === -EAGAIN) {
      // Some kernels do not wait if the descriptor is non-blocking.
      this.#poll(RETRY, EPOLLIN | EPOLLRDHUP);
    } else this.#lost(-result);
  }

  /** Holds bytes until the owner takes them. */
  #hold(bytes: Uint8Array): void {
    this.#held = Buffer.from(bytes);
    this.owner.onReady(this);
    if (this.#held !== undefined) this.watchForLoss();
  }

  #ended(): void {
    this.#state |= ENDED;
    if (this.incoming === undefined) this.owner.onReady(this);
    else this.incoming.onEnded();
  }

  #lost(errno: number): void {
    this.#state |= FAILED;
    this.#errno = errno;
    this.owner.onReady(this);
  }

  #sent(result: number): void {
    const id = this.#sending;
    this.#sending = NO_BUFFER;
    if (result >= 0 || result === -EAGAIN) this.outgoing?.onSent(id, Math.max(0, result));
    else this.#lost(-result);
    this.kernel.buffers.give(id);
  }

  /** Releases the buffer of a request that completed during the close; there are no callbacks any more. */
  #releaseBuffer(kind: number, result: number, flags: number): void {
    if (kind === SEND) {
      this.#sentWhileClosing += Math.max(0, result);
      this.kernel.buffers.give(this.#sending);
    } else if ((flags & CQE_BUFFER) !== 0) this.kernel.buffers.give(flags >>> 16);
  }

  #removeIfIdle(): void {
    if ((this.#state & (CLOSING | REMOVED)) !== CLOSING || this.#inFlight !== 0) return;
    this.#state |= REMOVED;
    this.kernel.loop.removeThisTurn(this.slot, this.fd);
    this.owner.onClosed?.(this);
  }

  #poll(kind: number, events: number): void {
    if ((this.#inFlight & kind) !== 0 || this.closed) return;
    this.#request(OP_POLL_ADD, kind).setOperationFlags(events);
  }

  #request(opcode: number, kind: number): Ring {
    this.#inFlight |= kind;
    return this.kernel.loop.request(this, opcode, kind);
  }

  /** Returns 0 if the call would block, otherwise −errno. */
  #none(): number {
    const errno = this.kernel.libc.errno();
    return errno === EAGAIN ? 0 : -errno;
  }

  /** Returns the socket's pending error. Reading it clears it: socket(7), `SO_ERROR`. */
  #pendingError(): number {
    return this.kernel.sockets.getOption(this.fd, SOL_SOCKET, SO_ERROR) || ECONNRESET;
  }
}

const SPLICE_FLAGS = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

const NO_BUFFER = -1;

// Kinds of requests, as bits.
const CONNECT = 1;
const RECEIVE = 2;
const SEND = 4;
const READABLE = 8;
const WRITABLE = 16;
const LOSS = 32;
const RETRY = 64;
const CANCEL = 128;

// State, as bits.
const ENDED = 1;
const CLOSING = 2;
/** The last read left nothing in the queue. */
const EXPECTS_NOTHING = 4;
/** The descriptor has been closed. */
const REMOVED = 8;
const FAILED = 16;
