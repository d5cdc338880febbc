import { BULK, EINVAL, NEVER_BULK, paceAfter, SMALL } from '@meshgate/linux';
import type { Direction, DirectionOwner, KernelPace, Pipe, Task } from '@meshgate/linux';
import type { UringIncoming, UringOutgoing, UringSocket } from './socket.ts';

/** State of a direction. */
type FlowPhase =
  /** A recv is pending. */
  | 'receiving'
  /** The ring is sending what was received, from the same buffer. */
  | 'sending'
  /** The receiver has not accepted everything: there are remaining bytes, or a pipe that contains some. */
  | 'stalled'
  /** Bulk: splice(2) fills and empties the pipe, in slices. */
  | 'splicing'
  | 'finished';

/**
 * One direction of a splice. Small messages are received and sent by the ring, in one buffer and without a copy. A
 * direction whose reads fill the buffer is bulk, and uses a pipe: splice(2) moves pages without copying, but costs more
 * per message; as a request of the ring it would run in a worker thread.
 *
 * Nothing is received before all earlier bytes are sent, so that the kernel's backpressure applies.
 */
export class UringFlow implements Direction, UringIncoming, UringOutgoing, Task {
  readonly from: UringSocket;
  readonly to: UringSocket;
  readonly #owner: DirectionOwner;
  #phase: FlowPhase = 'receiving';
  #bytesWritten = 0;
  #sendingBytes = 0;
  /** Bytes received and not yet accepted by the kernel. */
  #rest: Uint8Array = NOTHING;
  /** Borrowed while it contains bytes. */
  #pipe: Pipe | undefined;
  #pace: KernelPace = SMALL;
  #queued = false;

  /** Starts to receive the events of both sockets. */
  constructor(from: UringSocket, to: UringSocket, owner: DirectionOwner) {
    this.from = from;
    this.to = to;
    this.#owner = owner;
    from.incoming = this;
    to.outgoing = this;
  }

  get bytesWritten(): number {
    return this.#bytesWritten + this.to.sentWhileClosing;
  }

  get finished(): boolean {
    return this.#phase === 'finished';
  }

  begin(head: Uint8Array): void {
    const held = this.from.take();
    if (typeof held !== 'number') this.#owner.onReceived(this);
    const bytes = typeof held === 'number' ? head : joined(head, held);
    const id =
      bytes.length > 0 && bytes.length <= this.to.kernel.buffers.lengthBytes
        ? this.to.kernel.buffers.take()
        : undefined;
    if (id === undefined) {
      this.#rest = bytes;
      this.#sendRest();
      return;
    }
    this.to.kernel.buffers.bytesOf(id, bytes.length).set(bytes);
    this.#send(id, bytes.length);
    // Bytes that arrive in the meantime wait; a client that disconnects is detected at once.
    this.from.receive();
  }

