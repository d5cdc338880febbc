import { endsWithin } from './scope.ts';

/**
 * The latest value of something, and its changes: one side sets, any number of others wait. A value that nobody looked at before the
 * next one came is skipped, so that a slow reader costs no memory.
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

  /** Sets the value and wakes whoever waits, also when it equals the one before. */
  set(value: T): void {
    this.#value = value;
    this.#revision += 1;
    for (const wake of this.#waiting) wake();
  }

  /**
   * Resolves when the revision is not `seen` any more, when `withinMs` milliseconds have passed, or when `signal` aborts: whoever
   * waits looks which it was. Nothing that was set while nobody waited is missed. Leaves no timer behind.
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
