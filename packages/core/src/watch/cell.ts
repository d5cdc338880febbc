import { endsWithin } from './scope.ts';

/**
 * The latest value of something, and its changes: one writer, any number of readers. A value that was not read before the
 * next one is set is skipped, so that a slow reader costs no memory.
 */
export class Cell<T> {
  #value: T | undefined;
  #revision = 0;
  readonly #waiting = new Set<() => void>();

  /** The value set last; `undefined` before the first. */
  get value(): T | undefined {
    return this.#value;
  }

  /** How often a value was set: 0 before the first. What {@link changed} compares with. */
  get revision(): number {
    return this.#revision;
  }

  /** Sets the value and wakes the waiting readers, also when it equals the previous one. */
  set(value: T): void {
    this.#value = value;
    this.#revision += 1;
    for (const wake of this.#waiting) wake();
  }

  /**
   * Resolves when the revision is not `seen` any more, when `withinMs` milliseconds have passed, or when `signal` aborts: the
   * caller checks which it was. A value set while nobody waited is not missed. Leaves no timer behind.
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

  /** Yields the value when there is one, then the latest after each change. Ends when `signal` aborts. */
  async *watch(signal: AbortSignal): AsyncGenerator<T, void, void> {
    for (let seen = 0; ;) {
      await this.changed(seen, signal);
      if (signal.aborted) return;
      seen = this.#revision;
      yield this.#value as T;
    }
  }
}
