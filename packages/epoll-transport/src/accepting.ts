import { EPOLLIN, NO_OWNER } from '@meshgate/linux';
import type { Accepting, Acceptor, AcceptWatch } from '@meshgate/linux';
import type { EpollKernel } from './kernel.ts';
import type { EpollHandler, Loop } from './loop.ts';
import { EpollSocket } from './socket.ts';

/** Accepts when the listening socket is readable: it is as long as clients wait. */
export const ACCEPTING: Accepting<EpollKernel, EpollSocket> = {
  watch: (kernel, acceptor) => new EpollAcceptWatch(kernel.loop, acceptor),
  open: (kernel, fd, family) => {
    const socket = new EpollSocket(kernel, fd, family, NO_OWNER);
    // Under load a client's first bytes arrive before its connection is accepted.
    socket.expectBytes();
    return socket;
  },
};

class EpollAcceptWatch implements AcceptWatch, EpollHandler {
  readonly #loop: Loop;
  readonly #acceptor: Acceptor;

  constructor(loop: Loop, acceptor: Acceptor) {
    this.#loop = loop;
    this.#acceptor = acceptor;
    // Level-triggered, unlike all other descriptors: connections left in the queue are reported again.
    loop.add(acceptor.fd, EPOLLIN, this);
  }

  get key(): number {
    return this.#acceptor.fd;
  }

  resume(): void {
    this.#loop.modify(this.key, EPOLLIN);
  }

  pause(): void {
    this.#loop.modify(this.key, 0);
  }

  close(): Promise<void> {
    this.#loop.unwatch(this.key);
    this.#loop.close(this.key);
    return Promise.resolve();
  }

  onEvents(): void {
    for (let accepts = 0; accepts < ACCEPTS_PER_TURN && !this.#acceptor.closed; accepts += 1) {
      if (this.#acceptor.acceptOne() !== 'accepted') return;
    }
  }

  onDeadline(): void {
    this.#acceptor.onDeadline();
  }
}

/** Each accept takes some microseconds in the kernel and here: 64 stay well below the length of a turn. */
const ACCEPTS_PER_TURN = 64;
