/** The extension types of one hello. A `Set` would cost as much as everything else in the common case. */
export class SeenTypes {
  // Types 0 to 31 and 32 to 63, one bit each: most of the types in use.
  #low = 0;
  #high = 0;
  #others: Set<number> | undefined;

  /** Records `type`, 0 to 65535. @returns whether it was recorded before */
  note(type: number): boolean {
    if (type >= 64) return this.#noteOther(type);
    const bit = 1 << (type & 31);
    const seen = ((type < 32 ? this.#low : this.#high) & bit) !== 0;
    if (type < 32) this.#low |= bit;
    else this.#high |= bit;
    return seen;
  }

  #noteOther(type: number): boolean {
    this.#others ??= new Set();
    const known = this.#others.size;
    return this.#others.add(type).size === known;
  }
}
