import { TaskQueue } from './tasks.ts';
import type { Task } from './tasks.ts';
import { WheelTimer } from './wheel-timer.ts';

/** The transport-specific parts of a turn. */
export interface TurnWork {
  /** Whether a turn may have work other than tasks although no descriptor is readable. */
  readonly pending: boolean;
  /** Runs one slice of a turn, including {@link TurnLoop.runTasks}. @returns whether more can be done at once */
  share(endMs: number): boolean;
  /** Called when the deadline of `key` has expired and been cleared. */
  onDeadline(key: number): void;
  /** Called when nothing is open any more: releases cached resources. */
  onRest(): void;
}

/**
 * The turns of a transport's loop inside Node's event loop: libuv watches one descriptor and calls {@link
 * TurnLoop.onReadable}. Timers, promises and everything else of the process run in the same thread, between the turns.
 */
export class TurnLoop {
  /** Monotonic clock in milliseconds, read once per turn. */
  nowMs: number = performance.now();
  /** For tests that measure the length of turns. */
  watchdog: { onTurnBegin(): void; onTurnEnd(): void } | undefined;
  readonly #work: TurnWork;
  readonly #leastShares: number;
  readonly #tasks = new TaskQueue();
  readonly #deadlines = new WheelTimer((key) => this.#onDue(key));
  #open = 0;
  #closed = 0;
  #turnComing = false;
  #inTurn = false;
  #needsMicrotasks = false;

  /** @param leastShares minimum slices of a turn, before waiting tasks and promises end it */
  constructor(work: TurnWork, leastShares: number) {
    this.#work = work;
    this.#leastShares = leastShares;
  }

  /** Number of closed descriptors: when it changes, new ones may be available. */
  get closed(): number {
    return this.#closed;
  }

  /** Counts an opened descriptor. */
  opened(): void {
    this.#open += 1;
  }

  /** Counts a closed descriptor, and clears the deadline of `key`. */
  closedOne(key: number): void {
    this.#deadlines.clear(key);
    this.#closed += 1;
    this.#open -= 1;
    // Deferred: closing one descriptor is usually followed by opening another.
    if (this.#open === 0) setImmediate(() => this.#rest());
  }

  /** Calls `onDeadline` with `key` after `afterMs`, replacing an earlier deadline. */
  setDeadline(key: number, afterMs: number): void {
    this.#deadlines.set(key, afterMs);
  }

  /** Clears the deadline of `key`. Idempotent. */
  clearDeadline(key: number): void {
    this.#deadlines.clear(key);
  }

  /** Runs `task` in this turn if there is time, otherwise in a later one. A task must not be queued twice. */
  enqueue(task: Task): void {
    this.#tasks.add(task);
    this.wake();
  }

  /**
   * Must be called after settling a promise, or calling anything that may settle one. After a callback from native
   * code, Node (since 26) runs promise callbacks only before its own next JavaScript call: an immediate is the nearest
   * one.
   */
  afterMicrotasks(): void {
    this.#needsMicrotasks = true;
    this.wake();
  }

  /** Schedules a turn, unless one is running. */
  wake(): void {
    if (!this.#inTurn) this.#turnAgain();
  }

  /** Runs the queued tasks until `endMs`. */
  runTasks(endMs: number): void {
    this.#tasks.run(endMs);
  }

  /** Called from native code: an exception thrown from there would end the process without its handlers. */
  onReadable(): void {
    try {
      this.#turn();
    } catch (error) {
      setImmediate(() => {
        throw error;
      });
    }
    if (this.#needsMicrotasks || this.#tasks.size > 0) this.#turnAgain();
  }

  #turn(): void {
    this.#inTurn = true;
    this.watchdog?.onTurnBegin();
    try {
      this.nowMs = performance.now();
      const endMs = this.nowMs + TURN_MS;
      // New events are handled at once, since a wake-up costs more than the rest of a small message. But settled
      // promises continue other work and must not wait.
      for (let share = 1; this.#work.share(endMs); share += 1) {
        if (share >= this.#leastShares && (this.#needsMicrotasks || this.#tasks.size > 0)) return;
        this.nowMs = performance.now();
        if (this.nowMs >= endMs) return;
      }
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
      // Promise callbacks run before this turn and after it.
      this.#needsMicrotasks = false;
      if (this.#work.pending || this.#tasks.size > 0) this.#turn();
      this.#needsMicrotasks = false;
      if (this.#tasks.size > 0) this.#turnAgain();
    });
  }

  #onDue(key: number): void {
    this.nowMs = performance.now();
    this.#work.onDeadline(key);
  }

  #rest(): void {
    if (this.#open > 0) return;
    this.#deadlines.rest();
    this.#work.onRest();
  }
}

/** Maximum length of a turn before the rest of the process runs: well below a noticeable 5 ms. */
const TURN_MS = 2;
