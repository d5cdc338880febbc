import { ProxyError } from '@meshgate/core';
import type { Progress, Splice, SpliceOptions, Transfer } from '@meshgate/core';
import { closePassingOn, lostBy } from './connection.ts';
import type { End, EpollConnection } from './connection.ts';
import { Flow } from './flow.ts';
import type { FlowOwner } from './flow.ts';
import { InKernel } from './in-kernel.ts';
import type { Course } from './in-kernel.ts';
import type { Kernel } from './kernel.ts';
import type { Socket, SocketOwner } from './socket.ts';
import { ECONNRESET } from './system-error.ts';

/** Carries bytes between two connections until both directions have ended. Owns both from its construction on. */
export class EpollSplice implements Splice, FlowOwner, SocketOwner {
  readonly done: Promise<Transfer>;
  readonly #kernel: Kernel;
  readonly #down: EpollConnection;
  readonly #up: EpollConnection;
  readonly #upward: Flow;
  readonly #downward: Flow;
  readonly #idleTimeoutMs: number;
  #resolve: (transfer: Transfer) => void = IGNORE;
  #firstByteAt: number | undefined;
  #lastByteAt = performance.now();
  #inKernel: InKernel | undefined;
  #stopping = false;
  /** How much has to be carried here before the kernel takes over. */
  #inKernelAt: number;
  #over = false;

  constructor(kernel: Kernel, down: EpollConnection, up: EpollConnection, { head, idleTimeoutMs }: SpliceOptions) {
    this.#kernel = kernel;
    this.#down = down;
    this.#up = up;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#inKernelAt = kernel.settings.splice === 'sockmap' ? kernel.settings.inKernelAfterBytes : Infinity;
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
    if (lost === undefined) this.#start(head);
    else this.cut(lost);
  }

  get bytesUp(): number {
    return this.#upward.taken + (this.#inKernel?.up.forwarded ?? 0);
  }

  get bytesDown(): number {
    return this.#downward.taken + (this.#inKernel?.down.forwarded ?? 0);
  }

