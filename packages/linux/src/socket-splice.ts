import { isHarmlessLoss, longestSilenceMs, silenceError } from '@meshgate/core/parts';
import type { Carried } from '@meshgate/core/parts';
import type { ProxyError, Splice, SpliceOptions, Stall, Transfer } from '@meshgate/core';
import { closePassingOn, lostBy } from './connection-loss.ts';
import type { SocketConnection } from './socket-connection.ts';
import type { SocketOwner, StreamSocket, TransportKernel } from './stream-socket.ts';
import { ECONNRESET } from './system-error.ts';
import { transferOf } from './transfer.ts';
import { whyStalled } from './tcp-state.ts';
import type { Sockets } from './sockets.ts';
import type { TurnLoop } from './turn-loop.ts';

/** One direction of a splice. */
export interface Direction {
  readonly from: StreamSocket;
  readonly to: StreamSocket;
  /** Bytes that the kernel has accepted for `to`. */
  readonly bytesWritten: number;
  /** Whether everything has been received and sent. */
  readonly finished: boolean;
  /** Starts the direction with `bytes`, which are sent before anything received. */
  begin(bytes: Uint8Array): void;
  /** Releases its resources and detaches from the sockets, which it does not own. */
  abandon(): void;
}

/** Callbacks of a direction. */
export interface DirectionOwner {
  /** Called when bytes have arrived from `direction.from`. */
  onReceived(direction: Direction): void;
  /**
   * Called when the kernel has accepted all bytes from `direction.from` for `direction.to`, and no more will follow.
   */
  onFinished(direction: Direction): void;
  /** Called when a connection is lost, with the errno. */
  onLost(socket: StreamSocket, errno: number): void;
}

/** State at the first end of stream. */
interface FirstEnd {
  /** The side that has finished sending. */
  readonly of: StreamSocket;
  /** Time of that end; monotonic milliseconds. */
  readonly at: number;
  /** Bytes carried until then. */
  readonly carried: Carried;
}

/** Creates the direction from one socket to the other; both sockets deliver their events to it. */
type CreateDirection<Socket> = (from: Socket, to: Socket, owner: DirectionOwner) => Direction;

/** State of a splice that may hand its downstream back to the caller when its upstream ends. */
interface SpliceReturn {
  readonly downstream: Pick<SocketConnection<TransportKernel, StreamSocket>, 'reclaim' | 'destroy'>;
  /** Deadline for handing back, in milliseconds of the monotonic clock. */
  readonly untilMs: number;
  /** Whether the downstream is the caller's as soon as the upstream is closed. */
  isHandedBack: boolean;
}

