import { ClientKey } from './client-key.ts';
import type { ClientPrefix } from './client-key.ts';
import { hashOf, WORDS } from './ip-address.ts';

const SMALLEST_CAPACITY = 64;

/**
 * Counts by client address: an open hash table in typed arrays, linear probing. A `Map` would be written to and deleted from with
 * every connection, which V8's collector does not take well (docs/adr/0023); this one allocates nothing. Its size follows the number
 * of clients that have a count, which is never above the number of connections.
 */
export class ClientCounts {
  #capacity = SMALLEST_CAPACITY;
  #keys: Uint32Array = new Uint32Array(SMALLEST_CAPACITY * WORDS);
  #counts: Uint32Array = new Uint32Array(SMALLEST_CAPACITY);
  #used = 0;
  readonly #client: ClientKey;

  constructor(prefix: ClientPrefix) {
    this.#client = new ClientKey(prefix);
  }

  /** How many clients have a count above 0. */
  get size(): number {
    return this.#used;
  }

  /** The count of `host`, an IP address. */
  of(host: string): number {
    return this.#counts[this.#slotOf(this.#client.of(host), 0)] ?? 0;
  }

  /** One more of `host`. @returns the count, this one included */
  add(host: string): number {
    const key = this.#client.of(host);
    const slot = this.#slotOf(key, 0);
    if (this.#counts[slot] === 0) {
      this.#keys.set(key, slot * WORDS);
      this.#used += 1;
    }
    const count = (this.#counts[slot] ?? 0) + 1;
    this.#counts[slot] = count;
    if (this.#used * 2 > this.#capacity) this.#resize(this.#capacity * 2);
    return count;
  }

  /** One less of `host`, which was added before. */
  remove(host: string): void {
    const slot = this.#slotOf(this.#client.of(host), 0);
    const count = this.#counts[slot] ?? 0;
    if (count === 0) return;
    this.#counts[slot] = count - 1;
    if (count > 1) return;
    this.#used -= 1;
    this.#closeGap(slot);
    if (this.#capacity > SMALLEST_CAPACITY && this.#used * 8 < this.#capacity) this.#resize(this.#capacity / 2);
  }

  /** Where a key is, or would be put. */
  #slotOf(keys: Uint32Array, at: number): number {
    const a = keys[at] ?? 0;
    const b = keys[at + 1] ?? 0;
    const c = keys[at + 2] ?? 0;
    const d = keys[at + 3] ?? 0;
    let slot = hashOf(keys, at) & (this.#capacity - 1);
    for (; this.#counts[slot] !== 0; slot = (slot + 1) & (this.#capacity - 1)) {
      const start = slot * WORDS;
      const known = this.#keys;
      if (known[start] === a && known[start + 1] === b && known[start + 2] === c && known[start + 3] === d) break;
    }
    return slot;
  }

  /** Moves back what stands behind a free slot and belongs before it, so that no search ends too early. */
  #closeGap(from: number): void {
    const last = this.#capacity - 1;
    let gap = from;
    for (let slot = (gap + 1) & last; this.#counts[slot] !== 0; slot = (slot + 1) & last) {
      const start = slot * WORDS;
      const home = hashOf(this.#keys, start) & last;
      if (((slot - home) & last) < ((slot - gap) & last)) continue;
      this.#keys.copyWithin(gap * WORDS, start, start + WORDS);
      this.#counts[gap] = this.#counts[slot] ?? 0;
      this.#counts[slot] = 0;
      gap = slot;
    }
  }

  #resize(capacity: number): void {
    const [keys, counts] = [this.#keys, this.#counts];
    this.#capacity = capacity;
    this.#keys = new Uint32Array(capacity * WORDS);
    this.#counts = new Uint32Array(capacity);
    for (const [slot, count] of counts.entries()) {
      if (count === 0) continue;
      const to = this.#slotOf(keys, slot * WORDS);
      this.#keys.set(keys.subarray(slot * WORDS, (slot + 1) * WORDS), to * WORDS);
      this.#counts[to] = count;
    }
  }
}
