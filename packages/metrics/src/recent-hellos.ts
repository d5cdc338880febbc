/** A loop comes around within milliseconds: so many hellos ago is far enough. A power of two. */
const REMEMBERED = 16_384;

/**
 * Which ClientHellos have come before, by their trace: one place for each in a table of 128 KiB, however many come. A client makes a random of
 * its own for each connection (RFC 8446, section 4.1.2), so that only a loop, a retry further ahead or a replay comes twice.
 */
export class RecentHellos {
  readonly #traces = new Float64Array(REMEMBERED).fill(-1);

  /** Remembers `trace`, an integer of 0 or more. @returns whether it has come before, among the last ones */
  hasSeen(trace: number): boolean {
    const slot = trace % REMEMBERED;
    if (this.#traces[slot] === trace) return true;
    this.#traces[slot] = trace;
    return false;
  }
}
