import { isIPv6 } from 'node:net';
import type { ByteReader } from './byte-reader.ts';
import { rejected } from './verdict.ts';
import type { Rejected, ServerNameVerdict } from './verdict.ts';

/**
 * Reads the host name in the body of a `server_name` extension (RFC 6066, section 3), normalised; `undefined` if the
 * list has only names of other types. Those are skipped by the 16-bit length that begins every name type.
 */
export function readServerName(body: ByteReader): string | undefined | Rejected {
  const list = body.part(body.uint16());
  if (list.overrun || list.remaining === 0 || body.remaining > 0)
    return wrongList('a list of names', 'an empty or broken one');
  let name: ByteReader | undefined;
  while (list.remaining > 0) {
    const type = list.uint8();
    const entry = list.part(list.uint16());
    if (list.overrun) return wrongList('names that end with their list', 'one that goes on');
    if (type !== HOST_NAME) continue;
    if (name !== undefined) return rejected('server_name_repeated', 'expected one host name, found a second');
    name = entry;
  }
  return name && readHostName(name);
}

/**
 * Validates a name from another origin, such as a command line, with the rules for names in hellos: letters beyond
 * ASCII are bytes of UTF-8, which are not allowed in a host name. Pure; never throws.
 */
export function parseServerName(text: string): ServerNameVerdict {
  const bytes = Buffer.from(text);
  const name = isPossibleLength(bytes.length) ? hostName(bytes.toString('latin1')) : wrongLength(bytes.length);
  return typeof name === 'string' ? { kind: 'name', serverName: name } : name;
}

const HOST_NAME = 0;
// RFC 1035, 2.3.4: 255 bytes on the wire are 253 characters as text, without the root's dot.
const MAX_NAME_BYTES = 253;
const MAX_LABEL_BYTES = 63;

// RFC 1123, 2.1, and the underscore, which Consul allows in service names.
const LABEL = `[a-z0-9_-]{1,${MAX_LABEL_BYTES}}`;
const HOST = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`, 'i');
const FOREIGN = /[^a-z0-9_.-]/i;
// RFC 1123, 2.1: the last label of a name is never a number, so `10.0.0.1` is an address. So are `127.1` and `0x7f.1`
// to resolvers of the inet_aton kind, which a client must not reach through a name.
const ENDS_IN_NUMBER = /(?:^|\.)(?:\d+|0x[\da-f]*)$/i;

/** Rejects an impossible length before a string is created. */
function readHostName(entry: ByteReader): string | Rejected {
  return isPossibleLength(entry.remaining) ? hostName(entry.text()) : wrongLength(entry.remaining);
}

/** The trailing dot of the root may be included. */
function isPossibleLength(nameBytes: number): boolean {
  return nameBytes > 0 && nameBytes <= MAX_NAME_BYTES + 1;
}

function hostName(text: string): string | Rejected {
  const name = text.endsWith('.') ? text.slice(0, -1) : text;
  return isPlain(name) ? name : judged(name);
}

/**
 * Fast path: nearly every name is valid, in lower case, and has a last label that begins with a letter and therefore is
 * not a number. One pass checks that, without a regular expression or another string. Other names may still be valid:
 * {@link judged} decides.
 */
function isPlain(name: string): boolean {
  if (name.length > MAX_NAME_BYTES) return false;
  let labelAt = 0;
  for (let at = 0; at < name.length; at += 1) {
    const code = name.charCodeAt(at);
    if (code === DOT) {
      if (at === labelAt || at - labelAt > MAX_LABEL_BYTES) return false;
      labelAt = at + 1;
    } else if (PLAIN[code] !== 1) return false;
  }
  const lastBytes = name.length - labelAt;
  return lastBytes > 0 && lastBytes <= MAX_LABEL_BYTES && !isDigit(name.charCodeAt(labelAt));
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

const DOT = 0x2e;

/** 1 for the bytes that a lower-case label may contain. */
const PLAIN = Uint8Array.from({ length: 256 }, (_, code) => (/[a-z0-9_-]/.test(String.fromCharCode(code)) ? 1 : 0));

function judged(name: string): string | Rejected {
  if (!HOST.test(name)) return isIPv6(name) ? isAddress('IPv6') : wrongLetters(name);
  if (name.length > MAX_NAME_BYTES) return wrongLength(name.length);
  return ENDS_IN_NUMBER.test(name) ? isAddress('IPv4') : name.toLowerCase();
}

function wrongList(expected: string, found: string): Rejected {
  return rejected('malformed', `expected ${expected} in the server name extension, found ${found}`);
}

function wrongLength(nameBytes: number): Rejected {
  return rejected('server_name_length', `expected a host name of 1 to ${MAX_NAME_BYTES} bytes, found ${nameBytes}`);
}

function isAddress(family: string): Rejected {
  return rejected('server_name_ip_address', `expected a host name, found what reads as an ${family} address`);
}

function wrongLetters(name: string): Rejected {
  const at = name.search(FOREIGN);
  if (at < 0) return wrongLabel(name);
  const code = name.charCodeAt(at).toString(16).padStart(2, '0');
  const expected = 'expected letters, digits, hyphens, underscores and dots in the host name';
  return rejected('server_name_characters', `${expected}, found byte 0x${code} at ${at}`);
}

function wrongLabel(name: string): Rejected {
  const wrong = name.split('.').find((label) => label === '' || label.length > MAX_LABEL_BYTES) ?? '';
  const expected = `expected labels of 1 to ${MAX_LABEL_BYTES} bytes in the host name`;
  return rejected('server_name_label', `${expected}, found one of ${wrong.length}`);
}
