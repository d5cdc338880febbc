import { ByteReader } from './byte-reader.ts';
import { RecentLists } from './recent-lists.ts';
import { readHandshake } from './record.ts';
import type { Handshake } from './record.ts';
import { SeenTypes } from './seen-types.ts';
import { readServerName } from './server-name.ts';
import { traceOf } from './trace.ts';
import { rejected } from './verdict.ts';
import type { ClientHelloVerdict, ParsedClientHello, Rejected } from './verdict.ts';

/**
 * Parses the first bytes of a TLS connection. Pure; never throws, whatever the bytes; neither keeps nor changes them.
 *
 * Correct for any split into segments and records. The work of a call is linear in the bytes that are new since the
 * call that returned its `progress`; there is no limit on the size of a hello (TLS allows about 130 KB, or 770 KB in
 * records of one byte) nor on the time until it is complete: the caller enforces both.
 *
 * @param bytes all bytes received so far, from the first
 * @param progress from the last `more` for the same connection; without it, all bytes are parsed again
 */
export function parseClientHello(bytes: Uint8Array, progress?: unknown): ClientHelloVerdict {
  const found = readHandshake(bytes, progress);
  return found.kind === 'handshake' ? readHello(found) : found;
}

/** The result while extensions are still being parsed. */
type Draft = { -readonly [Field in keyof ParsedClientHello]: ParsedClientHello[Field] };

// RFC 8446, 4.1.2.
const VERSION_BYTES = 2;
const RANDOM_BYTES = 32;
const MAX_SESSION_ID_BYTES = 32;

const SSL3 = 0x0300;
const TLS12 = 0x0303;

// https://www.iana.org/assignments/tls-extensiontype-values
const SERVER_NAME = 0;
const ALPN = 16;
const EARLY_DATA = 42;
const SUPPORTED_VERSIONS = 43;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;

const ECH_INNER = 1;

function readHello({ bytes, start, end, length }: Handshake): ParsedClientHello | Rejected {
  const reader = new ByteReader(bytes, start, end);
  const version = reader.uint16();
  const wrong =
    version < SSL3
      ? malformed('a version of 3.0 or newer', `0x${version.toString(16).padStart(4, '0')}`)
      : skipToExtensions(reader);
  if (wrong !== undefined) return wrong;
  // RFC 8446, 4.2.1: without the extension a server negotiates TLS 1.2 or older, whatever this version is.
  const supportedVersions = [Math.min(version, TLS12)];
  const trace = traceOf(bytes, start + VERSION_BYTES);
  const hello: Draft = { kind: 'hello', alpn: [], supportedVersions, ech: false, earlyData: false, trace, length };
  return (reader.remaining > 0 ? readExtensions(reader, hello) : undefined) ?? hello;
}

/** Skips the fields that do not affect routing. Each has its own limits (RFC 8446, 4.1.2). */
function skipToExtensions(reader: ByteReader): Rejected | undefined {
  reader.skip(RANDOM_BYTES);
  const sessionIdBytes = reader.uint8();
  reader.skip(sessionIdBytes);
  const cipherBytes = reader.uint16();
  reader.skip(cipherBytes);
  const compressionBytes = reader.uint8();
  reader.skip(compressionBytes);
  if (reader.overrun) return malformed('fields that end with the hello', 'its end before theirs');
  if (sessionIdBytes > MAX_SESSION_ID_BYTES)
    return malformed(`a session id of at most ${MAX_SESSION_ID_BYTES} bytes`, `${sessionIdBytes}`);
  if (cipherBytes === 0 || cipherBytes % 2 !== 0)
    return malformed('cipher suites of two bytes each', `${cipherBytes} bytes`);
  return compressionBytes === 0 ? malformed('a compression method', 'none') : undefined;
}

