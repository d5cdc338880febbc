import type { Rate } from '../routes/route.ts';
import { ClientKey } from './client-key.ts';
import type { ClientPrefix } from './client-key.ts';
import { hashOf, WORDS } from './ip-address.ts';
import { TokenBucket } from '../token-bucket.ts';

/** Number of slots that a client can use. */
const VARIANTS = 8;
const SETS = 8_192;

/**
 * One token bucket per client, in a set-associative table of fixed size: 65,536 buckets, 1.5 MiB, for any number of
 * addresses. A full bucket is the same as none, so that nothing has to be cleaned up. If all slots of a client are
 * taken, the fullest bucket is evicted, and its client starts with a full one again: clients that spend most are
 * remembered longest.
 */
export class ClientRates {
  #pace: TokenBucket;
  readonly #client: ClientKey;
  readonly #keys = new Uint32Array(SETS * VARIANTS * WORDS);
  /** Time at which each bucket will be full again, in monotonic milliseconds. */
  readonly #fullAt = new Float64Array(SETS * VARIANTS);

  constructor(rate: Rate, prefix: ClientPrefix) {
    this.#pace = new TokenBucket(rate);
    this.#client = new ClientKey(prefix);
  }

  /** Changes the rate. Tokens already spent stay spent. */
  use(rate: Rate, nowMs: number): void {
    const before = this.#pace;
    if (before.hasRate(rate)) return;
    const pace = new TokenBucket(rate);
    this.#pace = pace;
    for (const [slot, fullAt] of this.#fullAt.entries())
      if (fullAt > nowMs) this.#fullAt[slot] = pace.fullAtAfter(before, fullAt, nowMs);
  }

  /**
   * Takes one token of a client.
   *
   * @param host an IP address
   * @returns `false` if the bucket is empty
   */
  take(host: string, nowMs: number): boolean {
    const key = this.#client.of(host);
    const slot = this.#slotOf(key, nowMs);
    const isKnown = this.#isAt(slot, key, nowMs);
    const fullAt = this.#pace.fullAtAfterTake(isKnown ? (this.#fullAt[slot] ?? 0) : 0, nowMs);
    if (fullAt === undefined) return false;
    if (!isKnown) this.#keys.set(key, slot * WORDS);
    this.#fullAt[slot] = fullAt;
    return true;
  }

  /** Returns the slot of a client, or the slot to put it into. */
  #slotOf(key: Uint32Array, nowMs: number): number {
    const first = (hashOf(key, 0) % SETS) * VARIANTS;
    let emptiest = first;
    for (let slot = first; slot < first + VARIANTS; slot += 1) {
      if (this.#isAt(slot, key, nowMs)) return slot;
      if ((this.#fullAt[slot] ?? 0) < (this.#fullAt[emptiest] ?? 0)) emptiest = slot;
    }
    return emptiest;
  }

  #isAt(slot: number, key: Uint32Array, nowMs: number): boolean {
    if ((this.#fullAt[slot] ?? 0) <= nowMs) return false;
    const at = slot * WORDS;
    const keys = this.#keys;
    return keys[at] === key[0] && keys[at + 1] === key[1] && keys[at + 2] === key[2] && keys[at + 3] === key[3];
  }
}
