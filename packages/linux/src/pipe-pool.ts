import { readFileSync } from 'node:fs';
import type { PipeUsage } from '@meshgate/core';
import { F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK } from './abi.ts';
import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';

/** Both ends of a pipe, as descriptors, and its fill level. */
export interface Pipe {
  /** Read end. */
  readonly readEnd: number;
  /** Write end. */
  readonly writeEnd: number;
  /** Number of bytes in the pipe. Maintained by the borrower. */
  bytes: number;
}

/**
 * Pipes for splice(2), borrowed only while they contain bytes: their number follows the number of directions with a
 * slow receiver instead of the number of connections.
 */
export class PipePool {
  readonly #libc: Libc;
  readonly #capacity: number;
  readonly #ends: Memory;
  readonly #idle: Pipe[] = [];
  readonly #most: number;
  #existing = 0;
  /** Time of the next attempt after the system refused a pipe of this size (monotonic milliseconds). */
  #refusedUntil = 0;
  #unused: NodeJS.Timeout | undefined;

  /**
   * @param capacity capacity of each pipe, in bytes
   * @param most maximum number of pipes
   */
  constructor(libc: Libc, capacity: number, most: number = pipesOf(capacity)) {
    this.#most = most;
    this.#libc = libc;
    this.#capacity = capacity;
    this.#ends = libc.allocate(8);
  }

  /** Number of pipes, used and unused, and the limit. */
  get usage(): PipeUsage {
    return { used: this.#existing, limit: this.#most };
  }

  /**
   * Borrows an empty pipe, to be returned with {@link give}; `undefined` if the system has none left, or too many are
   * in use: the caller then copies.
   */
  take(): Pipe | undefined {
    return this.#idle.pop() ?? this.#make();
  }

  /**
   * Returns a pipe to the pool; one that still contains bytes is closed. The most recently used is reused first, since
   * its memory is still in the cache.
   */
  give(pipe: Pipe): void {
    if (pipe.bytes > 0 || this.#idle.length >= IDLE_PIPES) {
      this.#discard(pipe);
      return;
    }
    this.#idle.push(pipe);
    if (this.#unused === undefined) this.#unused = setTimeout(() => this.drain(), UNUSED_MS).unref();
    else this.#unused.refresh();
  }

  #discard({ readEnd, writeEnd }: Pipe): void {
    this.#libc.close(readEnd);
    this.#libc.close(writeEnd);
    this.#existing -= 1;
  }

  /** Closes the unused pipes. */
  drain(): void {
    clearTimeout(this.#unused);
    this.#unused = undefined;
    for (const pipe of this.#idle.splice(0)) this.#discard(pipe);
  }

  #make(): Pipe | undefined {
    if (this.#existing >= this.#most || performance.now() < this.#refusedUntil) return undefined;
    if (this.#libc.pipe2(this.#ends.address, O_NONBLOCK | O_CLOEXEC) === -1) return undefined;
    const [readEnd = -1, writeEnd = -1] = this.#ends.ints;
    this.#existing += 1;
    const pipe = { readEnd, writeEnd, bytes: 0 };
    if (this.#libc.fcntl(writeEnd, F_SETPIPE_SZ, this.#capacity) !== -1) return pipe;
    // Refused: this user has reached its page limit (pipe(7)), and a pipe of two pages is slower than a copy.
    this.#discard(pipe);
    this.#refusedUntil = performance.now() + REFUSED_MS;
    return undefined;
  }
}

/**
 * Returns the number of pipes of `capacity` bytes that this process may have: half of its user's limit (pipe(7),
 * `pipe-user-pages-soft`), since beyond it every other process of that user, even in other containers, gets pipes of
 * two pages. Root has no such limit.
 */
export function pipesOf(
  capacity: number,
  userPages: number = softLimit(),
  isRoot: boolean = process.getuid?.() === 0,
): number {
  if (isRoot || userPages === 0) return PIPES;
  return Math.min(PIPES, Math.floor((userPages * PAGE_BYTES) / 2 / capacity));
}

/** Returns the limit in pages; 0 if there is none, or it is unknown. */
function softLimit(): number {
  try {
    return Number(readFileSync('/proc/sys/fs/pipe-user-pages-soft', 'utf8'));
  } catch {
    return 0;
  }
}

/** Linux's smallest page size; with larger pages, fewer pipes than possible are used. */
const PAGE_BYTES = 4_096;

/** By then, other processes of the user may have closed theirs. */
const REFUSED_MS = 10_000;

/** How long unused pipes are kept. */
const UNUSED_MS = 1_000;

/** Unused pipes kept for reuse: more are rarely in use at the same time. */
const IDLE_PIPES = 16;

/**
 * Maximum number of pipes. A pipe takes two descriptors and, while it contains bytes, up to its capacity of kernel
 * memory: 256 slow receivers take 256 MiB, and further ones are served through a buffer.
 */
const PIPES = 256;
