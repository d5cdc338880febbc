import {
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  systemError,
  TaskQueue,
  WheelTimer,
} from '@meshgate/linux';
import type { Libc, Memory, Task } from '@meshgate/linux';

/** What happens to one file descriptor. */
export interface Handler {
  /** `events` as epoll_ctl(2) names them. */
  onEvents(events: number): void;
  /** The deadline set for it is over, and cleared. */
  onDeadline(): void;
}

/**
 * One epoll instance inside Node's own event loop. An epoll descriptor can itself be polled (epoll(7), "Questions and
 * answers", 3), so libuv wakes us when any of our descriptors is ready; timers, promises and everything else of the process go
 * on in the same thread.
 *
 * Open while a descriptor is: then it keeps the process alive. With the last descriptor gone it gives everything back.
 */
export class Loop {
  readonly libc: Libc;
  /** Milliseconds of the monotonic clock, taken once a turn. */
  nowMs: number = performance.now();
  /** For whoever watches how long turns take. */
  watchdog: { onTurnBegin(): void; onTurnEnd(): void } | undefined;
  readonly #onRest: () => void;
  readonly #events: Memory;
  readonly #event: Memory;
  readonly #handlers: (Handler | undefined)[] = [];
  /** Counts the users of a descriptor's number, so that an event meant for one that is closed never reaches its successor. */
  #generations = new Int32Array(INITIAL_DESCRIPTORS);
  readonly #deadlines = new WheelTimer((fd) => this.#onDue(fd));
  readonly #tasks = new TaskQueue();
  #turnComing = false;
  #epoll = -1;
  #poll: { close(): void } | undefined;
  #open = 0;
  #closed = 0;
  #inTurn = false;
  #owesMicrotasks = false;

  /** @param onRest called when the last descriptor has been closed */
  constructor(libc: Libc, onRest: () => void) {
    this.libc = libc;
    this.#onRest = onRest;
    this.#events = libc.allocate(EVENTS_PER_WAIT * libc.abi.epollEvent.words * 4);
    this.#event = libc.allocate(libc.abi.epollEvent.words * 4);
  }

  /** How many descriptors have been closed so far: when it moves, there may be room for new ones. */
  get closed(): number {
    return this.#closed;
  }