  get lastByteAt(): number {
    if (this.#inKernel !== undefined) this.#lastByteAt = performance.now() - this.#inKernel.quietMs;
    return this.#lastByteAt;
  }

  cut(reason: ProxyError): void {
    if (this.#over) return;
    this.#leaveKernel();
    const { from: client, to: backend } = this.#upward;
    closePassingOn(client, 'downstream', this.#down.remote, reason);
    closePassingOn(backend, 'upstream', this.#up.remote, reason);
    this.#upward.abandon();
    this.#downward.abandon();
    this.#end(reason);
  }

  onReady(socket: Socket): void {
    if (this.#inKernel !== undefined) {
      // To or from a connection that is lost nothing will go out any more: there is nothing to wait for.
      if (socket.failed) this.onLost(socket, socket.takeError() || ECONNRESET);
      else this.#stopKernel(this.#inKernel);
      return;
    }
    this.#upward.wake();
    this.#downward.wake();
    // With bytes still waiting for the other side nobody would read on to where the reset stands; and a reset does not wait.
    if (socket.failed) this.#onFailed(socket);
  }

  /** The timer is set once a period, not once a read; what came meanwhile postpones it by as much. */
  onDeadline(socket: Socket): void {
    const leftMs = this.lastByteAt + this.#idleTimeoutMs - performance.now();
    if (leftMs <= 0) this.cut(new ProxyError('IDLE_TIMEOUT', `no byte either way for ${this.#idleTimeoutMs} ms`));
    else if (this.#inKernel === undefined) socket.setDeadline(leftMs);
    else this.#lookAfter(this.#inKernel);
  }

  onRest(): void {
    if (this.#inKernel !== undefined) return;
    if (this.bytesUp + this.bytesDown < this.#inKernelAt || !this.#upward.atRest || !this.#downward.atRest) return;
    const { from: client, to: backend } = this.#upward;
    this.#inKernel = InKernel.begin(this.#kernel, client, backend);
    if (this.#inKernel === undefined) this.#inKernelAt = Infinity;
    else client.setDeadline(LOOK_AFTER_MS);
  }

  onReceived(flow: Flow): void {
    this.#lastByteAt = this.#kernel.loop.nowMs;
    if (flow === this.#downward) this.#firstByteAt ??= this.#lastByteAt;
  }

  /** Only the first of two directions has to be shut down: the second is, by closing, since nothing is left unread then. */
  onFinished(flow: Flow): void {
    if (!this.#upward.finished || !this.#downward.finished) {
      flow.to.finish();
      return;
    }
    this.#upward.from.close();
    this.#upward.to.close();
    this.#end(undefined);
  }

  onLost(socket: Socket, errno: number): void {
    this.cut(lostBy(errno, this.#endOf(socket)));
  }

  #start(head: Uint8Array): void {
    this.#upward.from.setDeadline(this.#idleTimeoutMs);
    this.#upward.begin(head);
    this.#wakeBoth();
  }

  #onFailed(socket: Socket): void {
    const incoming = socket === this.#upward.from ? this.#upward : this.#downward;
    incoming.carry();
    if (!this.#over) this.onLost(socket, socket.takeError() || ECONNRESET);
  }

  /** The kernel's queue between two sockets has no limit: a receiver that does not keep up is better served from here. */
  #lookAfter(inKernel: InKernel): void {
    const underWay = inKernel.up.underWay + inKernel.down.underWay;
    if (this.#stopping || underWay > MOST_UNDER_WAY_BYTES) this.#stopKernel(inKernel);
    else this.#upward.from.setDeadline(LOOK_AFTER_MS);
  }

  /** To be called until nothing is under way any more: by events, and by the clock, since of what goes out there are none. */
  #stopKernel(inKernel: InKernel): void {
    if (!this.#stopping) inKernel.stop();
    this.#stopping = true;
    this.#takeBack(inKernel.up, this.#upward);
    this.#takeBack(inKernel.down, this.#downward);
    if (!inKernel.up.over || !inKernel.down.over) {
      this.#upward.from.setDeadline(LOOK_AFTER_MS);
      return;
    }
    this.#leaveKernel();
    this.#inKernelAt = this.bytesUp + this.bytesDown + this.#kernel.settings.inKernelAfterBytes;
    this.#upward.from.setDeadline(this.#idleTimeoutMs);
    this.#wakeBoth();
  }

  #takeBack(course: Course, flow: Flow): void {
    if (!course.over && course.underWay === 0) flow.addTaken(course.end());
    if (course.over) flow.wake();
  }

  #leaveKernel(): void {
    const inKernel = this.#inKernel;
    if (inKernel === undefined) return;
    this.#lastByteAt = this.lastByteAt;
    this.#upward.addTaken(inKernel.up.end());
    this.#downward.addTaken(inKernel.down.end());
    inKernel.leave();
    this.#inKernel = undefined;
    this.#stopping = false;
  }

  /** What has come since nobody was reading any more; and an end or an error that is known already. */
  #wakeBoth(): void {
    this.#upward.wake();
    this.#downward.wake();
    for (const socket of [this.#upward.from, this.#upward.to]) if (socket.failed) this.#onFailed(socket);
  }

  #endOf(socket: Socket): End {
    return socket === this.#upward.from ? 'downstream' : 'upstream';
  }

  #end(error: ProxyError | undefined): void {
    this.#over = true;
    this.#resolve(transfer(this, this.#firstByteAt, error));
    this.#kernel.loop.settled();
  }
}

/** Two ticks of the wheel: short enough that little can gather on the way, long enough that looking costs nothing. */
const LOOK_AFTER_MS = 16;

/** What two well-filled socket buffers hold. More means that the receiver does not keep up. */
const MOST_UNDER_WAY_BYTES = 4 * 1024 * 1024;

/** Written out, case by case: spreading optional fields into a literal makes an object of a new shape each time. */
function transfer(progress: Progress, firstByteAt: number | undefined, error: ProxyError | undefined): Transfer {
  const { bytesUp, bytesDown } = progress;
  if (error === undefined)
    return firstByteAt === undefined ? { bytesUp, bytesDown } : { bytesUp, bytesDown, firstByteAt };
  return firstByteAt === undefined ? { bytesUp, bytesDown, error } : { bytesUp, bytesDown, firstByteAt, error };
}

/** In the place of what a promise's executor brings at once. */
const IGNORE = (): void => undefined;
