/** Hands on the newest of what it is told to whoever watches: the form of a source whose words come from elsewhere. */
export class Relay<T> {
  readonly name: string;
  #value: T;
  #told = 1;
  #wake: () => void = () => undefined;

  /** @param first what is yielded at once */
  constructor(name: string, first: T) {
    this.name = name;
    this.#value = first;
  }

  tell(value: T): void {
    this.#value = value;
    this.#told += 1;
    this.#wake();
  }

  /** One at a time may watch. What is told while the last value is still looked at replaces what was told before it. */
  async *watch(signal: AbortSignal): AsyncGenerator<T> {
    let seen = 0;
    const wake = (): void => this.#wake();
    signal.addEventListener('abort', wake, { once: true });
    try {
      while (!signal.aborted) {
        if (seen === this.#told) await new Promise<void>((resolve) => (this.#wake = resolve));
        if (seen === this.#told) continue;
        seen = this.#told;
        const value = this.#value;
        yield value;
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }
}
