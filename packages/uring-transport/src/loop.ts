import { TurnLoop } from '@meshgate/linux';
import type { Libc, TurnWork } from '@meshgate/linux';
import type { Buffers } from './buffers.ts';
import { CQE_BUFFER, OP_CLOSE, SQE_SKIP_SUCCESS } from './abi.ts';
import { Ring } from './ring.ts';
import type { Requester } from './ring.ts';

/** Receives the completions of its requests. */
export interface UringHandler {
  /**
   * Called when a request of `kind` has completed. The handler owns a provided buffer that came with it.
   *
   * @param result result of the system call, or −errno
   * @param flags `CQE_…`
   */
  onCompletion(kind: number, result: number, flags: number): void;
  /** Called when its deadline has expired and been cleared. */
  onDeadline(): void;
}

/**
 * One io_uring instance inside Node's event loop: libuv polls its descriptor, and one system call per turn submits all
 * requests and fetches all completions. Timers, promises and everything else of the process run in the same thread.
 *
 * The loop is open, and keeps the process alive, while it has handlers. With the last one, it releases everything.
 */
export class UringLoop implements TurnWork {
  readonly turns: TurnLoop = new TurnLoop(this, LEAST_SHARES);
  /** Requests may wait to be submitted. */
  readonly pending = true;
  readonly #libc: Libc;
  readonly #buffers: Buffers;
  readonly #onRest: () => void;
  readonly #handlers: (UringHandler | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #onCompletion = (slot: number, kind: number, result: number, flags: number): void => {
    const handler = this.#handlers[slot];
    if (handler !== undefined) handler.onCompletion(kind, result, flags);
    else if ((flags & CQE_BUFFER) !== 0) this.#buffers.give(flags >>> 16);
  };
  #ring: Ring | undefined;
  #poll: { close(): void } | undefined;

  /** @param onRest called when the last handler is removed */
  constructor(libc: Libc, buffers: Buffers, onRest: () => void) {
    this.#libc = libc;
    this.#buffers = buffers;
    this.#onRest = onRest;
  }

  /** Adds a handler. @returns the number for its requests, until {@link remove}. Throws the system's error. */
  add(handler: UringHandler): number {
    this.#start();
    const slot = this.#free.pop() ?? this.#handlers.length;
    this.#handlers[slot] = handler;
    this.turns.opened();
    return slot;
  }

  /** Closes the descriptor at once and removes the handler. None of its requests may be pending. */
  remove(slot: number, fd: number): void {
    this.#libc.close(fd);
    this.#forget(slot);
  }

  /**
   * Like {@link remove}, but the descriptor is closed together with the requests of this turn, without a separate
   * system call.
   */
  removeThisTurn(slot: number, fd: number): void {
    if (this.#ring === undefined) this.#libc.close(fd);
    else {
      this.#ring.prepare({ fd, slot: NO_SLOT }, OP_CLOSE, 0);
      this.#ring.setFlags(SQE_SKIP_SUCCESS, 0);
      this.turns.wake();
    }
    this.#forget(slot);
  }

  #forget(slot: number): void {
    this.#handlers[slot] = undefined;
    this.#free.push(slot);
    this.turns.closedOne(slot);
  }

  /**
   * Prepares a request, which is submitted at the end of this turn or in the next.
   * @returns the ring; set the other fields of the request on it at once
   */
  request(by: Requester, opcode: number, kind: number): Ring {
    if (this.#ring === undefined) throw new Error('expected a ring for a handler of the loop');
    this.#ring.prepare(by, opcode, kind);
    this.turns.wake();
    return this.#ring;
  }

  /** Index of the next request, see {@link Ring.nextIndex}. */
  get nextIndex(): number {
    return this.#ring?.nextIndex ?? 0;
  }

  /** @returns whether there is already more to dispatch */
  share(endMs: number): boolean {
    this.#ring?.dispatch(this.#onCompletion);
    this.turns.runTasks(endMs);
    if (this.#ring === undefined) return false;
    if (this.#ring.unsubmitted > 0) this.#ring.submit();
    // The kernel only leaves requests if it is out of memory: they are submitted in the next turn.
    if (this.#ring.unsubmitted > 0) setImmediate(() => this.turns.wake());
    return this.#ring.hasCompletions;
  }

  onDeadline(slot: number): void {
    this.#handlers[slot]?.onDeadline();
  }

  onRest(): void {
    if (this.#ring === undefined) return;
    this.#poll?.close();
    this.#poll = undefined;
    if (this.#ring.unsubmitted > 0) this.#ring.submit();
    this.#ring.close();
    this.#ring = undefined;
    this.#buffers.release();
    this.#onRest();
  }

  #start(): void {
    if (this.#ring !== undefined) return;
    const ring = new Ring(this.#libc);
    try {
      this.#buffers.register(this.#libc, ring.fd);
    } catch (reason) {
      ring.close();
      throw reason;
    }
    this.#ring = ring;
    this.#poll = this.#libc.poll(ring.fd, () => this.turns.onReadable());
  }
}

/** The slot of requests whose completions need no handler. */
const NO_SLOT = -1;

/**
 * A send completes with its submission: with three slices, bytes sent in a turn are usually counted in the same turn.
 */
const LEAST_SHARES = 3;
