import { systemError } from '@meshgate/linux';
import type { Libc, MappedMemory, Memory } from '@meshgate/linux';
import { BUF_REG_BYTES, BUF_WORDS, REGISTER_PBUF_RING } from './abi.ts';
import { refused } from './ring.ts';

/**
 * Buffers that the kernel takes from when bytes arrive (`IORING_REGISTER_PBUF_RING`), so that an idle connection holds
 * none; and some for data that is sent without having been received.
 */
export class Buffers {
  /** Length of each buffer, in bytes. */
  readonly lengthBytes: number;
  readonly #memory: Memory;
  readonly #own: number[];
  readonly #provided: number;
  #ring: MappedMemory | undefined;
  #words: Int32Array = new Int32Array(0);
  #halves: Uint16Array = new Uint16Array(0);
  #tail = 0;

  /**
   * @param provided number of provided buffers, a power of two
   */
  constructor(libc: Libc, provided: number, lengthBytes: number) {
    this.lengthBytes = lengthBytes;
    this.#provided = provided;
    this.#memory = libc.allocate((provided + OWN_BUFFERS) * lengthBytes);
    this.#own = Array.from({ length: OWN_BUFFERS }, (_, index) => provided + index);
  }

  /** Provides all buffers to a new ring. Throws the system's error. */
  register(libc: Libc, ringFd: number): void {
    this.#ring = libc.map(-1, 0, Math.max(PAGE_BYTES, this.#provided * BUF_WORDS * 4));
    if (this.#ring === undefined) throw systemError(libc.errno(), 'mmap');
    this.#words = new Int32Array(this.#ring.buffer);
    this.#halves = new Uint16Array(this.#ring.buffer);
    this.#tail = 0;
    const registration = libc.allocate(BUF_REG_BYTES);
    const view = new DataView(registration.bytes.buffer);
    view.setBigUint64(0, BigInt(this.#ring.address), true);
    view.setUint32(8, this.#provided, true);
    view.setUint16(12, BUFFER_GROUP, true);
    if (libc.io_uring_register(ringFd, REGISTER_PBUF_RING, registration.address, 1) < 0) {
      const error = refused(libc.errno(), 'io_uring_register');
      this.release();
      throw error;
    }
    for (let id = 0; id < this.#provided; id += 1) this.give(id);
  }

  /** Releases the registration after the ring is closed: no more buffers are taken. */
  release(): void {
    this.#ring?.unmap();
    this.#ring = undefined;
  }

  addressOf(id: number): number {
    return this.#memory.address + id * this.lengthBytes;
  }

  /** Returns the contents of a buffer, valid until the buffer is returned. */
  bytesOf(id: number, length: number): Uint8Array {
    const at = id * this.lengthBytes;
    return this.#memory.bytes.subarray(at, at + length);
  }

  /** Takes one of the buffers for sending, to be returned with {@link give}; `undefined` if all are in use. */
  take(): number | undefined {
    return this.#own.pop();
  }

  /** Returns a buffer, provided or for sending. */
  give(id: number): void {
    if (id >= this.#provided) {
      this.#own.push(id);
      return;
    }
    if (this.#ring === undefined) return;
    const address = this.addressOf(id);
    const at = (this.#tail & (this.#provided - 1)) * BUF_WORDS;
    this.#words[at] = address | 0;
    this.#words[at + 1] = Math.floor(address / 2 ** 32);
    this.#words[at + 2] = this.lengthBytes;
    this.#halves[2 * at + 6] = id;
    this.#tail = (this.#tail + 1) & 0xffff;
    // The tail shares the first entry's memory: its last 16 bits. The kernel reads it within system calls of this
    // thread.
    this.#halves[TAIL_HALF] = this.#tail;
  }
}

/** The only buffer group. */
const BUFFER_GROUP = 0;

const OWN_BUFFERS = 64;
const TAIL_HALF = 7;
const PAGE_BYTES = 4096;
