import { TaskQueue, WheelTimer } from '@meshgate/linux';
import type { Libc, Task } from '@meshgate/linux';
import type { Buffers } from './buffers.ts';
import { CQE_BUFFER, OP_CLOSE, SQE_SKIP_SUCCESS } from './abi.ts';
import { Ring } from './ring.ts';
import type { Requester } from './ring.ts';

/** Whoever has requests under way. */
export interface Handler {
  /**
   * A request of `kind` has completed. A provided buffer that came with it belongs to the handler.
   *
   * @param result of the system call, or −errno
   * @param flags `CQE_…`
   */
  onCompletion(kind: number, result: number, flags: number): void;
  /** The deadline set for it is over, and cleared. */
  onDeadline(): void;
}

/**
 * One instance of io_uring inside Node's own event loop: libuv polls its descriptor, and one system call a turn hands over all requests
 * and brings all completions. Timers, promises and everything else of the process go on in the same thread.
 *
 * Open while a handler is: then it keeps the process alive. With the last handler gone it gives everything back.
 */
export class UringLoop {
  /** Milliseconds of the monotonic clock, taken once a turn. */
  nowMs: number = performance.now();
  readonly #libc: Libc;
  readonly #buffers: Buffers;
  readonly #onRest: () => void;
  readonly #handlers: (Handler | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #deadlines = new WheelTimer((slot) => this.#onDue(slot));
  readonly #tasks = new TaskQueue();
  readonly #onCompletion = (slot: number, kind: number, result: number, flags: number): void => {
    const handler = this.#handlers[slot];
    if (handler !== undefined) handler.onCompletion(kind, result, flags);
    else if ((flags & CQE_BUFFER) !== 0) this.#buffers.give(flags >>> 16);
  };
  #ring: Ring | undefined;
  #poll: { close(): void } | undefined;
  #open = 0;
  #closed = 0;
  #turnComing = false;
  #inTurn = false;
  #owesMicrotasks = false;

  /** @param onRest called when the last handler has gone */
  constructor(libc: Libc, buffers: Buffers, onRest: () => void) {
    this.#libc = libc;
    this.#buffers = buffers;
    this.#onRest = onRest;
  }

  /** How many descriptors have been closed so far: when it moves, there may be room for new ones. */
  get closed(): number {
    return this.#closed;
  }

  /** @returns the number under which `handler` makes its requests, until {@link remove}. Throws the system's error. */
  add(handler: Handler): number {
    this.#start();
    const slot = this.#free.pop() ?? this.#handlers.length;
    this.#handlers[slot] = handler;
    this.#open += 1;
    return slot;
  }

  /** Closes the descriptor at once and forgets the handler. Obligation: none of its requests is under way any more. */
  remove(slot: number, fd: number): void {
    this.#libc.close(fd);
    this.#forget(slot);
  }

  /** As {@link remove}, but the descriptor is closed with the requests of this turn, for which there is no call of its own. */
  removeThisTurn(slot: number, fd: number): void {
    if (this.#ring === undefined) this.#libc.close(fd);
    else {
      this.#ring.prepare({ fd, slot: NO_SLOT }, OP_CLOSE, 0);
      this.#ring.setFlags(SQE_SKIP_SUCCESS, 0);
      if (!this.#inTurn) this.#turnAgain();
    }
    this.#forget(slot);
  }

  #forget(slot: number): void {
    this.#deadlines.clear(slot);
    this.#handlers[slot] = undefined;
    this.#free.push(slot);
    this.#closed += 1;
    this.#open -= 1;
    // Not at once: whoever closes one descriptor most often opens another.
    if (this.#open === 0) setImmediate(() => this.#rest());
  }

  /** Notes a request, which is handed over at the end of this turn, or in the next. @returns who takes the rest of it, at once */
  request(by: Requester, opcode: number, kind: number): Ring {
    if (this.#ring === undefined) throw new Error('expected a ring for whoever has been added to the loop');
    this.#ring.prepare(by, opcode, kind);
    if (!this.#inTurn) this.#turnAgain();
    return this.#ring;
  }

  /** Index of the next request, see {@link Ring.nextIndex}. */
  get nextIndex(): number {
    return this.#ring?.nextIndex ?? 0;
  }

  /** Calls `onDeadline` of the handler of `slot` once `afterMs` have passed, in place of a deadline set before. */
  setDeadline(slot: number, afterMs: number): void {
    this.#deadlines.set(slot, afterMs);
  }

  clearDeadline(slot: number): void {
    this.#deadlines.clear(slot);
  }

  /** Runs `task` in this turn if there is time, otherwise in one of the next. A task may be queued once at a time. */
  enqueue(task: Task): void {
    this.#tasks.add(task);
    if (!this.#inTurn) this.#turnAgain();
  }

  /**
   * Obligation of whoever settles a promise, or calls somebody who may. After a call from native code Node (from 26 on) runs promise
   * callbacks only at the next JavaScript that it calls itself: an immediate is the nearest.
   */
  settled(): void {
    this.#owesMicrotasks = true;
    if (!this.#inTurn) this.#turnAgain();
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
    this.#poll = this.#libc.poll(ring.fd, () => this.#onReadable());
  }

  #rest(): void {
    if (this.#open > 0 || this.#ring === undefined) return;
    this.#poll?.close();
    this.#poll = undefined;
    if (this.#ring.unsubmitted > 0) this.#ring.submit();
    this.#ring.close();
    this.#ring = undefined;
    this.#buffers.release();
    this.#deadlines.rest();
    this.#onRest();
  }

  /** Native code calls this: an error must not go back there, it would end the process without its handlers being asked. */
  #onReadable(): void {
    try {
      this.#turn();
    } catch (error) {
      setImmediate(() => {
        throw error;
      });
    }
    if (this.#owesMicrotasks || this.#tasks.size > 0) this.#turnAgain();
  }

  #turn(): void {
    this.#inTurn = true;
    try {
      this.nowMs = performance.now();
      const endMs = this.nowMs + TURN_MS;
      // What completes at once is taken at once: to be woken for it costs more than all the rest of a small message. But promises that
      // have been settled are somebody's next step, and do not wait.
      for (let share = 1; this.#share(endMs); share += 1) {
        if (share >= SHARES_AT_LEAST && (this.#owesMicrotasks || this.#tasks.size > 0)) return;
        this.nowMs = performance.now();
        if (this.nowMs >= endMs) return;
      }
    } finally {
      this.#inTurn = false;
    }
  }

  /** @returns whether there is more to be dispatched already */
  #share(endMs: number): boolean {
    this.#ring?.dispatch(this.#onCompletion);
    this.#tasks.run(endMs);
    if (this.#ring === undefined) return false;
    if (this.#ring.unsubmitted > 0) this.#ring.submit();
    // Only where memory has run out does the kernel not take all: the rest goes with the next turn.
    if (this.#ring.unsubmitted > 0) this.#turnAgain();
    return this.#ring.hasCompletions;
  }

  #turnAgain(): void {
    if (this.#turnComing) return;
    this.#turnComing = true;
    setImmediate(() => {
      this.#turnComing = false;
      this.#owesMicrotasks = false;
      this.#turn();
      if (this.#owesMicrotasks || this.#tasks.size > 0) this.#turnAgain();
    });
  }

  #onDue(slot: number): void {
    this.nowMs = performance.now();
    this.#handlers[slot]?.onDeadline();
  }
}

/** Of a request whose completion concerns nobody. */
const NO_SLOT = -1;

/** So that what is sent in a turn is also counted in it, most often: a send completes with its submission. */
const SHARES_AT_LEAST = 3;

/** How long a turn may go on before everything else in the process gets its chance. Well below the 5 ms that a person could notice. */
const TURN_MS = 2;