/** Carries bytes between two connections until both directions have ended. Owns both from its construction on. */
export class SocketSplice<Kernel extends TransportKernel, Socket extends StreamSocket>
  implements Splice, DirectionOwner, SocketOwner
{
  readonly done: Promise<Transfer>;
  readonly #turns: TurnLoop;
  readonly #sockets: Sockets;
  readonly #upward: Direction;
  readonly #downward: Direction;
  /** As in the options, in milliseconds. Copied, since keeping the options would keep the head. */
  readonly idleTimeoutMs: number;
  /** As in the options, in milliseconds; copied for the same reason. */
  readonly halfCloseTimeoutMs: number | undefined;
  #resolve: (transfer: Transfer) => void = IGNORE;
  #firstByteAt: number | undefined;
  #lastByteAt = performance.now();
  /** Set once one side has finished sending. */
  #firstEnd: FirstEnd | undefined;
  #over = false;
  #error: ProxyError | undefined;
  /** Absent once the downstream can no longer be handed back. */
  #returning: SpliceReturn | undefined;
  /** Number of open descriptors. */
  #open = 2;

  constructor(
    down: SocketConnection<Kernel, Socket>,
    up: SocketConnection<Kernel, Socket>,
    options: SpliceOptions,
    direction: CreateDirection<Socket>,
  ) {
    const [client, backend] = [down.release(), up.release()];
    this.#turns = down.kernel.turns;
    this.#sockets = down.kernel.sockets;
    this.idleTimeoutMs = options.idleTimeoutMs;
    this.halfCloseTimeoutMs = options.halfCloseTimeoutMs;
    const { handBackUntilMs: untilMs } = options;
    if (untilMs !== undefined) this.#returning = { downstream: down, untilMs, isHandedBack: false };
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#upward = direction(client.socket, backend.socket, this);
    this.#downward = direction(backend.socket, client.socket, this);
    client.socket.owner = this;
    backend.socket.owner = this;
    const lost = client.lost ?? backend.lost;
    if (lost === undefined) this.#start(options.head);
    else if (client.lost !== undefined || !this.#handBack(lost)) this.cut(lost);
  }

  get bytesUp(): number {
    return this.#upward.bytesWritten;
  }

  get bytesDown(): number {
    return this.#downward.bytesWritten;
  }

  get lastByteAt(): number {
    return this.#lastByteAt;
  }

  stalled(): Stall | undefined {
    const { from: client, to: backend } = this.#upward;
    const reason = this.#whyStalled(backend);
    if (reason !== undefined) return { side: 'upstream', reason };
    const ofClient = this.#whyStalled(client);
    return ofClient === undefined ? undefined : { side: 'downstream', reason: ofClient };
  }

  cut(reason: ProxyError): void {
    if (this.#returning?.isHandedBack === true) this.#cutHandedBack(this.#returning, reason);
    if (this.#over) return;
    this.#over = true;
    this.#error = reason;
    this.#upward.abandon();
    this.#downward.abandon();
    closePassingOn(this.#upward.from, 'downstream', reason);
    closePassingOn(this.#upward.to, 'upstream', reason);
  }

  /** Reports a lost connection; the two directions handle all other events themselves. */
  onReady(socket: StreamSocket): void {
    if (socket.failed && !this.#over) this.onLost(socket, socket.takeError() || ECONNRESET);
  }

  /** Set once per period instead of once per read; traffic in between postpones it. */
  onDeadline(): void {
    this.#watchSilence();
  }

  onClosed(): void {
    this.#open -= 1;
    if (this.#open > 0) return;
    const transfer = transferOf(this, this.#firstByteAt, this.#error);
    this.#resolve(this.#returning?.isHandedBack === true ? { ...transfer, handedBack: true } : transfer);
    this.#returning = undefined;
    this.#turns.afterMicrotasks();
  }

  onReceived(direction: Direction): void {
    this.#lastByteAt = this.#turns.nowMs;
    this.#returning = undefined;
    if (direction === this.#downward) this.#firstByteAt ??= this.#lastByteAt;
  }

  /** Only the first direction to finish needs a shutdown: the second ends with the close, with nothing left unread. */
  onFinished(direction: Direction): void {
    if (direction === this.#downward && this.#handBack()) return;
    this.#returning = undefined;
    if (!this.#upward.finished || !this.#downward.finished) {
      direction.to.finish();
      const { bytesUp, bytesDown } = this;
      this.#firstEnd = { of: direction.from, at: this.#turns.nowMs, carried: { bytesUp, bytesDown } };
      this.#watchSilence();
      return;
    }
    this.#endWell();
  }

  onLost(socket: StreamSocket, errno: number): void {
    const first = this.#firstEnd;
    if (first?.of === socket && isHarmlessLoss(this, first.carried)) {
      this.#endWell();
      return;
    }
    const error = lostBy(errno, socket === this.#upward.from ? 'downstream' : 'upstream');
    if (socket === this.#upward.from || !this.#handBack(error)) this.cut(error);
  }

  #start(head: Uint8Array): void {
    this.#watchSilence();
    this.#upward.begin(head);
    if (!this.#over) this.#downward.begin(NOTHING);
    for (const socket of [this.#upward.from, this.#upward.to]) this.onReady(socket);
  }

  /** Hands the downstream back if possible. @returns `false` if the downstream must be closed with the upstream */
  #handBack(error?: ProxyError): boolean {
    const returning = this.#returning;
    if (returning === undefined || this.#over || performance.now() >= returning.untilMs) return false;
    this.#over = true;
    this.#error = error;
    this.#upward.abandon();
    this.#downward.abandon();
    returning.isHandedBack = true;
    // The downstream stays open.
    this.#open -= 1;
    returning.downstream.reclaim();
    this.#upward.to.close();
    return true;
  }

  /** Closes a downstream that was handed back but has no owner yet, since the upstream is not closed. */
  #cutHandedBack({ downstream }: SpliceReturn, reason: ProxyError): void {
    this.#returning = undefined;
    this.#error = reason;
    downstream.destroy(reason);
  }

  #endWell(): void {
    if (this.#over) return;
    this.#over = true;
    this.#upward.abandon();
    this.#downward.abandon();
    this.#upward.from.close();
    this.#upward.to.close();
  }

  #whyStalled({ fd, closed }: StreamSocket): string | undefined {
    // The descriptor may have been reused.
    const state = closed || this.#over ? undefined : this.#sockets.tcpState(fd);
    return state && whyStalled(state);
  }

  #watchSilence(): void {
    const halfClosed = this.#firstEnd !== undefined;
    const quietSince = Math.max(this.#lastByteAt, this.#firstEnd?.at ?? 0);
    const remainingMs = quietSince + longestSilenceMs(this, halfClosed) - performance.now();
    if (remainingMs <= 0) this.cut(silenceError(this, halfClosed));
    else if (remainingMs < Infinity) this.#upward.from.setDeadline(remainingMs);
  }
}

/** Replaced synchronously by the promise's executor. */
const IGNORE = (): void => undefined;

const NOTHING = new Uint8Array(0);
