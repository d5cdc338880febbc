/** A value that changes, and those who wait for its next change. Whoever is slow sees the newest only. */
export class Latest<T> {
  #value: { readonly of: T } | undefined;
  readonly #waiting = new Set<() => void>();

  /** `undefined` until it has been set. */
  get value(): T | undefined {
    return this.#value?.of;
  }

  set(value: T): void {
    this.#value = { of: value };
    for (const wake of this.#waiting) wake();
  }

  /** The value when there is one, then each that follows. Ends when `signal` aborts. */
  async *watch(signal: AbortSignal): AsyncGenerator<T, void, void> {
    let seen: { readonly of: T } | undefined;
    while (!signal.aborted) {
      const now = this.#value;
      if (now === undefined || now === seen) await this.#change(signal);
      else {
        seen = now;
        yield now.of;
      }
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        this.#waiting.delete(end);
        signal.removeEventListener('abort', end);
        resolve();
      };
      this.#waiting.add(end);
      signal.addEventListener('abort', end, { once: true });
    });
  }
}
