import { systemError } from '@meshgate/linux';
import type { Libc, MappedMemory } from '@meshgate/linux';
import {
  CQ_OFFSETS,
  CQE_WORDS,
  ENTER_GETEVENTS,
  FEAT_NODROP,
  FEAT_SINGLE_MMAP,
  OFF_RINGS,
  OFF_SQES,
  PARAMS,
  PARAMS_BYTES,
  SETUP_COOP_TASKRUN,
  SETUP_CQSIZE,
  SETUP_SINGLE_ISSUER,
  SETUP_SUBMIT_ALL,
  SQ_CQ_OVERFLOW,
  SQ_OFFSETS,
  SQE_WORDS,
} from './abi.ts';

/** Origin of requests: descriptor and slot. */
export interface Requester {
  readonly fd: number;
  /** Returned in each completion, with the kind of the request. */
  readonly slot: number;
}

/** Called with each completion. `result` is the result of the system call, or −errno. */
export type OnCompletion = (slot: number, kind: number, result: number, flags: number) => void;

/**
 * An instance of io_uring(7): the two rings shared with the kernel. Entries are written into memory; one system call
 * submits all of them and fetches completions.
 */
export class Ring {
  /** Readable while there are completions. */
  readonly fd: number;
  readonly #libc: Libc;
  readonly #rings: MappedMemory;
  readonly #entries: MappedMemory;
  readonly #words: Int32Array;
  readonly #sqes: Int32Array;
  readonly #sq: { readonly head: number; readonly tail: number; readonly flags: number; readonly mask: number };
  readonly #cq: { readonly head: number; readonly tail: number; readonly cqes: number; readonly mask: number };
  /**
   * Number of prepared entries, and of submitted ones: only this side changes them, so that they need not be read from
   * the ring.
   */
  #tail: number;
  #submitted: number;
  /** Offset of the last prepared entry. */
  #at = 0;

  /** Throws the system's error if the kernel is too old or does not allow it. */
  constructor(libc: Libc) {
    this.#libc = libc;
    const parameters = libc.allocate(PARAMS_BYTES);
    const { ints } = parameters;
    ints[PARAMS.flags] = SETUP_CQSIZE | SETUP_SUBMIT_ALL | SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER;
    ints[PARAMS.cqEntries] = COMPLETIONS;
    this.fd = libc.io_uring_setup(SUBMISSIONS, parameters.address);
    if (this.fd === -1) throw refused(libc.errno(), 'io_uring_setup');
    try {
      // A seccomp filter may allow one call and forbid the other; later there would be no way to report it.
      if (libc.io_uring_enter(this.fd, 0, 0, ENTER_GETEVENTS) < 0) throw refused(libc.errno(), 'io_uring_enter');
      const needed = FEAT_SINGLE_MMAP | FEAT_NODROP;
      if (((ints[PARAMS.features] ?? 0) & needed) !== needed)
        throw new Error('expected the io_uring of Linux 6.0 or later');
      const sq = (name: keyof typeof SQ_OFFSETS): number => (ints[PARAMS.sqOffsets + SQ_OFFSETS[name]] ?? 0) >>> 2;
      const cq = (name: keyof typeof CQ_OFFSETS): number => (ints[PARAMS.cqOffsets + CQ_OFFSETS[name]] ?? 0) >>> 2;
      const [sqEntries, cqEntries] = [ints[PARAMS.sqEntries] ?? 0, ints[PARAMS.cqEntries] ?? 0];
      const words = Math.max(sq('array') + sqEntries, cq('cqes') + cqEntries * CQE_WORDS);
      this.#rings = mapped(libc, this.fd, OFF_RINGS, words * 4);
      this.#words = new Int32Array(this.#rings.buffer);
      this.#entries = mapped(libc, this.fd, OFF_SQES, sqEntries * SQE_WORDS * 4);
      this.#sqes = new Int32Array(this.#entries.buffer);
      // Entry i of the ring is always entry i of the array: they are never reordered.
      for (let at = 0; at < sqEntries; at += 1) this.#words[sq('array') + at] = at;
      this.#sq = { head: sq('head'), tail: sq('tail'), flags: sq('flags'), mask: sqEntries - 1 };
      this.#cq = { head: cq('head'), tail: cq('tail'), cqes: cq('cqes'), mask: cqEntries - 1 };
      this.#tail = Atomics.load(this.#words, this.#sq.tail);
      this.#submitted = this.#tail;
    } catch (reason) {
      libc.close(this.fd);
      throw reason;
    }
  }

