import { Deadline, LONGEST_TIMER_MS } from '../pipeline/deadlines.ts';
import type { Deadlines, DeadlinesByLength } from '../pipeline/deadlines.ts';
import type { ProxyError } from '../errors.ts';
import type { NodeConnection, Sink } from './node-connection.ts';
import { isHarmlessLoss } from './harmless-loss.ts';
import { longestSilenceMs, silenceError } from './silence.ts';
import type { Splice, SpliceOptions, Transfer } from './transport.ts';

/** What all splices of a transport share. */
export interface SpliceTimers {
  /** Calls {@link NodeSplice.keepAlive} of those that have gone on for a while. */
  readonly lasting: Deadlines<NodeSplice>;
  /** Calls {@link NodeSplice.onQuiet}. */
  readonly silence: DeadlinesByLength<NodeSplice>;
}

/** How a splice may leave its downstream to the caller, once its upstream has ended. */
interface Returning {
  /** In milliseconds of the monotonic clock. */
  readonly untilMs: number;
  /** It is the caller's as soon as the upstream is closed. */
  isHandedBack: boolean;
}

/** Carries bytes between two sockets until both have ended. Owns both from its construction on. */
export class NodeSplice implements Splice, Sink {
  readonly done: Promise<Transfer>;
  readonly #down: NodeConnection;
  readonly #up: NodeConnection;
  /** Not the options themselves: they would live as long, head and all. */
  readonly idleTimeoutMs: number;
  readonly halfCloseTimeoutMs: number | undefined;
  readonly #timers: SpliceTimers;
  readonly #lasts = new Deadline<NodeSplice>(this);
  /** Until somebody has to look whether it is silent. */
  readonly #silence = new Deadline<NodeSplice>(this);
  #resolve: (transfer: Transfer) => void = () => undefined;
  /** Instead of `#silence`, once that has passed: most connections have ended by then. */
  #quietTimer: NodeJS.Timeout | undefined;
  #firstByteAt: number | undefined;
  #lastByteAt = performance.now();
  /** When one side had finished sending. */
  #halfClosedAt: number | undefined;
  /** That side. */
  #finishedFirst: NodeConnection | undefined;
  /** Received from the client and from the backend: cheaper to ask for than what the kernel has taken. */
  #receivedUp = 0;
  #receivedDown = 0;
  /** The same by the time that one side had finished. */
  #upAtEnd = 0;
  #downAtEnd = 0;
  #error: ProxyError | undefined;
  /** Absent once the downstream cannot be handed back any more. */
  #returning: Returning | undefined;
  #open = 2;

  constructor(down: NodeConnection, up: NodeConnection, options: SpliceOptions, timers: SpliceTimers) {
    this.#timers = timers;
    this.#down = down;
    this.#up = up;
    this.idleTimeoutMs = options.idleTimeoutMs;
    this.halfCloseTimeoutMs = options.halfCloseTimeoutMs;
    const { handBackUntilMs: untilMs } = options;
    if (untilMs !== undefined) this.#returning = { untilMs, isHandedBack: false };
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#silence.begin(timers.silence.of(longestSilenceMs(this, false)), this.#lastByteAt);
    this.#lasts.begin(timers.lasting, this.#lastByteAt);
    if (options.head.length > 0) up.push(options.head);
    down.pipeInto(this);
    up.pipeInto(this);
  }

  get bytesUp(): number {
    return this.#up.bytesCarried;
  }

  get bytesDown(): number {
    return this.#down.bytesCarried;
  }

  get lastByteAt(): number {
    return this.#lastByteAt;
  }

  /** From now on the system asks peers that are silent whether they are still there. */
  keepAlive(): void {
    this.#down.keepAlive();
    this.#up.keepAlive();
  }

  cut(reason: ProxyError): void {
    if (this.#open === 0) return;
    if (this.#returning?.isHandedBack === true) this.#error = reason;
    this.#error ??= reason;
    this.#returning = undefined;
    this.#down.destroy(reason);
    this.#up.destroy(reason);
  }

  onBytes(from: NodeConnection, bytes: Uint8Array): boolean {
    this.#lastByteAt = performance.now();
    this.#returning = undefined;
    if (from === this.#up) {
      this.#firstByteAt ??= this.#lastByteAt;
      this.#receivedDown += bytes.length;
    } else this.#receivedUp += bytes.length;
    const to = this.#otherThan(from);
    if (!to.push(bytes)) from.pause();
    return to.isDrained;
  }

  onEnd(from: NodeConnection): void {
    if (from === this.#up && this.#handBack()) return;
    this.#returning = undefined;
    if (this.#halfClosedAt === undefined) this.#onHalfClosed(from);
    this.#otherThan(from).end();
  }

  onDrained(to: NodeConnection): void {
    this.#otherThan(to).resume();
  }

  onLost(connection: NodeConnection, error: ProxyError): void {
    // A reset after both directions had finished takes nothing away from anybody.
    if (connection.finished || (connection === this.#up && this.#handBack(error))) return;
    if (connection !== this.#finishedFirst || !this.#isHarmless) this.cut(error);
    else this.#otherThan(connection).destroy();
  }

  onClosed(): void {
    this.#open -= 1;
    if (this.#open > 0) return;
    clearTimeout(this.#quietTimer);
    this.#silence.end();
    this.#lasts.end();
    const { bytesUp, bytesDown } = this;
    const transfer = { bytesUp, bytesDown, firstByteAt: this.#firstByteAt, error: this.#error };
    this.#resolve(this.#returning?.isHandedBack === true ? { ...transfer, handedBack: true } : transfer);
  }

  /** @returns `false` when the downstream has to go the way of the upstream */
  #handBack(error?: ProxyError): boolean {
    const returning = this.#returning;
    if (returning === undefined || performance.now() >= returning.untilMs) return false;
    returning.isHandedBack = true;
    this.#error = error;
    this.#open -= 1;
    this.#down.unpipe();
    this.#up.destroy();
    return true;
  }

  get #isHarmless(): boolean {
    const now = { bytesUp: this.#receivedUp, bytesDown: this.#receivedDown };
    return isHarmlessLoss(now, { bytesUp: this.#upAtEnd, bytesDown: this.#downAtEnd });
  }

  #otherThan(connection: NodeConnection): NodeConnection {
    return connection === this.#down ? this.#up : this.#down;
  }

  #onHalfClosed(from: NodeConnection): void {
    const now = performance.now();
    this.#finishedFirst = from;
    this.#upAtEnd = this.#receivedUp;
    this.#downAtEnd = this.#receivedDown;
    this.#halfClosedAt = now;
    clearTimeout(this.#quietTimer);
    this.#silence.begin(this.#timers.silence.of(longestSilenceMs(this, true)), now);
  }

  /** Looks whether it has been silent for too long, once a period and not once a read; a byte that came meanwhile postpones that. */
  onQuiet(): void {
    const halfClosed = this.#halfClosedAt !== undefined;
    const quietSince = Math.max(this.#lastByteAt, this.#halfClosedAt ?? 0);
    const remainingMs = quietSince + longestSilenceMs(this, halfClosed) - performance.now();
    if (remainingMs <= 0) this.cut(silenceError(this, halfClosed));
    else this.#quietTimer = setTimeout(onQuiet, Math.min(remainingMs, LONGEST_TIMER_MS), this);
  }
}

function onQuiet(splice: NodeSplice): void {
  splice.onQuiet();
}
