import { constants, fstatSync, openSync, write } from 'node:fs';
import { isatty } from 'node:tty';
import { settlesWithin } from '@meshgate/core/parts';

/** What may be wrong with a log, for `GET /ready` and the metrics. */
export interface LogHealth {
  /** Lines dropped since the process started. */
  readonly dropped: number;
  /** Why lines cannot be written at the moment; absent while they can. */
  readonly trouble?: string;
}

/** What a {@link LogWriter} is made of. */
export interface LogWriterOptions {
  /** Stays the caller's, and open. Best one that {@link nonBlocking} has returned. */
  readonly fd: number;
  /** Most bytes that are handed to the system at once. A line that is shorter is never split between two writes. */
  readonly maxWriteBytes?: number;
  /** Called when lines can be written again after `dropped` were not: it may write a line, which takes their place. */
  onRecovered?(dropped: number, reason: string): void;
  /** Called when `health.trouble` has appeared, changed or gone. */
  onTrouble?(): void;
}

/**
 * Writes lines to a file descriptor, and never makes anybody wait for it: not when the disk is full, nor when the reader of a pipe has
 * stalled or gone. What cannot be written is kept up to a bound, then dropped and counted; the descriptor is tried again each second.
 */
export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #queue: string[] = [];
  #queuedChars = 0;
  /** Handed to the system, as far as it has not taken it yet. A pipe keeps the beginning of a line for its next reader: its end follows. */
  #chunk: Buffer = EMPTY;
  #state: WriterState = { kind: 'idle' };
  #retryInMs = FIRST_RETRY_MS;
  #trouble: string | undefined;
  #lastTrouble = STALLED;
  #dropped = 0;
  /** Of these, how many no line has told of yet. */
  #unreported = 0;
  /** Once a line has been dropped, so are those that follow until the backlog is written: one gap instead of many. */
  #isDropping = false;
  readonly #flushWaiters = new Set<() => void>();

  constructor(options: LogWriterOptions) {
    this.#options = options;
  }

  get health(): LogHealth {
    return { dropped: this.#dropped, ...(this.#trouble !== undefined && { trouble: this.#trouble }) };
  }

  /** Whether a write has not come back from the system: a process cannot exit by itself before it does. */
  get isWriting(): boolean {
    return this.#state.kind === 'writing';
  }

  /** @param line with its line break */
  write(line: string): void {
    if (this.#isDropping || this.#queuedChars + line.length > MAX_BACKLOG_CHARS) return this.#drop();
    this.#queue.push(line);
    this.#queuedChars += line.length;
    if (this.#state.kind === 'idle') this.#writeNext();
  }

  /** Resolves when everything is written, when an error shows that it cannot be, or after `patienceMs`. */
  async flush(patienceMs: number): Promise<void> {
    if (this.#state.kind === 'idle') return;
    const flushed = new Promise<void>((resolve) => this.#flushWaiters.add(resolve));
    if (this.#state.kind === 'waiting') this.#retry(this.#state.timer);
    await settlesWithin(flushed, patienceMs);
    this.#flushWaiters.clear();
  }

  #drop(): void {
    this.#dropped += 1;
    this.#unreported += 1;
    this.#isDropping = true;
    if (this.#trouble === undefined) this.#setTrouble(STALLED);
  }

  #writeNext(): void {
    if (this.#chunk.length === 0) this.#chunk = this.#take();
    if (this.#chunk.length === 0) return this.#finished();
    this.#state = { kind: 'writing' };
    write(this.#options.fd, this.#chunk, 0, this.#chunk.length, null, (error, bytesWritten) => {
      if (error === null) this.#wrote(bytesWritten);
      else this.#failed(error);
    });
  }

  /** Whole lines, as many as may be written at once, but one at least. */
  #take(): Buffer {
    const { maxWriteBytes = MAX_WRITE_BYTES } = this.#options;
    let bytes = 0;
    let count = 0;
    for (const line of this.#queue) {
      bytes += Buffer.byteLength(line);
      if (count > 0 && bytes > maxWriteBytes) break;
      count += 1;
    }
    if (count === 0) return EMPTY;
    const text = this.#queue.splice(0, count).join('');
    this.#queuedChars -= text.length;
    return Buffer.from(text);
  }

  #wrote(bytes: number): void {
    this.#chunk = this.#chunk.subarray(bytes);
    this.#retryInMs = FIRST_RETRY_MS;
    // A disk that is full may take a part first: the trouble is over when a chunk has gone whole.
    if (this.#chunk.length === 0 && !this.#isDropping) this.#setTrouble(undefined);
    this.#writeNext();
  }

  /** Everything that was kept has been written. */
  #finished(): void {
    this.#state = { kind: 'idle' };
    const dropped = this.#unreported;
    this.#unreported = 0;
    this.#isDropping = false;
    this.#setTrouble(undefined);
    if (dropped > 0) this.#options.onRecovered?.(dropped, this.#lastTrouble);
    if (this.#state.kind === 'idle') this.#settle();
  }

  #failed(error: NodeJS.ErrnoException): void {
    if (error.code === 'EAGAIN') return this.#stalled();
    this.#setTrouble(error.message);
    this.#retryLater(MAX_RETRY_MS);
    this.#settle();
  }

  /** The pipe is full: its reader is slow, or does not read at all. */
  #stalled(): void {
    if (this.#retryInMs === MAX_RETRY_MS) this.#setTrouble(STALLED);
    this.#retryLater(this.#retryInMs);
    this.#retryInMs = Math.min(MAX_RETRY_MS, this.#retryInMs * 2);
  }

  #retryLater(afterMs: number): void {
    const timer = setTimeout(() => this.#writeNext(), afterMs);
    timer.unref();
    this.#state = { kind: 'waiting', timer };
  }

  #retry(timer: NodeJS.Timeout): void {
    clearTimeout(timer);
    this.#retryInMs = FIRST_RETRY_MS;
    this.#writeNext();
  }

  #setTrouble(trouble: string | undefined): void {
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.#lastTrouble = trouble ?? this.#lastTrouble;
    this.#options.onTrouble?.();
  }

  #settle(): void {
    for (const flushed of this.#flushWaiters) flushed();
    this.#flushWaiters.clear();
  }
}

type WriterState =
  | { readonly kind: 'idle' }
  /** A write is under way, in a thread of libuv's pool. */
  | { readonly kind: 'writing' }
  /** The last write failed: the next one is due when `timer` fires. */
  | { readonly kind: 'waiting'; readonly timer: NodeJS.Timeout };

/**
 * A descriptor for what `fd` leads to whose writes fail with `EAGAIN` where those of `fd` might block a thread, as those to a pipe or a
 * terminal do. It is opened anew, since `fd` itself shares its mode with every process that has inherited it: any of them may change it.
 * Returns `fd` where that is not possible: for sockets, on other systems than Linux, or for want of permission.
 */
export function nonBlocking(fd: number): number {
  // Looked at for its effect: Node makes a pipe or a socket that is its standard output non-blocking. It is all that can be done elsewhere.
  void process.stdout;
  try {
    if (process.platform !== 'linux' || (!isPipe(fd) && !isatty(fd))) return fd;
    return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    return fd;
  }
}

/**
 * As big integers, since Node keeps the other numbers of its last stat for itself: while they are those of a pipe, its `realpathSync`
 * takes links for what they lead to, and modules that are imported next look for their dependencies in the wrong folder.
 */
function isPipe(fd: number): boolean {
  return fstatSync(fd, { bigint: true }).isFIFO();
}

const EMPTY = Buffer.alloc(0);

/** Some ten thousand lines. A reader that has stalled costs memory up to this, then lines. */
const MAX_BACKLOG_CHARS = 4 * 1024 * 1024;
/** The capacity of a pipe, pipe(7). */
const MAX_WRITE_BYTES = 64 * 1024;
/** A reader that is only slow has made room within milliseconds; for one that has stalled, or an error, each second is enough. */
const FIRST_RETRY_MS = 8;
const MAX_RETRY_MS = 1_000;

const STALLED = 'its reader does not keep up';
