/** Pseudo-random numbers, equal in each run, so that a failing test can be repeated: xorshift32. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0 || 1;
  }

  /** Returns an integer of at least 0 and less than `limit`. */
  below(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  bytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.below(256));
  }

  /** Cuts `bytes` into pieces of 1 to `longest` bytes. */
  *pieces(bytes: Uint8Array, longest: number): Generator<Uint8Array, void, void> {
    for (let at = 0; at < bytes.length;) {
      const end = at + 1 + this.below(longest);
      yield bytes.subarray(at, end);
      at = end;
    }
  }
}
