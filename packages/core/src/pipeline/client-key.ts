import { leadingBits, readAddress, WORDS } from './ip-address.ts';

/** How many leading bits of an address make one client. */
export interface ClientPrefix {
  /** Of IPv4: 32 is each address by itself. From 1 to 32. */
  readonly v4: number;
  /** Of IPv6: 64 is what one customer or one machine usually has. From 1 to 128. */
  readonly v6: number;
}

/** Says which client an address belongs to. */
export class ClientKey {
  readonly #v4: Uint32Array;
  readonly #v6: Uint32Array;
  readonly #key = new Uint32Array(WORDS);

  constructor({ v4, v6 }: ClientPrefix) {
    this.#v4 = leadingBits(96 + v4);
    this.#v6 = leadingBits(v6);
  }

  /** The bits that make the client of `host`, an IP address; of use until the next call. */
  of(host: string): Uint32Array {
    const key = this.#key;
    const family = readAddress(host, key);
    // A filter of a plugin may call a client anything: all that are no address are one.
    if (family === 0) return key.fill(0);
    const mask = family === 4 ? this.#v4 : this.#v6;
    for (let word = 0; word < WORDS; word += 1) key[word] = (key[word] ?? 0) & (mask[word] ?? 0);
    return key;
  }
}
