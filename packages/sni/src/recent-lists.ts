import type { ByteReader } from './byte-reader.ts';

/**
 * A cache of the lists in recent hellos: most clients send a list that many others send too. A hit shares the list and
 * skips the parsing. Keeps one list for each length in bytes.
 */
export class RecentLists<One> {
  readonly #byLength: (Recent<One> | undefined)[] = Array.from({ length: LONGEST_BYTES + 1 });

  /** Returns the list parsed from equal bytes before, if it is cached; does not move `body`. */
  find(body: ByteReader): readonly One[] | undefined {
    const recent = this.#byLength[body.remaining];
    return recent !== undefined && body.isAt(recent.bytes) ? recent.list : undefined;
  }

  /**
   * Caches the list that `bytes` encode.
   *
   * @returns a frozen copy of `list`
   */
  keep(bytes: Uint8Array, list: readonly One[]): readonly One[] {
    // A copy, since an array that was pushed to has capacity for some sixteen more elements; this one is kept as long
    // as connections live.
    const exact = Object.freeze(list.slice());
    if (bytes.length <= LONGEST_BYTES) this.#byLength[bytes.length] = { bytes, list: exact };
    return exact;
  }
}

interface Recent<One> {
  readonly bytes: Uint8Array;
  readonly list: readonly One[];
}

/** Covers every common list of ALPN names. */
const LONGEST_BYTES = 64;
