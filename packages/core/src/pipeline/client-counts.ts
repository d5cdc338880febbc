/** How many leading bits of an address make one client. */
export interface ClientPrefix {
  /** Of IPv4: 32 is each address by itself. From 1 to 32. */
  readonly v4: number;
  /** Of IPv6: 64 is what one customer or one machine usually has. From 1 to 128. */
  readonly v6: number;
}

const WORDS = 4;
const SMALLEST_CAPACITY = 64;

/**
 * Counts by client address: an open hash table in typed arrays, linear probing. A `Map` would be written to and deleted from with
 * every connection, which V8's collector does not take well (docs/adr/0023); this one allocates nothing. Its size follows the number
 * of clients that have a count, which is never above the number of connections.
 */
export class ClientCounts {
  readonly #masks: { readonly v4: Uint32Array; readonly v6: Uint32Array };
  #capacity = SMALLEST_CAPACITY;
  #keys: Uint32Array = new Uint32Array(SMALLEST_CAPACITY * WORDS);
  #counts: Uint32Array = new Uint32Array(SMALLEST_CAPACITY);
  #used = 0;
  readonly #key = new Uint32Array(WORDS);

  constructor(prefix: ClientPrefix) {
    this.#masks = { v4: maskOf(96 + prefix.v4), v6: maskOf(prefix.v6) };
  }

  /** How many clients have a count above 0. */
  get size(): number {
    return this.#used;
  }

  /** The count of `host`, an IP address. */
  of(host: string): number {
    this.#read(host);
    return this.#counts[this.#slotOf(this.#key, 0)] ?? 0;
  }

  /** One more of `host`. @returns the count, this one included */
  add(host: string): number {
    this.#read(host);
    const slot = this.#slotOf(this.#key, 0);
    if (this.#counts[slot] === 0) {
      this.#keys.set(this.#key, slot * WORDS);
      this.#used += 1;
    }
    const count = (this.#counts[slot] ?? 0) + 1;
    this.#counts[slot] = count;
    if (this.#used * 2 > this.#capacity) this.#resize(this.#capacity * 2);
    return count;
  }

  /** One less of `host`, which was added before. */
  remove(host: string): void {
    this.#read(host);
    const slot = this.#slotOf(this.#key, 0);
    const count = this.#counts[slot] ?? 0;
    if (count === 0) return;
    this.#counts[slot] = count - 1;
    if (count > 1) return;
    this.#used -= 1;
    this.#closeGap(slot);
    if (this.#capacity > SMALLEST_CAPACITY && this.#used * 8 < this.#capacity) this.#resize(this.#capacity / 2);
  }

  #read(host: string): void {
    const mask = host.includes(':') ? this.#masks.v6 : this.#masks.v4;
    readAddress(host, this.#key);
    for (let word = 0; word < WORDS; word += 1) this.#key[word] = (this.#key[word] ?? 0) & (mask[word] ?? 0);
  }

  /** Where a key is, or would be put. */
  #slotOf(keys: Uint32Array, at: number): number {
    const a = keys[at] ?? 0;
    const b = keys[at + 1] ?? 0;
    const c = keys[at + 2] ?? 0;
    const d = keys[at + 3] ?? 0;
    let slot = hash(keys, at) & (this.#capacity - 1);
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
      const home = hash(this.#keys, start) & last;
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

/** Reads `host`, an IP address, into four words; IPv4 as IPv6 has it (RFC 4291, section 2.5.5.2). */
export function readAddress(host: string, into: Uint32Array): void {
  if (host.includes(':')) readV6(host, into);
  else readV4(host, into);
}

/** The first `bits` of 128 set. */
function maskOf(bits: number): Uint32Array {
  const word = (index: number): number => {
    const own = Math.min(32, Math.max(0, bits - index * 32));
    return own === 0 ? 0 : (0xff_ff_ff_ff << (32 - own)) >>> 0;
  };
  return Uint32Array.of(word(0), word(1), word(2), word(3));
}

// Seeded, so that nobody can choose addresses that all fall into one slot.
const SEED = Math.trunc(Math.random() * 0x1_00_00_00_00);

/** The finish of MurmurHash3 after each word. */
function hash(keys: Uint32Array, at: number): number {
  let h = SEED;
  for (let word = 0; word < WORDS; word += 1) h = mixed(h ^ (keys[at + word] ?? 0));
  return h >>> 0;
}

function mixed(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85_eb_ca_6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2_b2_ae_35);
  return h ^ (h >>> 16);
}

const DOT = 46;
const ZERO = 48;

function readV4(host: string, key: Uint32Array): void {
  let address = 0;
  let part = 0;
  for (let at = 0; at < host.length; at += 1) {
    const code = host.charCodeAt(at);
    if (code === DOT) {
      address = (address << 8) | part;
      part = 0;
    } else part = part * 10 + code - ZERO;
  }
  key[0] = 0;
  key[1] = 0;
  key[2] = 0xff_ff;
  key[3] = (address << 8) | part;
}

function readV6(host: string, key: Uint32Array): void {
  const [address = ''] = host.split('%');
  const [before = '', after] = address.split('::');
  const head = groupsIn(before);
  const tail = after === undefined ? [] : groupsIn(after);
  const groups = [...head, ...Array.from({ length: Math.max(0, 8 - head.length - tail.length) }, () => 0), ...tail];
  for (let word = 0; word < WORDS; word += 1) key[word] = ((groups[2 * word] ?? 0) << 16) | (groups[2 * word + 1] ?? 0);
}

/** IPv4 at the end counts as two. */
function groupsIn(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [Number.parseInt(group, 16)];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [(a << 8) | b, (c << 8) | d];
  });
}
