import type { ByteReader } from './byte-reader.ts';

/**
 * Lists that hellos before this one held: most clients send one that many others send, too. Whose list is among them shares it, and nothing
 * is made of its bytes again. Of each length in bytes the last one is kept.
 */
export class RecentLists<One> {
  readonly #byLength: (Recent<One> | undefined)[] = Array.from({ length: LONGEST_BYTES + 1 });

  /** The list that the same bytes stood for before, if that is known; `body` is not moved. */
  find(body: ByteReader): readonly One[] | undefined {
    const recent = this.#byLength[body.remaining];
    return recent !== undefined && body.isAt(recent.bytes) ? recent.list : undefined;
  }

  /**
   * Keeps what `bytes` stand for.
   *
   * @returns `list`, which nobody may change any more
   */
  keep(bytes: Uint8Array, list: readonly One[]): readonly One[] {
    // What was pushed into an array leaves it with room for some sixteen more; this one is kept for as long as connections live.
    const exact = Object.freeze(list.slice());
    if (bytes.length <= LONGEST_BYTES) this.#byLength[bytes.length] = { bytes, list: exact };
    return exact;
  }
}

interface Recent<One> {
  readonly bytes: Uint8Array;
  readonly list: readonly One[];
}

/** Holds every common list of ALPN names. */
const LONGEST_BYTES = 64;
