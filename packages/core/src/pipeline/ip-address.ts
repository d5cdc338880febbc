/** An address in 128 bits takes so many 32-bit words, the most significant first. */
export const WORDS = 4;

/** Which addresses an IP address is one of; 0: it is none. */
export type Family = 4 | 6 | 0;

/**
 * Reads an IP address into four words, IPv4 as IPv4 in IPv6 (RFC 4291, section 2.5.5.2). A zone (`%eth0`) is left out. Allocates nothing:
 * it runs for every connection where clients are counted or judged.
 *
 * @returns 4 also for IPv4 in IPv6; 0 for what is no address, `bits` are of no meaning then
 */
export function readAddress(host: string, bits: Uint32Array): Family {
  if (!host.includes(':')) return readV4(host, 0, bits) ? 4 : 0;
  if (!readV6(host, bits)) return 0;
  return bits[0] === 0 && bits[1] === 0 && bits[2] === MAPPED ? 4 : 6;
}

/** The third word of an IPv4 address in IPv6. */
const MAPPED = 0xff_ff;

const DOT = 46;
const COLON = 58;
const ZERO = 48;

/** @param from where it begins in `text`: it may be the end of an IPv6 address */
function readV4(text: string, from: number, bits: Uint32Array): boolean {
  let address = 0;
  let part = -1;
  let dots = 0;
  for (let at = from; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === DOT && part >= 0) {
      address = (address << 8) | part;
      part = -1;
      dots += 1;
      continue;
    }
    const digit = code - ZERO;
    if (digit < 0 || digit > 9) return false;
    // No leading zeros: to some they are octal.
    if (part === 0) return false;
    part = part < 0 ? digit : part * 10 + digit;
    if (part > 255) return false;
  }
  if (dots !== 3 || part < 0) return false;
  bits[0] = 0;
  bits[1] = 0;
  bits[2] = MAPPED;
  bits[3] = (address << 8) | part;
  return true;
}

const GROUPS = 8;

/** The groups of the address that is being read: one address at a time is. */
const groups = new Uint16Array(GROUPS);
const embedded = new Uint32Array(WORDS);

function readV6(text: string, bits: Uint32Array): boolean {
  let count = 0;
  /** How many groups stand before `::`; -1 while there was none. */
  let gap = -1;
  let at = 0;
  const zone = text.indexOf('%');
  const end = zone === -1 ? text.length : zone;
  if (text.charCodeAt(0) === COLON) {
    if (text.charCodeAt(1) !== COLON) return false;
    gap = 0;
    at = 2;
  }
  while (at < end) {
    if (count === GROUPS) return false;
    let group = 0;
    const start = at;
    let digit = digitOf(text.charCodeAt(at));
    for (; at < end && digit >= 0; digit = digitOf(text.charCodeAt(at))) {
      group = group * 16 + digit;
      at += 1;
    }
    if (at < end && text.charCodeAt(at) === DOT) {
      if (count > GROUPS - 2 || !readV4(text.slice(0, end), start, embedded)) return false;
      groups[count] = (embedded[3] ?? 0) >>> 16;
      groups[count + 1] = embedded[3] ?? 0;
      count += 2;
      at = end;
      break;
    }
    if (at === start || at - start > 4) return false;
    groups[count] = group;
    count += 1;
    if (at === end) break;
    if (text.charCodeAt(at) !== COLON) return false;
    at += 1;
    if (at === end) return false;
    if (text.charCodeAt(at) === COLON) {
      if (gap !== -1) return false;
      gap = count;
      at += 1;
    }
  }
  return spread(count, gap, bits);
}

/** Puts the groups where they belong: those behind `::` at the end. */
function spread(count: number, gap: number, bits: Uint32Array): boolean {
  if (gap === -1 ? count !== GROUPS : count === GROUPS) return false;
  const behind = gap === -1 ? 0 : count - gap;
  const before = count - behind;
  for (let word = 0; word < WORDS; word += 1) {
    bits[word] = ((groupAt(2 * word, before, behind) << 16) | groupAt(2 * word + 1, before, behind)) >>> 0;
  }
  return true;
}

function groupAt(index: number, before: number, behind: number): number {
  if (index < before) return groups[index] ?? 0;
  const fromEnd = GROUPS - index;
  return fromEnd <= behind ? (groups[before + behind - fromEnd] ?? 0) : 0;
}

/** The value of a hexadecimal digit; -1 when it is none. */
function digitOf(code: number): number {
  if (code >= ZERO && code <= 57) return code - ZERO;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/** The first `count` of 128 bits set. */
export function leadingBits(count: number): Uint32Array {
  const word = (index: number): number => {
    const own = Math.min(32, Math.max(0, count - index * 32));
    return own === 0 ? 0 : (0xff_ff_ff_ff << (32 - own)) >>> 0;
  };
  return Uint32Array.of(word(0), word(1), word(2), word(3));
}

// Seeded, so that nobody can choose addresses that all fall into one slot.
const SEED = Math.trunc(Math.random() * 0x1_00_00_00_00);

/** The four words at `at`, mixed: the finish of MurmurHash3 after each word. Differs from process to process. */
export function hashOf(keys: Uint32Array, at: number): number {
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
