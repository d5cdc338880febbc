import { Deadline } from '../pipeline/deadlines.ts';
import type { Deadlines, DeadlinesByLength } from '../pipeline/deadlines.ts';
import type { ProxyError } from '../errors.ts';
import type { NodeConnection, Sink } from './node-connection.ts';
import { isHarmlessLoss } from './harmless-loss.ts';
import { timerMs } from '../watch/scope.ts';
import { longestSilenceMs, silenceError } from './silence.ts';
import type { Splice, SpliceOptions, Transfer } from './transport.ts';

/** State shared by all splices of a transport. */
export interface SpliceTimers {
  /** Deadlines that call {@link NodeSplice.keepAlive} of splices that have lasted for a while. */
  readonly lasting: Deadlines<NodeSplice>;
  /** Deadlines that call {@link NodeSplice.onQuiet}. */
  readonly silence: DeadlinesByLength<NodeSplice>;
}

/** State of a splice that may hand its downstream back to the caller when its upstream ends. */
interface Returning {
  /** Deadline for handing back, in milliseconds of the monotonic clock. */
  readonly untilMs: number;
  /** Whether the downstream is the caller's as soon as the upstream is closed. */
  isHandedBack: boolean;
}

/** Carries bytes between two sockets until both directions have ended. Owns both sockets from its construction on. */
export class NodeSplice implements Splice, Sink {
  readonly done: Promise<Transfer>;
  readonly #down: NodeConnection;
  readonly #up: NodeConnection;
  /** Copied, since the options object would keep the head in memory. */
  readonly idleTimeoutMs: number;
  readonly halfCloseTimeoutMs: number | undefined;
  readonly #timers: SpliceTimers;
  readonly #lasts = new Deadline<NodeSplice>(this);
  /** Deadline of the first check for silence. */
  readonly #silence = new Deadline<NodeSplice>(this);
  #resolve: (transfer: Transfer) => void = () => undefined;
  /** Replaces `#silence` once that has expired: most connections have ended by then. */
  #quietTimer: NodeJS.Timeout | undefined;
  #firstByteAt: number | undefined;
  #lastByteAt = performance.now();
  /** Time at which one side finished sending. */
  #halfClosedAt: number | undefined;
  /** The side that finished sending first. */
  #finishedFirst: NodeConnection | undefined;
  /** Bytes received from the client and from the backend: cheaper to read than the bytes that the kernel has taken. */
  #receivedUp = 0;
  #receivedDown = 0;
  /** The same counts at the time at which one side finished. */
  #upAtEnd = 0;
  #downAtEnd = 0;
  #error: ProxyError | undefined;
  /** Absent once the downstream can no longer be handed back. */
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

  /** Enables TCP keepalive on both sides. */
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
    // A reset after both directions have finished is harmless.
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

  /** Hands the downstream back if possible. @returns `false` if the downstream must be closed with the upstream */
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

  /** Checks for silence once per period instead of once per read; a byte in the meantime postpones the next check. */
  onQuiet(): void {
    const halfClosed = this.#halfClosedAt !== undefined;
    const quietSince = Math.max(this.#lastByteAt, this.#halfClosedAt ?? 0);
    const remainingMs = quietSince + longestSilenceMs(this, halfClosed) - performance.now();
    if (remainingMs <= 0) this.cut(silenceError(this, halfClosed));
    else this.#quietTimer = setTimeout(onQuiet, timerMs(remainingMs), this);
  }
}

function onQuiet(splice: NodeSplice): void {
  splice.onQuiet();
}
