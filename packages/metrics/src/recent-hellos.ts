/** A looping ClientHello returns within milliseconds, so that this many are enough. A power of two. */
const REMEMBERED = 16_384;

/**
 * Detects repeated ClientHellos by their trace, in a table of fixed size: 128 KiB. A client generates a new random for
 * each connection (RFC 8446, section 4.1.2), so that only a loop, a retry by a proxy or a replay repeats one.
 */
export class RecentHellos {
  readonly #traces = new Float64Array(REMEMBERED).fill(-1);

  /** Records `trace`, an integer of 0 or more. @returns whether it was among the recent ones */
  hasSeen(trace: number): boolean {
    const slot = trace % REMEMBERED;
    if (this.#traces[slot] === trace) return true;
    this.#traces[slot] = trace;
    return false;
  }
}
