import { setTimeout as pause } from 'node:timers/promises';

/** One connection of a stream. */
export interface Attempt {
  /** Monotonic milliseconds. */
  readonly beganAt: number;
  readonly endedAt: number;
  /** Why it failed; absent on success. */
  readonly failure?: string;
}

/** In monotonic milliseconds. */
export interface Span {
  readonly from: number;
  readonly until: number;
}

/** New connections, one after the other, until it is disposed of. */
export class Stream implements AsyncDisposable {
  readonly attempts: Attempt[] = [];
  readonly #connect: () => Promise<void>;
  readonly #waiting = new Set<() => void>();
  readonly #flowing: Promise<void>;
  #ends = false;

  /** @param connect opens a connection, uses it, and closes it; rejects when any of it fails */
  constructor(connect: () => Promise<void>) {
    this.#connect = connect;
    this.#flowing = this.#flow();
  }

  /** Resolves after this many more successful connections. */
  async more(count: number): Promise<void> {
    const enough = this.#good() + count;
    while (this.#good() < enough) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  /** Connections that failed, except those that were in progress at some time of `meanwhile`. */
  failuresApartFrom(meanwhile?: Span): readonly Attempt[] {
    const excused = ({ beganAt, endedAt }: Attempt): boolean =>
      meanwhile !== undefined && beganAt <= meanwhile.until && endedAt >= meanwhile.from;
    return this.attempts.filter((attempt) => attempt.failure !== undefined && !excused(attempt));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ends = true;
    await this.#flowing;
  }

  #good(): number {
    return this.attempts.filter(({ failure }) => failure === undefined).length;
  }

  async #flow(): Promise<void> {
    while (!this.#ends) {
      const beganAt = performance.now();
      const failure = await this.#connect().then(() => undefined, String);
      const endedAt = performance.now();
      this.attempts.push({ beganAt, endedAt, ...(failure === undefined ? {} : { failure }) });
      for (const resolve of this.#waiting) resolve();
      this.#waiting.clear();
      await pause(BETWEEN_MS);
    }
  }
}

// A steady rate that leaves the machine time for everything else.
const BETWEEN_MS = 20;
