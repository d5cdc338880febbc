/** Number of 32-bit words of a 128-bit address, the most significant first. */
export const WORDS = 4;

/** Address family; 0: not an IP address. */
export type Family = 4 | 6 | 0;

/**
 * Parses an IP address into four words, IPv4 in its IPv4-mapped form (RFC 4291, section 2.5.5.2). A zone (`%eth0`) is
 * ignored. Allocates nothing: it runs for every connection when clients are counted or checked.
 *
 * @returns 4 also for IPv4-mapped IPv6; 0 if `host` is not an address: the content of `bits` is then unspecified
 */
export function readAddress(host: string, bits: Uint32Array): Family {
  if (!host.includes(':')) return readV4(host, 0, bits) ? 4 : 0;
  if (!readV6(host, bits)) return 0;
  return bits[0] === 0 && bits[1] === 0 && bits[2] === MAPPED ? 4 : 6;
}

/** The third word of an IPv4-mapped address. */
const MAPPED = 0xff_ff;

const DOT = 46;
const COLON = 58;
const ZERO = 48;

/**
 * @param from start in `text`: an IPv4 address may end an IPv6 address
 */
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
    // Leading zeros are refused: some parsers read them as octal.
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

/** Groups of the address being parsed; shared, since parsing is synchronous. */
const groups = new Uint16Array(GROUPS);
const embedded = new Uint32Array(WORDS);

function readV6(text: string, bits: Uint32Array): boolean {
  let count = 0;
  /** Number of groups before `::`; -1 if there is none so far. */
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

/** Places the groups, those behind `::` at the end. */
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

/** Returns the value of a hexadecimal digit, or -1. */
function digitOf(code: number): number {
  if (code >= ZERO && code <= 57) return code - ZERO;
  const letter = code | 32;
  return letter >= 97 && letter <= 102 ? letter - 87 : -1;
}

/** Returns a 128-bit mask with the first `count` bits set. */
export function leadingBits(count: number): Uint32Array {
  return Uint32Array.from({ length: WORDS }, (_, index) => leadingBitsOf(index, count));
}

/** Returns the word at `index` of {@link leadingBits}. */
export function leadingBitsOf(index: number, count: number): number {
  const own = Math.min(32, Math.max(0, count - index * 32));
  return own === 0 ? 0 : (0xff_ff_ff_ff << (32 - own)) >>> 0;
}

// Random, so that nobody can choose addresses that all hash into one slot.
const SEED = Math.trunc(Math.random() * 0x1_00_00_00_00);

/** Hashes the four words at `at`, with the finalizer of MurmurHash3 after each word. Differs between processes. */
export function hashOf(keys: Uint32Array, at: number): number {
  let h = SEED;
  for (let word = 0; word < WORDS; word += 1) h = mixed(h ^ (keys[at + word] ?? 0));
  return h >>> 0;
}

/** Finalizer of MurmurHash3: every bit of `value` affects every bit of the result. */
export function mixed(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85_eb_ca_6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2_b2_ae_35);
  return h ^ (h >>> 16);
}