function readExtensions(reader: ByteReader, hello: Draft): Rejected | undefined {
  const announcedBytes = reader.uint16();
  if (announcedBytes !== reader.remaining)
    return malformed(`extensions of ${announcedBytes} bytes to the end of the hello`, `${reader.remaining}`);
  const seen = new SeenTypes();
  while (reader.remaining > 0) {
    const type = reader.uint16();
    const body = reader.part(reader.uint16());
    if (reader.overrun) return malformed(`extension ${type} to end with the hello`, 'the end before');
    if (seen.note(type)) return rejected('duplicate_extension', `expected extension ${type} once, found it twice`);
    const wrong = readExtension(type, body, hello);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

function readExtension(type: number, body: ByteReader, hello: Draft): Rejected | undefined {
  switch (type) {
    case SERVER_NAME:
      return takeServerName(body, hello);
    case ALPN:
      return takeProtocols(body, hello);
    case SUPPORTED_VERSIONS:
      return takeVersions(body, hello);
    case EARLY_DATA:
      hello.earlyData = true;
      return undefined;
    case ENCRYPTED_CLIENT_HELLO:
      // The extension of an inner hello is this one byte (RFC 9849, section 5). Anything else is encrypted for the key
      // of a client-facing server.
      hello.ech = body.remaining !== 1 || body.uint8() !== ECH_INNER;
      return undefined;
    default:
      return undefined;
  }
}

function takeServerName(body: ByteReader, hello: Draft): Rejected | undefined {
  const name = readServerName(body);
  if (typeof name === 'object') return name;
  if (name !== undefined) hello.serverName = name;
  return undefined;
}

/** RFC 7301, 3.1: a list of one or more names, each of one or more bytes. */
function takeProtocols(body: ByteReader, hello: Draft): Rejected | undefined {
  const known = ALPN_LISTS.find(body);
  if (known !== undefined) {
    hello.alpn = known;
    return undefined;
  }
  const bytes = body.copy();
  const list = body.part(body.uint16());
  const alpn: string[] = [];
  if (list.overrun || list.remaining === 0 || body.remaining > 0)
    return malformed('a list of ALPN names', 'an empty or broken one');
  while (list.remaining > 0) {
    const name = list.part(list.uint8());
    if (list.overrun || name.remaining === 0)
      return malformed('ALPN names of one byte or more within their list', 'another');
    const protocol = name.text();
    if (!isGreaseProtocol(protocol)) alpn.push(protocol);
  }
  hello.alpn = ALPN_LISTS.keep(bytes, alpn);
  return undefined;
}

/** RFC 8446, 4.2.1: a list of one or more versions. */
function takeVersions(body: ByteReader, hello: Draft): Rejected | undefined {
  const known = VERSION_LISTS.find(body);
  if (known !== undefined) {
    hello.supportedVersions = known;
    return undefined;
  }
  const bytes = body.copy();
  const list = body.part(body.uint8());
  const versions: number[] = [];
  const listed = !list.overrun && list.remaining > 0 && list.remaining % 2 === 0 && body.remaining === 0;
  if (!listed) return malformed('a list of supported versions', 'an empty or broken one');
  while (list.remaining > 0) {
    const version = list.uint16();
    if (!isGrease(version)) versions.push(version);
  }
  hello.supportedVersions = VERSION_LISTS.keep(bytes, versions);
  return undefined;
}

const ALPN_LISTS = new RecentLists<string>();
const VERSION_LISTS = new RecentLists<number>();

/** Whether a value is reserved for GREASE (RFC 8701, section 2): 0x0a0a, 0x1a1a … 0xfafa, sent only to be ignored. */
function isGrease(value: number): boolean {
  return (value & 0x0f0f) === 0x0a0a && value >> 8 === (value & 0xff);
}

function isGreaseProtocol(protocol: string): boolean {
  return protocol.length === 2 && isGrease((protocol.charCodeAt(0) << 8) | protocol.charCodeAt(1));
}

function malformed(expected: string, found: string): Rejected {
  return rejected('malformed', `expected ${expected}, found ${found}`);
}
