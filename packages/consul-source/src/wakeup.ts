/** Lets one loop sleep until something happens. What happens while it is awake is not lost: the next sleep is then none. */
export class Wakeup {
  #happened = false;
  #failure: { readonly reason: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** Something happened. */
  signal(): void {
    this.#happened = true;
    this.#wake?.();
  }

  /** Something failed for good: every sleep from now on rejects with `reason`. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.signal();
  }

  /** Until something happens, or for `maxMs`; ends early when `signal` aborts. */
  async sleep(maxMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#happened && !signal.aborted) await this.#next(maxMs, signal);
    this.#happened = false;
    if (this.#failure !== undefined) throw this.#failure.reason;
  }

  #next(maxMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(end, maxMs);
      signal.addEventListener('abort', end, { once: true });
      this.#wake = end;
    });
  }
}