  /** Watches `fd`, which belongs to the loop from here on, until {@link close}. Throws the system's error, and `fd` is closed then. */
  add(fd: number, events: number, handler: Handler): void {
    if (this.#open === 0) this.#start();
    if (fd >= this.#generations.length) this.#grow(fd);
    this.#open += 1;
    this.#handlers[fd] = handler;
    if (this.#control(EPOLL_CTL_ADD, fd, events) === 0) return;
    const error = systemError(this.libc.errno(), 'epoll_ctl');
    this.close(fd);
    throw error;
  }

  /** Changes what is watched for. */
  modify(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events);
  }

  /** Watches `fd` no more, before it is closed: closing alone leaves a socket in epoll that another process has as well (epoll(7)). */
  unwatch(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0);
  }

  /**
   * Closes `fd`: whatever was still to happen to it will not. Closing also takes it out of epoll (epoll(7)), unless another process has
   * it: {@link unwatch}.
   */
  close(fd: number): void {
    this.#deadlines.clear(fd);
    this.#handlers[fd] = undefined;
    this.#generations[fd] = ((this.#generations[fd] ?? 0) + 1) | 0;
    this.libc.close(fd);
    this.#closed += 1;
    this.#open -= 1;
    // Not at once: whoever closes one descriptor most often opens another.
    if (this.#open === 0) setImmediate(() => this.#rest());
  }

  /** Calls `onDeadline` of the handler of `fd` once `afterMs` have passed, in place of a deadline set before. */
  setDeadline(fd: number, afterMs: number): void {
    this.#deadlines.set(fd, afterMs);
  }

  clearDeadline(fd: number): void {
    this.#deadlines.clear(fd);
  }

  /** Runs `task` in this turn if there is time, otherwise in one of the next. A task may be queued once at a time. */
  enqueue(task: Task): void {
    this.#tasks.add(task);
    if (!this.#inTurn) this.#turnAgain();
  }

  /**
   * Obligation of whoever settles a promise, or calls somebody who may: a client's bytes that are there when it is accepted settle one, too.
   * After a call from native code Node (from 26 on) runs promise callbacks only at the next JavaScript that it calls itself: an
   * immediate is the nearest.
   */
  settled(): void {
    this.#owesMicrotasks = true;
    if (!this.#inTurn) this.#turnAgain();
  }

  #start(): void {
    if (this.#epoll !== -1) return;
    this.#epoll = this.libc.epoll_create1(EPOLL_CLOEXEC);
    if (this.#epoll === -1) throw systemError(this.libc.errno(), 'epoll_create1');
    this.#poll = this.libc.poll(this.#epoll, () => this.#onReadable());
  }

  #rest(): void {
    if (this.#open > 0 || this.#epoll === -1) return;
    this.#poll?.close();
    this.#poll = undefined;
    this.libc.close(this.#epoll);
    this.#epoll = -1;
    this.#deadlines.rest();
    this.#onRest();
  }

  #control(operation: number, fd: number, events: number): number {
    const { dataWord } = this.libc.abi.epollEvent;
    this.#event.ints[0] = events;
    this.#event.ints[dataWord] = fd;
    this.#event.ints[dataWord + 1] = this.#generations[fd] ?? 0;
    return this.libc.epoll_ctl(this.#epoll, operation, fd, this.#event.address);
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
    this.watchdog?.onTurnBegin();
    try {
      this.nowMs = performance.now();
      const endMs = this.nowMs + TURN_MS;
      // What has come meanwhile is taken at once: to be woken for it costs more than all the rest of a small message. But promises
      // that have been settled are somebody's next step, and do not wait.
      while (this.#dispatch() > 0) {
        this.#tasks.run(endMs);
        if (this.#owesMicrotasks || this.#tasks.size > 0) return;
        this.nowMs = performance.now();
        if (this.nowMs >= endMs) return;
      }
      this.#tasks.run(endMs);
    } finally {
      this.#inTurn = false;
      this.watchdog?.onTurnEnd();
    }
  }

  #turnAgain(): void {
    if (this.#turnComing) return;
    this.#turnComing = true;
    setImmediate(() => {
      this.#turnComing = false;
      if (this.#tasks.size > 0) this.#turn();
      this.#owesMicrotasks = false;
      if (this.#tasks.size > 0) this.#turnAgain();
    });
  }

  /** @returns how many events there were */
  #dispatch(): number {
    if (this.#epoll === -1) return 0;
    const { words, dataWord } = this.libc.abi.epollEvent;
    const { ints, address } = this.#events;
    const count = this.libc.epoll_wait(this.#epoll, address, EVENTS_PER_WAIT, 0);
    for (let at = 0, end = count * words; at < end; at += words) {
      const fd = ints[at + dataWord] ?? -1;
      if (this.#generations[fd] === ints[at + dataWord + 1]) this.#handlers[fd]?.onEvents(ints[at] ?? 0);
    }
    return count;
  }

  #onDue(fd: number): void {
    this.nowMs = performance.now();
    this.#handlers[fd]?.onDeadline();
  }

  #grow(fd: number): void {
    const larger = new Int32Array(2 ** Math.ceil(Math.log2(fd + 1)));
    larger.set(this.#generations);
    this.#generations = larger;
  }
}

/** How long a turn may go on before everything else in the process gets its chance. Well below the 5 ms that a person could notice. */
const TURN_MS = 2;

/** Events taken by one epoll_wait(2): few enough that dispatching them stays below the length of a turn. What is left is reported by the next. */
const EVENTS_PER_WAIT = 256;

const INITIAL_DESCRIPTORS = 1024;
