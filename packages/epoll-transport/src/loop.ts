import { EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, systemError, TurnLoop } from '@meshgate/linux';
import type { Libc, Memory, TurnWork } from '@meshgate/linux';

/** Callbacks of one file descriptor. */
export interface EpollHandler {
  /** `events` as in epoll_ctl(2). */
  onEvents(events: number): void;
  /** Called when its deadline has expired and been cleared. */
  onDeadline(): void;
}

/**
 * One epoll instance inside Node's event loop. An epoll descriptor can itself be polled (epoll(7), "Questions and
 * answers", 3), so that libuv calls the loop when any of its descriptors is ready; timers, promises and everything else
 * of the process run in the same thread.
 *
 * The loop is open, and keeps the process alive, while it has descriptors. With the last one, it releases everything.
 */
export class Loop implements TurnWork {
  readonly libc: Libc;
  readonly turns: TurnLoop = new TurnLoop(this, 1);
  /** Without a wake-up, a turn only has tasks. */
  readonly pending = false;
  readonly #onRest: () => void;
  readonly #events: Memory;
  readonly #event: Memory;
  readonly #handlers: (EpollHandler | undefined)[] = [];
  /** Generation of each descriptor number, so that an event for a closed descriptor never reaches its successor. */
  #generations = new Int32Array(INITIAL_DESCRIPTORS);
  #epoll = -1;
  #poll: { close(): void } | undefined;

  /** @param onRest called when the last descriptor has been closed */
  constructor(libc: Libc, onRest: () => void) {
    this.libc = libc;
    this.#onRest = onRest;
    this.#events = libc.allocate(EVENTS_PER_WAIT * libc.abi.epollEvent.words * 4);
    this.#event = libc.allocate(libc.abi.epollEvent.words * 4);
  }

  /**
   * Watches `fd` until {@link close}, and takes ownership of it.
   *
   * @throws the system's error, with `fd` closed
   */
  add(fd: number, events: number, handler: EpollHandler): void {
    this.#start();
    if (fd >= this.#generations.length) this.#grow(fd);
    this.turns.opened();
    this.#handlers[fd] = handler;
    if (this.#control(EPOLL_CTL_ADD, fd, events) === 0) return;
    const error = systemError(this.libc.errno(), 'epoll_ctl');
    this.close(fd);
    throw error;
  }

  /** Changes the watched events. */
  modify(fd: number, events: number): void {
    this.#control(EPOLL_CTL_MOD, fd, events);
  }

  /**
   * Stops watching `fd` before it is closed: a socket that another process shares stays in epoll after close(2)
   * (epoll(7)).
   */
  unwatch(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd, 0);
  }

  /**
   * Closes `fd` and drops its pending events. Closing also removes it from epoll (epoll(7)), unless another process
   * shares it: {@link unwatch}.
   */
  close(fd: number): void {
    this.#handlers[fd] = undefined;
    this.#generations[fd] = ((this.#generations[fd] ?? 0) + 1) | 0;
    this.libc.close(fd);
    this.turns.closedOne(fd);
  }

  /**
   * @returns whether there were events: there may be more by now
   */
  share(endMs: number): boolean {
    const count = this.#dispatch();
    this.turns.runTasks(endMs);
    return count > 0;
  }

  onDeadline(fd: number): void {
    this.#handlers[fd]?.onDeadline();
  }

  onRest(): void {
    if (this.#epoll === -1) return;
    this.#poll?.close();
    this.#poll = undefined;
    this.libc.close(this.#epoll);
    this.#epoll = -1;
    this.#onRest();
  }

  #start(): void {
    if (this.#epoll !== -1) return;
    this.#epoll = this.libc.epoll_create1(EPOLL_CLOEXEC);
    if (this.#epoll === -1) throw systemError(this.libc.errno(), 'epoll_create1');
    this.#poll = this.libc.poll(this.#epoll, () => this.turns.onReadable());
  }

  #control(operation: number, fd: number, events: number): number {
    const { dataWord } = this.libc.abi.epollEvent;
    this.#event.ints[0] = events;
    this.#event.ints[dataWord] = fd;
    this.#event.ints[dataWord + 1] = this.#generations[fd] ?? 0;
    return this.libc.epoll_ctl(this.#epoll, operation, fd, this.#event.address);
  }

  /** @returns the number of events */
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

  #grow(fd: number): void {
    const larger = new Int32Array(2 ** Math.ceil(Math.log2(fd + 1)));
    larger.set(this.#generations);
    this.#generations = larger;
  }
}

/**
 * Events per epoll_wait(2): few enough that dispatching them stays below the length of a turn. The next call reports
 * the rest.
 */
const EVENTS_PER_WAIT = 256;

const INITIAL_DESCRIPTORS = 1024;
