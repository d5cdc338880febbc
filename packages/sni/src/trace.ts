// RFC 8446, 4.1.2.
const RANDOM_BYTES = 32;

/**
 * Returns the trace of a TLS connection: every hop that sees its ClientHello computes the same number, although none
 * decrypts or adds anything. It is a hash of the client random, so that a log contains nothing that would match key
 * logs to captured traffic. A second ClientHello after a HelloRetryRequest has the same random (RFC 8446, 4.1.2), and
 * therefore the same trace.
 *
 * @param bytes contain the 32 bytes of the random
 * @param start offset of the random
 * @returns an integer from 0 to 2^52 - 1
 */
export function traceOf(bytes: Uint8Array, start = 0): number {
  let [high, low] = [SEED_HIGH, SEED_LOW];
  for (let at = start; at < start + RANDOM_BYTES; at += 4) {
    const word =
      ((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0);
    high = mixed(high ^ word);
    low = mixed(low ^ high ^ word);
  }
  return (high >>> 0) * 2 ** LOW_BITS + (low >>> (32 - LOW_BITS));
}

// 32 bits of one word and 20 of the other: together they are exact as a number.
const LOW_BITS = 20;

const SEED_HIGH = 0x9e_37_79_b9;
const SEED_LOW = 0x7f_4a_7c_15;

/** The finalizer of MurmurHash3. */
function mixed(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35);
  return hash ^ (hash >>> 16);
}
