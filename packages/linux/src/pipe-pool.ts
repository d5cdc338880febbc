import { readFileSync } from 'node:fs';
import type { PipeUsage } from '@meshgate/core';
import { F_SETPIPE_SZ, O_CLOEXEC, O_NONBLOCK } from './abi.ts';
import type { Libc } from './libc.ts';
import type { Memory } from './memory.ts';

/** Both ends of a pipe, as descriptors, and what lies between them. */
export interface Pipe {
  /** Where bytes come out. */
  readonly readEnd: number;
  /** Where bytes go in. */
  readonly writeEnd: number;
  /** How many bytes are in it. Kept by who has borrowed it. */
  bytes: number;
}

/**
 * Pipes for splice(2), borrowed for the moment in which bytes lie in one. So there are about as many as there are directions
 * whose receiver is slow, and not two for each connection.
 */
export class PipePool {
  readonly #libc: Libc;
  readonly #capacity: number;
  readonly #ends: Memory;
  readonly #idle: Pipe[] = [];
  readonly #most: number;
  #existing = 0;
  /** The system has refused a pipe of this size: asked again only then (monotonic milliseconds). */
  #refusedUntil = 0;
  #unused: NodeJS.Timeout | undefined;

  /**
   * @param capacity of each pipe, in bytes
   * @param most pipes at a time
   */
  constructor(libc: Libc, capacity: number, most: number = pipesOf(capacity)) {
    this.#most = most;
    this.#libc = libc;
    this.#capacity = capacity;
    this.#ends = libc.allocate(8);
  }

  /** Pipes that exist, in use or not, and how many there may be. */
  get usage(): PipeUsage {
    return { used: this.#existing, limit: this.#most };
  }

  /**
   * An empty pipe, owed back by {@link give}; `undefined` when the system has none left, or too many are in use: then bytes are better
   * copied.
   */
  take(): Pipe | undefined {
    return this.#idle.pop() ?? this.#make();
  }

  /**
   * Takes a pipe back; with bytes in it, which nobody wants any more, it is closed. The one that was used last is the next to go out: its
   * memory is still in the cache.
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

  /** Closes the pipes that are not in use. */
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
    // Refused: this user has all the pages that pipe(7) allows it, and a pipe of two pages is slower than a copy.
    this.#discard(pipe);
    this.#refusedUntil = performance.now() + REFUSED_MS;
    return undefined;
  }
}

/**
 * How many pipes of `capacity` bytes this process may have: half of what its user may (pipe(7), `pipe-user-pages-soft`), since beyond it
 * every other process of that user, also in other containers, gets pipes of two pages. Root has no such limit.
 */
export function pipesOf(
  capacity: number,
  userPages: number = softLimit(),
  isRoot: boolean = process.getuid?.() === 0,
): number {
  if (isRoot || userPages === 0) return PIPES;
  return Math.min(PIPES, Math.floor((userPages * PAGE_BYTES) / 2 / capacity));
}

/** In pages; 0 for no limit, also where that cannot be told. */
function softLimit(): number {
  try {
    return Number(readFileSync('/proc/sys/fs/pipe-user-pages-soft', 'utf8'));
  } catch {
    return 0;
  }
}

/** The smallest that Linux has; where they are larger there are fewer pipes than might be. */
const PAGE_BYTES = 4_096;

/** Other processes of the user may have closed theirs by then. */
const REFUSED_MS = 10_000;

/** For how long pipes are kept of which none has been used. */
const UNUSED_MS = 1_000;

/** Kept for the next: more are rarely in use at the same moment. */
const IDLE_PIPES = 16;

/**
 * In all. A pipe holds two descriptors and, with bytes in it, up to its capacity of kernel memory: 256 slow receivers are
 * 256 MiB, and whoever comes after them is served through a buffer.
 */
const PIPES = 256;
