import { ClientKey } from './client-key.ts';
import type { ClientPrefix } from './client-key.ts';
import { hashOf, WORDS } from './ip-address.ts';

const SMALLEST_CAPACITY = 64;

/**
 * Counts by client address: an open-addressing hash table in typed arrays, with linear probing. A `Map` with an
 * insertion and a deletion per connection is expensive for V8's garbage collector (docs/adr/0023); this table allocates
 * nothing per connection. Its size follows the number of clients with a count, which never exceeds the number of
 * connections.
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

  /** Number of clients with a count above 0. */
  get size(): number {
    return this.#used;
  }

  /** Returns the count of `host`, an IP address. */
  of(host: string): number {
    return this.#counts[this.#slotOf(this.#client.of(host), 0)] ?? 0;
  }

  /** Increments the count of `host`. @returns the new count */
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

  /** Decrements the count of `host`, which must have been added before. */
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

  /** Returns the slot of a key, or the free slot to put it into. */
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

  /** Moves back the entries behind a freed slot that belong before it, so that no probe ends too early. */
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
