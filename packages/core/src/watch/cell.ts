import { endsWithin } from './scope.ts';

/**
 * The latest value of something: one writer, any number of readers. A value that is replaced before a reader gets to it
 * is skipped, so that a slow reader costs no memory.
 */
export class Cell<T> {
  #value: T | undefined;
  #revision = 0;
  readonly #waiting = new Set<() => void>();

  /** The last value; `undefined` before the first. */
  get value(): T | undefined {
    return this.#value;
  }

  /** Number of values set so far; compare it with {@link changed}. */
  get revision(): number {
    return this.#revision;
  }

  /** Sets the value and wakes the waiting readers, even if it equals the previous one. */
  set(value: T): void {
    this.#value = value;
    this.#revision += 1;
    for (const wake of this.#waiting) wake();
  }

  /**
   * Resolves when the revision differs from `seen`, when `withinMs` milliseconds have passed, or when `signal` aborts;
   * the caller checks which. Values set before the call are not missed. Leaves no timer behind.
   */
  async changed(seen: number, signal: AbortSignal, withinMs?: number): Promise<void> {
    if (seen !== this.#revision || signal.aborted) return;
    await endsWithin(
      (end) => {
        this.#waiting.add(end);
        return () => this.#waiting.delete(end);
      },
      withinMs,
      signal,
    );
  }

  /** Yields the value, if there is one, then the latest value after each change. Ends when `signal` aborts. */
  async *watch(signal: AbortSignal): AsyncGenerator<T, void, void> {
    for (let seen = 0; ;) {
      await this.changed(seen, signal);
      if (signal.aborted) return;
      seen = this.#revision;
      yield this.#value as T;
    }
  }
}