  onReceived(id: number, length: number): boolean {
    this.#owner.onReceived(this);
    if (this.#phase !== 'receiving') {
      this.#hold(this.to.kernel.buffers.bytesOf(id, length));
      return false;
    }
    this.#pace = paceAfter(
      this.#pace,
      length === this.to.kernel.buffers.lengthBytes && this.to.kernel.settings.splice !== 'copy',
    );
    this.#send(id, length);
    return true;
  }

  onEnded(): void {
    if (this.#phase === 'receiving') this.#finish();
  }

  onSent(id: number, sent: number): void {
    this.#bytesWritten += sent;
    if (sent === this.#sendingBytes) {
      this.#sendRest();
      return;
    }
    const unsent = this.to.kernel.buffers.bytesOf(id, this.#sendingBytes).slice(sent);
    this.#rest = this.#rest.length === 0 ? unsent : Buffer.concat([unsent, this.#rest]);
    this.#stall();
  }

  onWritable(): void {
    if (this.#phase === 'stalled') this.#enqueue();
  }

  onReadable(): void {
    if (this.#phase === 'splicing') this.#enqueue();
  }

  /** Runs one slice of a turn: a bounded number of rounds. */
  run(untilMs: number): boolean {
    this.#queued = this.#carry(untilMs);
    return this.#queued;
  }

  abandon(): void {
    this.#phase = 'finished';
    this.from.incoming = undefined;
    this.to.outgoing = undefined;
    this.#rest = NOTHING;
    this.#givePipeBack();
  }

  #givePipeBack(): void {
    if (this.#pipe !== undefined) this.to.kernel.pipes.give(this.#pipe);
    this.#pipe = undefined;
  }

  #send(id: number, length: number): void {
    this.#phase = 'sending';
    this.#sendingBytes = length;
    this.to.sendBuffer(id, length);
  }

  #hold(bytes: Uint8Array): void {
    this.#rest = Buffer.concat([this.#rest, bytes]);
  }

  /** Queues the task. No effect while it runs: it stays queued as long as it reports more work. */
  #enqueue(): void {
    if (this.#queued) return;
    this.#queued = true;
    this.to.kernel.turns.enqueue(this);
  }

  #carry(untilMs: number): boolean {
    for (let round = this.to.kernel.settings.roundsPerTurn; round > 0; round -= 1) {
      if (!this.#carryOn()) return false;
      if (performance.now() >= untilMs) break;
    }
    return true;
  }

  /** @returns whether there is more to do at once */
  #carryOn(): boolean {
    if (this.#phase === 'stalled') return this.#pipe === undefined ? this.#sendRest() : this.#empty(this.#pipe);
    if (this.#phase === 'splicing') return this.#fillPipe();
    return false;
  }

  /** @returns whether there is more to do at once */
  #sendRest(): boolean {
    const { buffer } = this.to.kernel;
    while (this.#rest.length > 0) {
      const share = this.#rest.subarray(0, buffer.bytes.length);
      buffer.bytes.set(share);
      const sent = this.to.send(buffer.address, share.length);
      if (sent < 0) return this.#lost(this.to, -sent);
      this.#bytesWritten += sent;
      this.#rest = this.#rest.subarray(sent);
      if (sent < share.length) return this.#stall();
    }
    this.#rest = NOTHING;
    return this.#next();
  }

  /** @returns whether there is more to do at once */
  #empty(pipe: Pipe): boolean {
    const sent = this.to.sendFrom(pipe.readEnd, pipe.bytes);
    if (sent < 0) return this.#lost(this.to, -sent);
    this.#bytesWritten += sent;
    pipe.bytes -= sent;
    if (pipe.bytes > 0) return sent > 0 ? this.#holdInPipe() : this.#stall();
    this.#givePipeBack();
    return this.#next();
  }

  /**
   * The amount per call depends on the layout of the bytes in the pipe: a short result does not mean that the socket is
   * full.
   */
  #holdInPipe(): boolean {
    this.#phase = 'stalled';
    return true;
  }

  /** @returns whether there is more to do at once */
  #fillPipe(): boolean {
    const { pipes, settings, buffers } = this.to.kernel;
    const pipe = pipes.take();
    if (pipe === undefined) return this.#receiveSmall(SMALL);
    const received = this.from.receiveInto(pipe.writeEnd, settings.pipeBytes);
    if (received <= 0) {
      pipes.give(pipe);
      if (received === -EINVAL) return this.#receiveSmall(NEVER_BULK);
      if (received < 0) return this.#lost(this.from, -received);
      if (this.from.ended) this.#finish();
      else this.from.awaitReadable();
      return false;
    }
    this.#owner.onReceived(this);
    this.#pace = paceAfter(this.#pace, received >= buffers.lengthBytes);
    pipe.bytes = received;
    this.#pipe = pipe;
    return this.#empty(pipe);
  }

  /** Continues after everything received has been sent. @returns whether there is more to do at once */
  #next(): boolean {
    if (this.from.ended) {
      this.#finish();
      return false;
    }
    if (this.#pace < BULK || this.from.receiving) return this.#receiveSmall(this.#pace);
    this.#phase = 'splicing';
    this.#enqueue();
    return true;
  }

  #receiveSmall(pace: KernelPace): boolean {
    this.#pace = pace;
    this.#phase = 'receiving';
    this.from.receive();
    return false;
  }

  /** Waits for the receiver; a sender that disconnects in the meantime is detected. */
  #stall(): false {
    this.#phase = 'stalled';
    this.to.awaitWritable();
    this.from.watchForLoss();
    return false;
  }

  #finish(): void {
    this.#phase = 'finished';
    this.#owner.onFinished(this);
  }

  #lost(socket: UringSocket, errno: number): false {
    this.#owner.onLost(socket, errno);
    return false;
  }
}

function joined(head: Uint8Array, held: Uint8Array): Uint8Array {
  return head.length === 0 ? held : Buffer.concat([head, held]);
}

const NOTHING = new Uint8Array(0);
