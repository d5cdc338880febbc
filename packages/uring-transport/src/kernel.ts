import { PipePool, Sockets } from '@meshgate/linux';
import type { Libc, Memory, TurnLoop } from '@meshgate/linux';
import { Buffers } from './buffers.ts';
import { UringLoop } from './loop.ts';
import type { UringSettings } from './options.ts';
import { SUBMISSIONS } from './ring.ts';

/** State shared by all parts of one transport: system calls, loop, buffers. */
export class UringKernel {
  readonly libc: Libc;
  readonly sockets: Sockets;
  readonly loop: UringLoop;
  readonly turns: TurnLoop;
  readonly buffers: Buffers;
  readonly pipes: PipePool;
  readonly settings: UringSettings;
  /** Buffer of send(2). */
  readonly buffer: Memory;
  /** Addresses of requests that have not been submitted. */
  readonly #addresses: Memory;

  constructor(libc: Libc, settings: UringSettings) {
    this.libc = libc;
    this.settings = settings;
    this.sockets = new Sockets(libc);
    this.buffers = new Buffers(libc, settings.buffers, settings.bufferBytes);
    this.pipes = new PipePool(libc, settings.pipeBytes);
    this.buffer = libc.allocate(SEND_BYTES);
    this.#addresses = libc.allocate(SUBMISSIONS * ADDRESS_BYTES);
    this.loop = new UringLoop(libc, this.buffers, () => this.pipes.drain());
    this.turns = this.loop.turns;
  }

  /**
   * Stores an address for a request until it is submitted.
   *
   * @param index index of the request, below {@link SUBMISSIONS}
   */
  addressAt(index: number, bytes: Uint8Array): number {
    this.#addresses.bytes.set(bytes, index * ADDRESS_BYTES);
    return this.#addresses.address + index * ADDRESS_BYTES;
  }
}

/** `struct sockaddr_un`, the longest, is 110 bytes. */
const ADDRESS_BYTES = 128;

const SEND_BYTES = 64 * 1024;
