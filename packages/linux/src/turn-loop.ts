import { TaskQueue } from './tasks.ts';
import type { Task } from './tasks.ts';
import { WheelTimer } from './wheel-timer.ts';

/** What the turns of a transport's loop consist of. */
export interface TurnWork {
  /** Whether a turn has something to do beside tasks although no descriptor is readable. */
  readonly pending: boolean;
  /** One share of a turn, with {@link TurnLoop.runTasks} in it. @returns whether more can be done at once */
  share(endMs: number): boolean;
  /** The deadline set under `key` is over, and cleared. */
  onDeadline(key: number): void;
  /** Nothing is open any more: what is kept for the next is to be given back. */
  onRest(): void;
}

/**
 * Turns of a transport's loop inside Node's own event loop: libuv watches one descriptor, and calls {@link TurnLoop.onReadable}. Timers,
 * promises and everything else of the process run in the same thread, between the turns.
 */
export class TurnLoop {
  /** Milliseconds of the monotonic clock, read once a turn. */
  nowMs: number = performance.now();
  /** For tests that measure how long turns take. */
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

  /** @param leastShares of a turn, before tasks and promises that wait end it */
  constructor(work: TurnWork, leastShares: number) {
    this.#work = work;
    this.#leastShares = leastShares;
  }

  /** How many descriptors have been closed so far: when it changes, there may be room for new ones. */
  get closed(): number {
    return this.#closed;
  }

  /** A descriptor is open. */
  opened(): void {
    this.#open += 1;
  }

  /** A descriptor is closed, whose deadline was set under `key`. */
  closedOne(key: number): void {
    this.#deadlines.clear(key);
    this.#closed += 1;
    this.#open -= 1;
    // Not at once: after closing one descriptor, most often another is opened.
    if (this.#open === 0) setImmediate(() => this.#rest());
  }

  /** Calls `onDeadline` with `key` once `afterMs` have passed, in place of a deadline set before. */
  setDeadline(key: number, afterMs: number): void {
    this.#deadlines.set(key, afterMs);
  }

  /** Idempotent. */
  clearDeadline(key: number): void {
    this.#deadlines.clear(key);
  }

  /** Runs `task` in this turn if there is time, otherwise in one of the next. A task may be queued once at a time. */
  enqueue(task: Task): void {
    this.#tasks.add(task);
    this.wake();
  }

  /**
   * Must be called after settling a promise, and after calling anybody who may. After a callback from native code Node (from 26 on) runs
   * promise callbacks only before the next JavaScript that it calls itself: an immediate is the nearest.
   */
  afterMicrotasks(): void {
    this.#needsMicrotasks = true;
    this.wake();
  }

  /** Makes sure that a turn comes soon, if this is none. */
  wake(): void {
    if (!this.#inTurn) this.#turnAgain();
  }

  /** The queued tasks, until `endMs`. */
  runTasks(endMs: number): void {
    this.#tasks.run(endMs);
  }

  /** Called from native code: an error must not return there, it would end the process without its handlers. */
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
      // What has come meanwhile is handled at once: a wake-up costs more than the rest of a small message. But settled promises are
      // somebody's next step, and do not wait.
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

/** How long a turn may take before everything else in the process gets its chance: well below the 5 ms that a person could notice. */
const TURN_MS = 2;
