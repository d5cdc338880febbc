import { leadingBits, readAddress, WORDS } from './ip-address.ts';

/** Prefix lengths: addresses with the same prefix are one client. */
export interface ClientPrefix {
  /** For IPv4, from 1 to 32; 32 makes each address a client. */
  readonly v4: number;
  /** For IPv6, from 1 to 128; a customer or a machine usually has a /64. */
  readonly v6: number;
}

/** Maps an address to its client. */
export class ClientKey {
  readonly #v4: Uint32Array;
  readonly #v6: Uint32Array;
  readonly #key = new Uint32Array(WORDS);

  constructor({ v4, v6 }: ClientPrefix) {
    this.#v4 = leadingBits(96 + v4);
    this.#v6 = leadingBits(v6);
  }

  /** Returns the prefix bits of `host`, an IP address; valid until the next call. */
  of(host: string): Uint32Array {
    const key = this.#key;
    const family = readAddress(host, key);
    // A plugin's filter may set any string as the client's address: all invalid addresses are one client.
    if (family === 0) return key.fill(0);
    const mask = family === 4 ? this.#v4 : this.#v6;
    for (let word = 0; word < WORDS; word += 1) key[word] = (key[word] ?? 0) & (mask[word] ?? 0);
    return key;
  }
}
