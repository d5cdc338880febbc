import { NO_OWNER, SOCK_CLOEXEC, SOCK_NONBLOCK } from '@meshgate/linux';
import type { Accepting, Acceptor, AcceptWatch } from '@meshgate/linux';
import { ACCEPT_MULTISHOT, CANCEL_ALL, CANCEL_FD, CQE_MORE, OP_ACCEPT, OP_ASYNC_CANCEL } from './abi.ts';
import type { UringKernel } from './kernel.ts';
import type { UringHandler } from './loop.ts';
import type { Requester } from './ring.ts';
import { UringSocket } from './socket.ts';

/** Accepts with a multishot request, until it fails. */
export const ACCEPTING: Accepting<UringKernel, UringSocket> = {
  watch: (kernel, acceptor) => {
    const watch = new UringAcceptWatch(kernel, acceptor);
    watch.resume();
    return watch;
  },
  open: (kernel, fd) => {
    const socket = new UringSocket(kernel, fd, NO_OWNER);
    socket.receive();
    return socket;
  },
};

class UringAcceptWatch implements AcceptWatch, UringHandler, Requester {
  readonly fd: number;
  readonly slot: number;
  readonly #kernel: UringKernel;
  readonly #acceptor: Acceptor;
  #pending = 0;
  #isPaused = false;
  /** Set while it is being closed with a request still pending. */
  #onClosed: (() => void) | undefined;

  constructor(kernel: UringKernel, acceptor: Acceptor) {
    this.#kernel = kernel;
    this.#acceptor = acceptor;
    this.fd = acceptor.fd;
    try {
      this.slot = kernel.loop.add(this);
    } catch (reason) {
      kernel.libc.close(this.fd);
      throw reason;
    }
  }

  get key(): number {
    return this.slot;
  }

  /**
   * Requests accepts: single ones on a shared socket. A multishot request keeps its place in the wait queue, so that
   * the first of several processes would get every connection.
   */
  resume(): void {
    this.#isPaused = false;
    if ((this.#pending & ACCEPT) !== 0) return;
    this.#pending |= ACCEPT;
    const ring = this.#kernel.loop.request(this, OP_ACCEPT, ACCEPT);
    ring.setFlags(0, this.#acceptor.isShared ? 0 : ACCEPT_MULTISHOT);
    ring.setOperationFlags(SOCK_NONBLOCK | SOCK_CLOEXEC);
  }

  /** Marks the watch as paused: the failed request was the last. */
  pause(): void {
    this.#isPaused = true;
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#pending === 0) this.#remove(resolve);
      else this.#cancel(resolve);
    });
  }

  onCompletion(kind: number, result: number, flags: number): void {
    if ((flags & CQE_MORE) === 0) this.#pending &= ~kind;
    if (kind === ACCEPT && result >= 0) this.#acceptor.accepted(result);
    else if (kind === ACCEPT) this.#acceptor.failed(-result);
    if (this.#pending !== 0) return;
    if (this.#onClosed !== undefined) this.#remove(this.#onClosed);
    else if (!this.#acceptor.closed && !this.#isPaused) this.resume();
  }

  onDeadline(): void {
    this.#acceptor.onDeadline();
  }

  #cancel(onClosed: () => void): void {
    this.#onClosed = onClosed;
    this.#pending |= CANCEL;
    this.#kernel.loop.request(this, OP_ASYNC_CANCEL, CANCEL).setOperationFlags(CANCEL_ALL | CANCEL_FD);
  }

  /**
   * Removes the watch. The kernel wakes one request per client (`poll_exclusive` of its accept), which may have been
   * the one that was cancelled here.
   */
  #remove(onClosed: () => void): void {
    this.#acceptor.acceptWaiting();
    this.#kernel.loop.remove(this.slot, this.fd);
    onClosed();
    this.#kernel.turns.afterMicrotasks();
  }
}

// Kinds of requests, as bits.
const ACCEPT = 1;
const CANCEL = 2;
