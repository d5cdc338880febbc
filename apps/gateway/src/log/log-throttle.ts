/** What may happen at any rate, and is told of once a second at most. */
export class LogThrottle {
  #toldAt = -Infinity;
  #untold = 0;

  /** It has happened. Answers how often it went untold since it was last told of; `undefined` when it is to go untold now, too. */
  happened(): number | undefined {
    const now = performance.now();
    if (now - this.#toldAt < EVERY_MS) {
      this.#untold += 1;
      return undefined;
    }
    const untold = this.#untold;
    this.#toldAt = now;
    this.#untold = 0;
    return untold;
  }
}

const EVERY_MS = 1_000;
