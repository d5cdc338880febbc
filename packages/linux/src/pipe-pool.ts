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
  /** Number of bytes in it. Maintained by the borrower. */
  bytes: number;
}

/**
 * Pipes for splice(2), borrowed only while they contain bytes. So there are about as many as directions with a slow
 * receiver, rather than two per connection.
 */
export class PipePool {
  readonly #libc: Libc;
  readonly #capacity: number;
  readonly #ends: Memory;
  readonly #idle: Pipe[] = [];
  readonly #most: number;
  #existing = 0;
  /** When the system refuses a pipe of this size: next attempt (monotonic milliseconds). */
  #refusedUntil = 0;
  #unused: NodeJS.Timeout | undefined;

  /**
   * @param capacity of each pipe, in bytes
   * @param most maximum number of pipes
   */
  constructor(libc: Libc, capacity: number, most: number = pipesOf(capacity)) {
    this.#most = most;
    this.#libc = libc;
    this.#capacity = capacity;
    this.#ends = libc.allocate(8);
  }

  /** Number of pipes, in use or not, and its limit. */
  get usage(): PipeUsage {
    return { used: this.#existing, limit: this.#most };
  }

  /**
   * An empty pipe, to be returned with {@link give}; `undefined` when the system has none left, or too many are in use:
   * then copy.
   */
  take(): Pipe | undefined {
    return this.#idle.pop() ?? this.#make();
  }

  /**
   * Takes a pipe back; one that still has bytes is closed. The most recently used is reused first: its memory is still
   * in the cache.
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
 * How many pipes of `capacity` bytes this process may have: half of its user's limit (pipe(7), `pipe-user-pages-soft`),
 * since beyond it every other process of that user, also in other containers, gets pipes of two pages. Root has no such
 * limit.
 */
export function pipesOf(
  capacity: number,
  userPages: number = softLimit(),
  isRoot: boolean = process.getuid?.() === 0,
): number {
  if (isRoot || userPages === 0) return PIPES;
  return Math.min(PIPES, Math.floor((userPages * PAGE_BYTES) / 2 / capacity));
}

/** In pages; 0 for no limit, or unknown. */
function softLimit(): number {
  try {
    return Number(readFileSync('/proc/sys/fs/pipe-user-pages-soft', 'utf8'));
  } catch {
    return 0;
  }
}

/** Linux's smallest page size; with larger pages the number of pipes is lower than possible. */
const PAGE_BYTES = 4_096;

/** Other processes of the user may have closed theirs by then. */
const REFUSED_MS = 10_000;

/** How long unused pipes are kept. */
const UNUSED_MS = 1_000;

/** Unused pipes kept for reuse: more are rarely in use at the same moment. */
const IDLE_PIPES = 16;

/**
 * In all. A pipe has two descriptors and, with bytes in it, up to its capacity of kernel memory: 256 slow receivers
 * take 256 MiB, and further ones are served through a buffer.
 */
const PIPES = 256;
