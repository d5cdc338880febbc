import { closeSync, constants, fstatSync, openSync, readFileSync, write } from 'node:fs';
import { isatty } from 'node:tty';
import { settlesWithin } from '@meshgate/core/parts';

/** State of a log, for `GET /ready` and the metrics. */
export interface LogHealth {
  /** Number of lines dropped since the process started. */
  readonly dropped: number;
  /** Why lines cannot be written at the moment; absent otherwise. */
  readonly trouble?: string;
}

/** Options of a {@link LogWriter}. */
export interface LogWriterOptions {
  /** Descriptor to write to, preferably from {@link ownDescriptor}. The caller keeps and closes it. */
  readonly fd: number;
  /** Maximum size of one write in bytes. A shorter line is never split between two writes. */
  readonly maxWriteBytes?: number;
  /** Called when writing resumes after `dropped` lines were lost; may write a line in their place. */
  onRecovered?(dropped: number, reason: string): void;
  /** Called when `health.trouble` appears, changes or clears. */
  onTrouble?(): void;
}

/**
 * Writes lines to a file descriptor without blocking, even on a full disk, or on a stalled or closed pipe. Buffers
 * lines up to a limit, then drops and counts them. Retries every second.
 */
export class LogWriter {
  readonly #options: LogWriterOptions;
  readonly #queue: string[] = [];
  #queuedChars = 0;
  /**
   * The rest of the current chunk that the system has not accepted. A pipe may have the start of a line, so the rest
   * must follow.
   */
  #chunk: Buffer = EMPTY;
  #state: WriterState = { kind: 'idle' };
  #retryInMs = FIRST_RETRY_MS;
  #trouble: string | undefined;
  #lastTrouble = STALLED;
  #dropped = 0;
  /** Number of dropped lines that no log line has reported yet. */
  #unreported = 0;
  /**
   * Drops all lines from the first dropped one until the backlog is written, so that there is one gap instead of many.
   */
  #isDropping = false;
  readonly #flushWaiters = new Set<() => void>();

  constructor(options: LogWriterOptions) {
    this.#options = options;
  }

  get health(): LogHealth {
    return { dropped: this.#dropped, ...(this.#trouble !== undefined && { trouble: this.#trouble }) };
  }

  /** Whether a system call is in progress: the process cannot exit normally before it returns. */
  get isWriting(): boolean {
    return this.#state.kind === 'writing';
  }

  /** Writes a line. @param line the line, with its line break */
  write(line: string): void {
    if (this.#isDropping || this.#queuedChars + line.length > MAX_BACKLOG_CHARS) return this.#drop();
    this.#queue.push(line);
    this.#queuedChars += line.length;
    if (this.#state.kind === 'idle') this.#writeNext();
  }

  /** Resolves when everything is written, when an error prevents that, or after `patienceMs`. */
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

  /** Returns as many complete lines as fit into one write, but at least one. */
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
    // A full disk may accept a part first: the trouble clears only with a complete chunk.
    if (this.#chunk.length === 0 && !this.#isDropping) this.#setTrouble(undefined);
    this.#writeNext();
  }

  /** Called when the buffer is empty. */
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

  /** Called when the pipe is full, since its reader is slow or has stopped. */
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
  /** A write is in progress in libuv's thread pool. */
  | { readonly kind: 'writing' }
  /** The last write failed; `timer` starts the next one. */
  | { readonly kind: 'waiting'; readonly timer: NodeJS.Timeout };

/**
 * Opens a new descriptor for the file behind `fd`, because `fd` shares its mode with every process that has inherited
 * it. Writes to a pipe or a terminal then fail with `EAGAIN`, where writes to `fd` could block a thread. Writes to a
 * file append, even after a truncation: logrotate's `copytruncate` would otherwise leave zeros at the start of the
 * file. Returns `fd` where this is not possible: for sockets, on systems other than Linux, without permission, or if `fd`
 * is not open for writing: to open it again would permit it.
 */
export function ownDescriptor(fd: number): number {
  // Accessed for its side effect: Node makes a pipe or a socket on standard output non-blocking, which is all that
  // other systems allow.
  void process.stdout;
  try {
    const mode = process.platform === 'linux' ? modeFor(fd) : undefined;
    return mode === undefined ? fd : openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NOCTTY | mode);
  } catch {
    return fd;
  }
}

/**
 * Uses bigints, because Node caches the result of its last numeric stat: with that of a pipe, its `realpathSync`
 * misreads links, and later imports resolve dependencies in the wrong folder.
 */
function modeFor(fd: number): number | undefined {
  const status = fstatSync(fd, { bigint: true });
  if ((openFlags(fd) & ACCESS_MODES) === constants.O_RDONLY) return undefined;
  if (status.isFile()) return constants.O_APPEND;
  return status.isFIFO() || isatty(fd) ? constants.O_NONBLOCK : undefined;
}

/** Returns the flags with which `fd` was opened, on Linux: proc_pid_fdinfo(5). */
export function openFlags(fd: number): number {
  const [, flags = '0'] = /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8')) ?? [];
  return Number.parseInt(flags, 8);
}

/** `O_ACCMODE` of open(2). */
const ACCESS_MODES = 3;

/**
 * Closes standard streams whose terminal has hung up, before the process exits: Node restores the settings of each
 * terminal then, and aborts if that fails. Standard streams that cannot be terminals are left alone.
 */
export function closeLostTerminals(): void {
  for (const fd of [0, 1, 2]) {
    try {
      // A terminal that has hung up is still a character device, but answers no ioctl(2).
      if (fstatSync(fd, { bigint: true }).isCharacterDevice() && !isatty(fd)) closeSync(fd);
    } catch {
      // It is closed.
    }
  }
}

const EMPTY = Buffer.alloc(0);

/** About ten thousand lines. A stalled reader costs this much memory, and after that lines. */
const MAX_BACKLOG_CHARS = 4 * 1024 * 1024;
/** The capacity of a pipe, pipe(7). */
const MAX_WRITE_BYTES = 64 * 1024;
/** A slow reader makes room within milliseconds; for a stalled reader or an error, one attempt per second is enough. */
const FIRST_RETRY_MS = 8;
const MAX_RETRY_MS = 1_000;

const STALLED = 'the reader is too slow';
