import type { Kernel } from './kernel.ts';
import type { Socket } from './socket.ts';
import type { Sockmap } from './sockmap.ts';

/** One direction of what the kernel carries. */
export class Course {
  readonly #sockmap: Sockmap;
  readonly #from: Socket;
  readonly #to: Socket;
  /** What had been written to `to` when the kernel took over. */
  readonly #writtenBefore: number;
  #last = 0;
  #over = false;

  constructor(sockmap: Sockmap, from: Socket, to: Socket, writtenBefore: number) {
    this.#sockmap = sockmap;
    this.#from = from;
    this.#to = to;
    this.#writtenBefore = writtenBefore;
  }

  /** Somebody else carries this direction now. */
  get over(): boolean {
    return this.#over;
  }

  /** What went over since the kernel took over. Exact: asked of the kernel each time. Stands still once the socket is gone. */
  get forwarded(): number {
    if (this.#over) return 0;
    const counts = this.#sockmap.tcpInfo.read(this.#to.fd);
    if (counts !== undefined) this.#last = counts.written - this.#writtenBefore;
    return this.#last;
  }

  /** Bytes that the kernel has taken from one socket and not yet written to the other. */
  get underWay(): number {
    return this.#over ? 0 : this.#sockmap.taken(this.#from) - this.forwarded;
  }

  /** Hands the count over with the direction. Obligation: nothing is {@link underWay}, unless the sockets are closed next. */
  end(): number {
    const { forwarded } = this;
    this.#over = true;
    return forwarded;
  }
}

/**
 * The middle of a splice, carried by the kernel alone. Only the middle: with the first sign of an end, a reset, or a receiver
 * that does not keep up, it stops, lets everything go out, and hands the sockets back to be carried as before. So all that is
 * hard about ends exists once, in `Flow`.
 *
 * Each direction is handed back as soon as nothing of it is under way: a receiver that stands still holds up its own, never the
 * other, on which it may be waiting.
 */
export class InKernel {
  readonly up: Course;
  readonly down: Course;
  readonly #sockmap: Sockmap;
  readonly #client: Socket;
  readonly #backend: Socket;

  private constructor(sockmap: Sockmap, client: Socket, backend: Socket, up: Course, down: Course) {
    this.#sockmap = sockmap;
    this.#client = client;
    this.#backend = backend;
    this.up = up;
    this.down = down;
  }

  /** `undefined` when the kernel cannot take over; nothing has changed then. */
  static begin(kernel: Kernel, client: Socket, backend: Socket): InKernel | undefined {
    const sockmap = sockmapOf(kernel);
    const before = { client: sockmap?.tcpInfo.read(client.fd), backend: sockmap?.tcpInfo.read(backend.fd) };
    if (sockmap === undefined || before.client === undefined || before.backend === undefined) return undefined;
    const up = new Course(sockmap, client, backend, before.backend.written);
    const down = new Course(sockmap, backend, client, before.client.written);
    if (!sockmap.join(client, backend)) return undefined;
    for (const socket of [client, backend]) socket.watchEndOnly();
    return new InKernel(sockmap, client, backend, up, down);
  }

  /** Since a byte last arrived from either side, in milliseconds. */
  get quietMs(): number {
    const quiet = [this.#client, this.#backend].map(({ fd }) => this.#sockmap.tcpInfo.read(fd)?.quietMs ?? 0);
    return Math.min(...quiet);
  }

  /** What arrives from here on is not forwarded any more, but an event once more. */
  stop(): void {
    this.#sockmap.stop(this.#client, this.#backend);
    for (const socket of [this.#client, this.#backend]) socket.watchAll();
  }

  /** Gives the sockets back. Obligation: not before both directions are over, unless they are closed next. */
  leave(): void {
    this.#sockmap.leave(this.#client, this.#backend);
  }
}

/** It may have to be made anew, and the system may have nothing left to make it of. */
function sockmapOf(kernel: Kernel): Sockmap | undefined {
  try {
    return kernel.sockmap;
  } catch {
    return undefined;
  }
}
