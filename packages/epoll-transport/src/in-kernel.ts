import type { Kernel } from './kernel.ts';
import type { Socket } from './socket.ts';
import type { Sockmap } from './sockmap.ts';

/** What went over since the kernel took over. */
export interface Forwarded {
  readonly up: number;
  readonly down: number;
}

/**
 * The middle of a splice, carried by the kernel alone. Only the middle: with the first sign of an end, a reset, or a receiver
 * that does not keep up, it stops, lets everything go out, and hands the sockets back to be carried as before. So all that is
 * hard about ends exists once, in `Flow`.
 */
export class InKernel {
  readonly #sockmap: Sockmap;
  readonly #client: Socket;
  readonly #backend: Socket;
  /** What had been written to each when the kernel took over. */
  readonly #writtenBefore: { readonly client: number; readonly backend: number };
  #last: Forwarded = { up: 0, down: 0 };

  private constructor(
    sockmap: Sockmap,
    client: Socket,
    backend: Socket,
    written: { readonly client: number; readonly backend: number },
  ) {
    this.#sockmap = sockmap;
    this.#client = client;
    this.#backend = backend;
    this.#writtenBefore = written;
  }

  /** `undefined` when the kernel cannot take over; nothing has changed then. */
  static begin(kernel: Kernel, client: Socket, backend: Socket): InKernel | undefined {
    const sockmap = sockmapOf(kernel);
    const before = { client: sockmap?.tcpInfo.read(client.fd), backend: sockmap?.tcpInfo.read(backend.fd) };
    if (sockmap === undefined || before.client === undefined || before.backend === undefined) return undefined;
    const written = { client: before.client.written, backend: before.backend.written };
    if (!sockmap.join(client, backend)) return undefined;
    for (const socket of [client, backend]) socket.watchEndOnly();
    return new InKernel(sockmap, client, backend, written);
  }

  /** Exact: asked of the kernel each time. Stands still once a socket is gone. */
  get forwarded(): Forwarded {
    const client = this.#sockmap.tcpInfo.read(this.#client.fd);
    const backend = this.#sockmap.tcpInfo.read(this.#backend.fd);
    if (client !== undefined && backend !== undefined)
      this.#last = {
        up: backend.written - this.#writtenBefore.backend,
        down: client.written - this.#writtenBefore.client,
      };
    return this.#last;
  }

  /** Since a byte last arrived from either side, in milliseconds. */
  get quietMs(): number {
    const quiet = [this.#client, this.#backend].map(({ fd }) => this.#sockmap.tcpInfo.read(fd)?.quietMs ?? 0);
    return Math.min(...quiet);
  }

  /** Bytes that the kernel has taken from one socket and not yet written to the other, both directions together. */
  get underWay(): number {
    const { up, down } = this.forwarded;
    return this.#sockmap.taken(this.#client) - up + this.#sockmap.taken(this.#backend) - down;
  }

  /** What arrives from here on is not forwarded any more. */
  stop(): void {
    this.#sockmap.stop(this.#client, this.#backend);
  }

  /** Gives the sockets back. Obligation: not before {@link stop}, and nothing is {@link underWay}, unless they are closed next. */
  leave(): Forwarded {
    const { forwarded } = this;
    this.#sockmap.leave(this.#client, this.#backend);
    for (const socket of [this.#client, this.#backend]) socket.watchAll();
    return forwarded;
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
