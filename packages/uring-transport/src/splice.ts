import type { ProxyError, Splice, SpliceOptions, Transfer } from '@meshgate/core';
import { longestSilenceMs, silenceError } from '@meshgate/core/parts';
import { lostBy, transferOf } from '@meshgate/linux';
import { closePassingOn } from './connection.ts';
import type { UringConnection } from './connection.ts';
import { Flow } from './flow.ts';
import type { FlowOwner } from './flow.ts';
import type { Kernel } from './kernel.ts';
import type { Socket, SocketOwner } from './socket.ts';

/** Carries bytes between two connections until both directions have ended. Owns both from its construction on. */
export class UringSplice implements Splice, FlowOwner, SocketOwner {
  readonly done: Promise<Transfer>;
  readonly #kernel: Kernel;
  readonly #down: UringConnection;
  readonly #up: UringConnection;
  readonly #upward: Flow;
  readonly #downward: Flow;
  readonly #options: SpliceOptions;
  #resolve: (transfer: Transfer) => void = IGNORE;
  #firstByteAt: number | undefined;
  #lastByteAt = performance.now();
  /** When one side had finished sending. */
  #halfClosedAt: number | undefined;
  #over = false;
  #error: ProxyError | undefined;
  #open = 2;

  constructor(kernel: Kernel, down: UringConnection, up: UringConnection, options: SpliceOptions) {
    this.#kernel = kernel;
    this.#down = down;
    this.#up = up;
    this.#options = options;
    this.done = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    const client = down.release();
    const backend = up.release();
    this.#upward = new Flow(kernel, client.socket, backend.socket, this);
    this.#downward = new Flow(kernel, backend.socket, client.socket, this);
    client.socket.owner = this;
    backend.socket.owner = this;
    const lost = client.lost ?? backend.lost;
    if (lost !== undefined) {
      this.cut(lost);
      return;
    }
    this.#watchSilence();
    this.#begin(this.#upward, joined(options.head, client.held));
    this.#begin(this.#downward, backend.held ?? NOTHING);
    if (backend.held !== undefined) this.onArrived(this.#downward);
  }

  get bytesUp(): number {
    return this.#upward.bytesWritten + (this.#over ? this.#upward.to.sentWhileClosing : 0);
  }

  get bytesDown(): number {
    return this.#downward.bytesWritten + (this.#over ? this.#downward.to.sentWhileClosing : 0);
  }

  get lastByteAt(): number {
    return this.#lastByteAt;
  }

  cut(reason: ProxyError): void {
    if (this.#over) return;
    this.#over = true;
    this.#error = reason;
    this.#upward.abandon();
    this.#downward.abandon();
    const { from: client, to: backend } = this.#upward;
    closePassingOn(client, 'downstream', this.#down.remote, reason);
    closePassingOn(backend, 'upstream', this.#up.remote, reason);
  }

  onReceived(socket: Socket, id: number, length: number): boolean {
    return this.#from(socket).onReceived(id, length);
  }

  onEnded(socket: Socket): void {
    this.#from(socket).onEnded();
  }

  onSent(socket: Socket, sent: number): void {
    this.#to(socket).onSent(sent);
  }

  onReadable(socket: Socket): void {
    this.#from(socket).onReadable();
  }

  onWritable(socket: Socket): void {
    this.#to(socket).onWritable();
  }

  onLost(socket: Socket, errno: number): void {
    this.cut(lostBy(errno, socket === this.#upward.from ? 'downstream' : 'upstream'));
  }

  /** The timer is set once a period, not once a read; what came meanwhile postpones it by as much. */
  onDeadline(): void {
    this.#watchSilence();
  }

  onConnected(): void {
    // Both are connected.
  }

  onClosed(): void {
    this.#open -= 1;
    if (this.#open > 0) return;
    this.#resolve(transferOf(this, this.#firstByteAt, this.#error));
    this.#kernel.loop.settled();
  }

  onArrived(flow: Flow): void {
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
    this.#over = true;
    this.#upward.from.close();
    this.#upward.to.close();
  }

  #begin(flow: Flow, bytes: Uint8Array): void {
    if (!this.#over) flow.begin(bytes);
  }

  #watchSilence(): void {
    const halfClosed = this.#halfClosedAt !== undefined;
    const quietSince = Math.max(this.#lastByteAt, this.#halfClosedAt ?? 0);
    const remainingMs = quietSince + longestSilenceMs(this.#options, halfClosed) - performance.now();
    if (remainingMs <= 0) this.cut(silenceError(this.#options, halfClosed));
    else if (remainingMs < Infinity) this.#upward.from.setDeadline(remainingMs);
  }

  #from(socket: Socket): Flow {
    return socket === this.#upward.from ? this.#upward : this.#downward;
  }

  #to(socket: Socket): Flow {
    return socket === this.#upward.to ? this.#upward : this.#downward;
  }
}

function joined(head: Uint8Array, held: Uint8Array | undefined): Uint8Array {
  if (held === undefined) return head;
  return head.length === 0 ? held : Buffer.concat([head, held]);
}

const NOTHING = new Uint8Array(0);

/** In the place of what a promise's executor brings at once. */
const IGNORE = (): void => undefined;
