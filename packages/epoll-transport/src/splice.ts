import { longestSilenceMs, silenceError } from '@meshgate/core/parts';
import type { ProxyError, Splice, SpliceOptions, Transfer } from '@meshgate/core';
import { ECONNRESET, lostBy, transferOf } from '@meshgate/linux';
import type { End } from '@meshgate/linux';
import { closePassingOn } from './connection.ts';
import type { EpollConnection } from './connection.ts';
import { Flow } from './flow.ts';
import type { FlowOwner } from './flow.ts';
import type { Kernel } from './kernel.ts';
import type { Socket, SocketOwner } from './socket.ts';

/** Carries bytes between two connections until both directions have ended. Owns both from its construction on. */
export class EpollSplice implements Splice, FlowOwner, SocketOwner {
  readonly done: Promise<Transfer>;
  readonly #kernel: Kernel;
  readonly #down: EpollConnection;
  readonly #up: EpollConnection;
  readonly #upward: Flow;
  readonly #downward: Flow;
  readonly #options: SpliceOptions;
  #resolve: (transfer: Transfer) => void = IGNORE;
  #firstByteAt: number | undefined;
  #lastByteAt = performance.now();
  /** When one side had finished sending. */
  #halfClosedAt: number | undefined;
  #over = false;

  constructor(kernel: Kernel, down: EpollConnection, up: EpollConnection, options: SpliceOptions) {
    this.#kernel = kernel;
    this.#down = down;
    this.#up = up;
    this.#options = options;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    const { socket: client, lost: clientLost } = down.release();
    const { socket: backend, lost: backendLost } = up.release();
    this.#upward = new Flow(kernel, client, backend, this);
    this.#downward = new Flow(kernel, backend, client, this);
    client.owner = this;
    backend.owner = this;
    const lost = clientLost ?? backendLost;
    if (lost === undefined) this.#start();
    else this.cut(lost);
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

  cut(reason: ProxyError): void {
    if (this.#over) return;
    const { from: client, to: backend } = this.#upward;
    closePassingOn(client, 'downstream', this.#down.remote, reason);
    closePassingOn(backend, 'upstream', this.#up.remote, reason);
    this.#upward.abandon();
    this.#downward.abandon();
    this.#end(reason);
  }

  onReady(socket: Socket): void {
    this.#upward.wake();
    this.#downward.wake();
    // With bytes still waiting for the other side nobody would read on to where the reset stands; and a reset does not wait.
    if (socket.failed) this.#onFailed(socket);
  }

  /** The timer is set once a period, not once a read; what came meanwhile postpones it by as much. */
  onDeadline(): void {
    this.#watchSilence();
  }

  onReceived(flow: Flow): void {
    this.#lastByteAt = this.#kernel.loop.nowMs;
    if (flow === this.#downward) this.#firstByteAt ??= this.#lastByteAt;
  }

  /** Only the first of two directions has to be shut down: the second is, by closing, since nothing is left unread then. */
  onFinished(flow: Flow): void {
    if (!this.#upward.finished || !this.#downward.finished) {
      flow.to.finish();
      this.#halfClosedAt = this.#kernel.loop.nowMs;
      this.#watchSilence();
      return;
    }
    this.#upward.from.close();
    this.#upward.to.close();
    this.#end(undefined);
  }

  onLost(socket: Socket, errno: number): void {
    this.cut(lostBy(errno, this.#endOf(socket)));
  }

  #start(): void {
    this.#watchSilence();
    this.#upward.begin(this.#options.head);
    // What has come since nobody was reading any more; and an end or an error that is known already.
    this.#upward.wake();
    this.#downward.wake();
    for (const socket of [this.#upward.from, this.#upward.to]) if (socket.failed) this.#onFailed(socket);
  }

  #watchSilence(): void {
    const halfClosed = this.#halfClosedAt !== undefined;
    const quietSince = Math.max(this.#lastByteAt, this.#halfClosedAt ?? 0);
    const remainingMs = quietSince + longestSilenceMs(this.#options, halfClosed) - performance.now();
    if (remainingMs <= 0) this.cut(silenceError(this.#options, halfClosed));
    else if (remainingMs < Infinity) this.#upward.from.setDeadline(remainingMs);
  }

  #onFailed(socket: Socket): void {
    const incoming = socket === this.#upward.from ? this.#upward : this.#downward;
    incoming.carry();
    if (!this.#over) this.onLost(socket, socket.takeError() || ECONNRESET);
  }

  #endOf(socket: Socket): End {
    return socket === this.#upward.from ? 'downstream' : 'upstream';
  }

  #end(error: ProxyError | undefined): void {
    this.#over = true;
    this.#resolve(transferOf(this, this.#firstByteAt, error));
    this.#kernel.loop.settled();
  }
}

/** In the place of what a promise's executor brings at once. */
const IGNORE = (): void => undefined;