  /** Number of requests that have not been submitted. */
  get unsubmitted(): number {
    return (this.#tail - this.#submitted) | 0;
  }

  /** Whether there are completions to dispatch. */
  get hasCompletions(): boolean {
    const { head, tail } = this.#cq;
    return Atomics.load(this.#words, head) !== Atomics.load(this.#words, tail);
  }

  /**
   * Index of the next request, below {@link SUBMISSIONS}, for memory that belongs to the request until it is submitted.
   */
  get nextIndex(): number {
    if (this.unsubmitted > this.#sq.mask) this.submit();
    return this.#tail & this.#sq.mask;
  }

  /**
   * Prepares a request, completed by the setters below: the kernel reads nothing before {@link submit}. Creates no
   * object, since there are a dozen requests per connection.
   */
  prepare({ fd, slot }: Requester, opcode: number, kind: number): void {
    if (this.unsubmitted > this.#sq.mask) this.submit();
    if (this.unsubmitted > this.#sq.mask) throw systemError(this.#libc.errno(), 'io_uring_enter');
    const at = (this.#tail & this.#sq.mask) * SQE_WORDS;
    const sqes = this.#sqes;
    sqes[at] = opcode;
    sqes[at + 1] = fd;
    sqes[at + 8] = slot;
    sqes[at + 9] = kind;
    // One by one: a call of `fill` takes longer than all stores together.
    for (let word = at + 2; word < at + 8; word += 1) sqes[word] = 0;
    for (let word = at + 10; word < at + SQE_WORDS; word += 1) sqes[word] = 0;
    this.#at = at;
    this.#tail = (this.#tail + 1) | 0;
  }

  /** Sets `flags` and `ioprio` of the last prepared request. */
  setFlags(flags: number, ioprio: number): void {
    this.#sqes[this.#at] = (this.#sqes[this.#at] ?? 0) | (flags << 8) | (ioprio << 16);
  }

  /** Sets `msg_flags`, `accept_flags`, `poll32_events` or `cancel_flags`. */
  setOperationFlags(flags: number): void {
    this.#sqes[this.#at + 7] = flags;
  }

  /** Sets the address of the bytes. Memory that is sent or received must not change until the request completes. */
  setMemory(address: number, length: number): void {
    this.#sqes[this.#at + 4] = address | 0;
    this.#sqes[this.#at + 5] = Math.floor(address / WORD);
    this.#sqes[this.#at + 6] = length;
  }

  /** Sets the location of a connect's address, which {@link submit} reads. Its length uses the field of the offset. */
  setSocketAddress(address: number, length: number): void {
    this.setMemory(address, 0);
    this.#sqes[this.#at + 2] = length;
  }

  /** Submits the prepared requests and makes the kernel deliver completions. Requests not accepted stay prepared. */
  submit(): void {
    Atomics.store(this.#words, this.#sq.tail, this.#tail);
    const accepted = this.#libc.io_uring_enter(this.fd, this.unsubmitted, 0, ENTER_GETEVENTS);
    if (accepted > 0) this.#submitted = (this.#submitted + accepted) | 0;
  }

  /** Passes available completions to `onCompletion`, and makes the kernel deliver those that did not fit the ring. */
  dispatch(onCompletion: OnCompletion): void {
    const words = this.#words;
    const { cqes, mask } = this.#cq;
    let head = words[this.#cq.head] ?? 0;
    const tail = Atomics.load(words, this.#cq.tail);
    try {
      while (head !== tail) {
        const at = cqes + (head & mask) * CQE_WORDS;
        head = (head + 1) | 0;
        onCompletion(words[at] ?? 0, words[at + 1] ?? 0, words[at + 2] ?? 0, words[at + 3] ?? 0);
      }
    } finally {
      // Released all at once. Callbacks may have submitted in the meantime: the kernel keeps completions that do not
      // fit in a list.
      Atomics.store(words, this.#cq.head, head);
    }
    if ((Atomics.load(words, this.#sq.flags) & SQ_CQ_OVERFLOW) !== 0) this.submit();
  }

  /** Closes the ring. No request may be pending. */
  close(): void {
    this.#libc.close(this.fd);
    this.#entries.unmap();
    this.#rings.unmap();
  }
}

/** The most frequent cause of each error, for the log. */
const CAUSES: Readonly<Record<string, string>> = {
  EPERM: 'forbidden by a seccomp filter or by kernel.io_uring_disabled',
  ENOSYS: 'the kernel has none, or a seccomp filter hides it',
  EINVAL: 'expected Linux 6.0 or later',
  ENOMEM: 'the locked memory limit, RLIMIT_MEMLOCK, is too low, or there is no memory left',
};

/** Returns the system's error for a refused call, with a hint at the cause. */
export function refused(errno: number, call: string): Error {
  const error = systemError(errno, call);
  const cause = CAUSES[error.code ?? ''];
  if (cause !== undefined) error.message += ` (${cause})`;
  return error;
}

function mapped(libc: Libc, fd: number, offset: number, lengthBytes: number): MappedMemory {
  const memory = libc.map(fd, offset, lengthBytes);
  if (memory === undefined) throw systemError(libc.errno(), 'mmap', 'of io_uring');
  return memory;
}

const WORD = 2 ** 32;

/** Maximum number of requests between two submissions; a further one causes an early submission. */
export const SUBMISSIONS = 1024;

/** Capacity of the completion ring: beyond it, the kernel keeps completions in a list, which is slower. */
const COMPLETIONS = 8192;
