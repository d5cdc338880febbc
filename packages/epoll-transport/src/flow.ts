import { BULK, EINVAL, NEVER_BULK, paceAfter, SMALL } from '@meshgate/linux';
import type { Direction, DirectionOwner, KernelPace, Pipe, Task } from '@meshgate/linux';
import type { EpollIncoming, EpollOutgoing, EpollSocket } from './socket.ts';

/**
 * One direction of a splice. Small messages are copied: recv(2), send(2). A direction whose reads fill the buffer is
 * bulk, and uses a pipe: splice(2) moves pages without copying, but costs more per message.
 *
 * Nothing is received before all earlier bytes are sent, so that the kernel's backpressure applies: a receiver that
 * does not read fills its buffers, then the sender's, and then the sender waits.
 */
export class EpollFlow implements Direction, EpollIncoming, EpollOutgoing, Task {
  readonly from: EpollSocket;
  readonly to: EpollSocket;
  readonly #owner: DirectionOwner;
  #bytesWritten = 0;
  /** Bytes received and not yet accepted by the kernel. */
  #rest: Uint8Array = NOTHING;
  /** Borrowed while it contains bytes. */
  #pipe: Pipe | undefined;
  #pace: KernelPace = SMALL;
  #finished = false;
  #queued = false;

  /** Starts to receive the events of both sockets. */
  constructor(from: EpollSocket, to: EpollSocket, owner: DirectionOwner) {
    this.from = from;
    this.to = to;
    this.#owner = owner;
    from.incoming = this;
    to.outgoing = this;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  get finished(): boolean {
    return this.#finished;
  }

  begin(bytes: Uint8Array): void {
    this.#rest = bytes;
    if (bytes.length > 0) this.#sendRest();
    // Handles bytes that arrived while there was no reader, and an end or an error that is already known.
    this.wake();
    if (this.from.failed) this.carry();
  }

  /** Requests a slice of the next turn if there is work. */
  wake(): void {
    if (this.#queued || this.#finished || !this.#possible) return;
    this.#queued = true;
    this.to.kernel.turns.enqueue(this);
  }

  run(untilMs: number): boolean {
    this.#queued = false;
    this.carry(untilMs);
    this.#queued = !this.#finished && this.#possible;
    return this.#queued;
  }

  /** Moves bytes in a bounded number of rounds, at least one. Bulk stops at `untilMs`, since its rounds take long. */
  carry(untilMs: number = Infinity): void {
    for (
      let round = this.to.kernel.settings.roundsPerTurn;
      round > 0 && this.#possible && !this.#finished;
      round -= 1
    ) {
      if (this.#holding) this.#sendOn();
      else if (this.#pace >= BULK) this.#receiveIntoPipe();
      else this.#copy();
      if (this.#pace >= BULK && performance.now() >= untilMs) return;
    }
  }

  abandon(): void {
    this.#finished = true;
    this.from.incoming = undefined;
    this.to.outgoing = undefined;
    this.#rest = NOTHING;
    this.#givePipeBack();
  }

  get #holding(): boolean {
    return this.#pipe !== undefined || this.#rest.length > 0;
  }

  get #possible(): boolean {
    if (this.#holding) return this.to.writable;
    return this.from.readable || this.from.ended;
  }

  #sendOn(): void {
    if (this.#pipe === undefined) this.#sendRest();
    else this.#sendFrom(this.#pipe);
    if (this.from.ended) this.#end();
  }

  #copy(): void {
    const { buffer } = this.to.kernel;
    const received = this.from.ended ? 0 : this.from.receive();
    if (received <= 0) {
      this.#nothingCame(received);
      return;
    }
    this.#owner.onReceived(this);
    this.#pace = paceAfter(this.#pace, received === buffer.bytes.length && this.to.kernel.settings.splice !== 'copy');
    const sent = this.to.writable ? this.to.send(buffer.address, received) : 0;
    if (sent < 0) this.#lost(this.to, -sent);
    else this.#count(sent, received);
  }

  /** The buffer is shared: bytes beyond `sent` are copied. */
  #count(sent: number, received: number): void {
    this.#bytesWritten += sent;
    if (sent < received) this.#rest = this.to.kernel.buffer.bytes.slice(sent, received);
    else if (this.from.ended) this.#end();
  }

  #sendRest(): void {
    const { buffer } = this.to.kernel;
    const share = this.#rest.subarray(0, buffer.bytes.length);
    buffer.bytes.set(share);
    const sent = this.to.send(buffer.address, share.length);
    if (sent < 0) {
      this.#lost(this.to, -sent);
      return;
    }
    this.#bytesWritten += sent;
    this.#rest = sent === this.#rest.length ? NOTHING : this.#rest.subarray(sent);
  }

  #receiveIntoPipe(): void {
    const { pipes, settings } = this.to.kernel;
    const pipe = pipes.take();
    if (pipe === undefined) {
      this.#pace = SMALL;
      return;
    }
    const received = this.from.receiveInto(pipe.writeEnd, settings.pipeBytes);
    if (received <= 0) {
      pipes.give(pipe);
      if (received === -EINVAL) this.#pace = NEVER_BULK;
      else this.#nothingCame(received);
      return;
    }
    this.#owner.onReceived(this);
    this.#pace = paceAfter(this.#pace, received >= settings.bufferBytes);
    pipe.bytes = received;
    this.#pipe = pipe;
    if (this.to.writable) this.#sendFrom(pipe);
  }

  #sendFrom(pipe: Pipe): void {
    const sent = this.to.sendFrom(pipe.readEnd, pipe.bytes);
    if (sent < 0) {
      this.#lost(this.to, -sent);
      return;
    }
    this.#bytesWritten += sent;
    pipe.bytes -= sent;
    if (pipe.bytes === 0) this.#givePipeBack();
  }

  #givePipeBack(): void {
    if (this.#pipe !== undefined) this.to.kernel.pipes.give(this.#pipe);
    this.#pipe = undefined;
  }

  #nothingCame(result: number): void {
    if (result < 0) this.#lost(this.from, -result);
    else if (this.from.ended) this.#end();
  }

  #end(): void {
    if (this.#holding || this.#finished) return;
    this.#finished = true;
    this.#owner.onFinished(this);
  }

  #lost(socket: EpollSocket, errno: number): void {
    this.#owner.onLost(socket, errno);
  }
}

const NOTHING = new Uint8Array(0);
