import { Deadline } from '../pipeline/deadlines.ts';
import type { Deadlines } from '../pipeline/deadlines.ts';
import type { ProxyError } from '../errors.ts';
import type { NodeConnection, Sink } from './node-connection.ts';
import { longestSilenceMs, silenceError } from './silence.ts';
import type { Splice, SpliceOptions, Transfer } from './transport.ts';

/** Carries bytes between two sockets until both have ended. Owns both from its construction on. */
export class NodeSplice implements Splice, Sink {
  readonly done: Promise<Transfer>;
  readonly #down: NodeConnection;
  readonly #up: NodeConnection;
  readonly #options: SpliceOptions;
  readonly #lasts = new Deadline<NodeSplice>(this);
  #resolve: (transfer: Transfer) => void = () => undefined;
  #idleTimer: NodeJS.Timeout;
  #firstByteAt: number | undefined;
  #lastByteAt = performance.now();
  /** When one side had finished sending. */
  #halfClosedAt: number | undefined;
  #error: ProxyError | undefined;
  #open = 2;

  /** @param lasting calls {@link keepAlive} when it has gone on for a while */
  constructor(down: NodeConnection, up: NodeConnection, options: SpliceOptions, lasting: Deadlines<NodeSplice>) {
    this.#down = down;
    this.#up = up;
    this.#options = options;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#idleTimer = timer(this, longestSilenceMs(options, false));
    this.#lasts.begin(lasting, this.#lastByteAt);
    if (options.head.length > 0) up.push(options.head);
    down.pipeInto(this);
    up.pipeInto(this);
  }

  get bytesUp(): number {
    return this.#up.bytesWritten;
  }

  get bytesDown(): number {
    return this.#down.bytesWritten;
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
    this.#error ??= reason;
    this.#down.destroy(reason);
    this.#up.destroy(reason);
  }

  onBytes(from: NodeConnection, bytes: Uint8Array): void {
    this.#lastByteAt = performance.now();
    if (from === this.#up) this.#firstByteAt ??= this.#lastByteAt;
    if (!this.#otherThan(from).push(bytes)) from.pause();
  }

  onEnd(from: NodeConnection): void {
    this.#halfClosedAt ??= performance.now();
    clearTimeout(this.#idleTimer);
    this.onQuiet();
    this.#otherThan(from).end();
  }

  onDrained(to: NodeConnection): void {
    this.#otherThan(to).resume();
  }

  onLost(connection: NodeConnection, error: ProxyError): void {
    // A reset after both directions had finished takes nothing away from anybody.
    if (!connection.finished) this.cut(error);
  }

  onClosed(): void {
    this.#open -= 1;
    if (this.#open > 0) return;
    clearTimeout(this.#idleTimer);
    this.#lasts.end();
    const { bytesUp, bytesDown } = this;
    this.#resolve({ bytesUp, bytesDown, firstByteAt: this.#firstByteAt, error: this.#error });
  }

  #otherThan(connection: NodeConnection): NodeConnection {
    return connection === this.#down ? this.#up : this.#down;
  }

  /** The timer is set once a period, not once a read; what came meanwhile postpones it by as much. */
  onQuiet(): void {
    const halfClosed = this.#halfClosedAt !== undefined;
    const quietSince = Math.max(this.#lastByteAt, this.#halfClosedAt ?? 0);
    const remainingMs = quietSince + longestSilenceMs(this.#options, halfClosed) - performance.now();
    if (remainingMs <= 0) this.cut(silenceError(this.#options, halfClosed));
    else this.#idleTimer = timer(this, remainingMs);
  }
}

function timer(splice: NodeSplice, afterMs: number): NodeJS.Timeout {
  return setTimeout(onQuiet, Math.min(afterMs, LONGEST_TIMER_MS), splice);
}

function onQuiet(splice: NodeSplice): void {
  splice.onQuiet();
}

/** Beyond it Node's timers fire at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;
