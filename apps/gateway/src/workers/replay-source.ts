/** Hands on the newest of what it is told to whoever watches: the form of a source whose words come from elsewhere. */
export class ReplaySource<T> {
  readonly name: string;
  /** Resolves when it has been told something. */
  readonly firstSnapshot: Promise<void>;
  #onFirstWord: () => void = () => undefined;
  #word: { readonly value: T } | undefined;
  #wake: () => void = () => undefined;

  constructor(name: string) {
    this.name = name;
    this.firstSnapshot = new Promise((resolve) => (this.#onFirstWord = resolve));
  }

  tell(value: T): void {
    this.#word = { value };
    this.#onFirstWord();
    this.#wake();
  }

  /** One at a time may watch. What is told while the last value is still looked at replaces what was told before it. */
  async *watch(signal: AbortSignal): AsyncGenerator<T> {
    let seen: { readonly value: T } | undefined;
    const wake = (): void => this.#wake();
    signal.addEventListener('abort', wake, { once: true });
    try {
      while (!signal.aborted) {
        if (seen === this.#word) await new Promise<void>((resolve) => (this.#wake = resolve));
        if (seen === this.#word || this.#word === undefined) continue;
        seen = this.#word;
        yield seen.value;
      }
    } finally {
      signal.removeEventListener('abort', wake);
    }
  }
}
