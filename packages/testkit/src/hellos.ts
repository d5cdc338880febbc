import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';

/** Contents of a ClientHello. Every field has a default that real clients use; equal options give equal bytes. */
export interface ClientHelloOptions {
  /** Host name in the `server_name` extension; bytes are sent unchanged, and may be invalid. Absent: no extension. */
  readonly serverName?: string | Uint8Array;
  /** The complete list of the `server_name` extension, instead of `serverName`: several names, other types, or none. */
  readonly serverNames?: readonly ServerNameEntry[];
  /** Protocols of the ALPN extension. Absent: no extension. */
  readonly alpn?: readonly string[];
  /** Versions in `supported_versions`; TLS 1.3 and 1.2 by default; `absent` omits the extension. */
  readonly versions?: readonly number[] | 'absent';
  /** The legacy version field; TLS 1.2 by default, as required by RFC 8446, 4.1.2. */
  readonly legacyVersion?: number;
  /**
   * Adds GREASE values (RFC 8701) in the same fields as browsers: ciphers, groups, key shares, versions, a first and a
   * late extension.
   */
  readonly grease?: boolean;
  /** Entries of `key_share`; X25519 by default. `[X25519_MLKEM768, X25519]` makes a hello larger than a TCP segment. */
  readonly keyShares?: readonly KeyShare[];
  /** Length of the legacy session id: RFC 8446 allows 0 to 32 bytes; 32 by default, as in its compatibility mode. */
  readonly sessionIdBytes?: number;
  /** The cipher suites of TLS 1.3 and some of 1.2 by default. */
  readonly cipherSuites?: readonly number[];
  /**
   * Pads the handshake message to this many bytes, including its header (RFC 7685), if it is at least 4 bytes shorter.
   */
  readonly padToBytes?: number;
  /**
   * Encrypted ClientHello: `outer` in the form sent by clients, `inner` in the form forwarded by client-facing servers
   * (RFC 9849, section 5).
   */
  readonly ech?: 'outer' | 'inner';
  /** Offers early data, with the required pre-shared key. */
  readonly earlyData?: boolean;
  /** Offers to resume a session; this extension is the last (RFC 8446, 4.2.11). */
  readonly preSharedKey?: boolean;
  /** Further extensions with any contents, after the others; `none` omits the whole field, as in SSL 3.0. */
  readonly extensions?: readonly Extension[] | 'none';
  /** Reorders, drops or duplicates extensions. */
  readonly order?: (extensions: readonly Extension[]) => readonly Extension[];
}

/** One entry of the server name list. */
export interface ServerNameEntry {
  /** 0 is `host_name`; no other type has been assigned. */
  readonly type: number;
  readonly name: string | Uint8Array;
}

/** An extension. */
export interface Extension {
  /** Number in IANA's registry "TLS ExtensionType Values"; 0 to 65535. */
  readonly type: number;
  /** The bytes after the length field. */
  readonly body: Uint8Array;
}

/** A key share: only its length matters, its contents are filler. */
export interface KeyShare {
  /** Number of the group in IANA's registry "TLS Supported Groups". */
  readonly group: number;
  /** Length of the key exchange data: 32 for X25519. */
  readonly bytes: number;
}

/** The share of every client. */
export const X25519: KeyShare = { group: 0x001d, bytes: 32 };
/** The hybrid post-quantum share of current browsers: public keys of ML-KEM-768 and X25519. */
export const X25519_MLKEM768: KeyShare = { group: 0x11ec, bytes: 1184 + 32 };

/**
 * Builds a ClientHello as a handshake message: a four-byte header, then the hello (RFC 8446, 4.1.2), without a record.
 * {@link inRecords} converts it to the wire format.
 */
export function clientHello(options: ClientHelloOptions = {}): Uint8Array {
  const message = build(options, undefined);
  const missingBytes = (options.padToBytes ?? 0) - message.length - EXTENSION_HEADER_BYTES;
  return missingBytes < 0 ? message : build(options, missingBytes);
}

/**
 * Splits a handshake message into records with `size` bytes each, not counting their headers; as few records as
 * possible by default. Their version is 0x0301, as chosen by clients (RFC 8446, 5.1).
 */
export function inRecords(message: Uint8Array, size: number = MAX_FRAGMENT_BYTES): Uint8Array {
  const records: Uint8Array[] = [];
  for (let at = 0; at < message.length; at += size) {
    records.push(record(HANDSHAKE, message.subarray(at, at + size)));
  }
  return join(records);
}

/** Builds one record of any type and contents. */
export function record(type: number, fragment: Uint8Array, version = 0x0301): Uint8Array {
  return join([uint8(type), uint16(version), vector16(fragment)]);
}

/** Yields every proper, non-empty prefix of `bytes`, the shortest first. */
export function* everyPrefix(bytes: Uint8Array): Generator<Uint8Array, void, void> {
  for (let length = 1; length < bytes.length; length++) yield bytes.subarray(0, length);
}

/** Yields every split of `bytes` into two non-empty pieces. */
export function* everySplit(bytes: Uint8Array): Generator<readonly [Uint8Array, Uint8Array], void, void> {
  for (const head of everyPrefix(bytes)) yield [head, bytes.subarray(head.length)];
}

/**
 * Records the first bytes of a real client: listens on a free port of 127.0.0.1, calls `start`, which must make a
 * client connect to it, and reads until the hello is complete. The client's connection is then closed; the caller
 * handles the rest. Rejects if the client closes too early, or with an error of `start`.
 */
export async function recordHello(start: (port: number) => void): Promise<Uint8Array> {
  const server = createServer();
  try {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const connection = once(server, 'connection');
    start((server.address() as AddressInfo).port);
    const [socket] = (await connection) as [Socket];
    return await takeHello(socket);
  } finally {
    server.close();
  }
}

const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const RECORD_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;
const EXTENSION_HEADER_BYTES = 4;
// RFC 8446, 5.1.
const MAX_FRAGMENT_BYTES = 2 ** 14;

const TLS12 = 0x0303;
const TLS13 = 0x0304;
// TLS_AES_128_GCM_SHA256, two more of TLS 1.3, and four of TLS 1.2 with ECDHE.
const CIPHER_SUITES = [0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030];
// ECDSA on P-256 with SHA-256, and the two usual RSA schemes.
const SIGNATURES = [0x0403, 0x0804, 0x0401];
// Two of the sixteen values of RFC 8701, so that the first and the late extension differ as required.
const GREASE = 0x3a3a;
const GREASE_LAST = 0xeaea;

// https://www.iana.org/assignments/tls-extensiontype-values
const SERVER_NAME = 0;
const SUPPORTED_GROUPS = 10;
const SIGNATURE_ALGORITHMS = 13;
const ALPN = 16;
const PADDING = 21;
const EXTENDED_MASTER_SECRET = 23;
const PRE_SHARED_KEY = 41;
const EARLY_DATA = 42;
const SUPPORTED_VERSIONS = 43;
const PSK_KEY_EXCHANGE_MODES = 45;
const KEY_SHARE = 51;
const ENCRYPTED_CLIENT_HELLO = 0xfe0d;

function build(options: ClientHelloOptions, paddingBytes: number | undefined): Uint8Array {
  const hello = join([
    uint16(options.legacyVersion ?? TLS12),
    filler(32),
    vector8(filler(options.sessionIdBytes ?? 32)),
    vector16(join([...greased(options, GREASE), ...(options.cipherSuites ?? CIPHER_SUITES)].map(uint16))),
    vector8(uint8(0)),
    ...(options.extensions === 'none' ? [] : [extensionBlock(options, paddingBytes)]),
  ]);
  return join([uint8(CLIENT_HELLO), uint8(hello.length >> 16), uint16(hello.length & 0xffff), hello]);
}

function extensionBlock(options: ClientHelloOptions, paddingBytes: number | undefined): Uint8Array {
  const all = [
    ...greased(options, GREASE).map((type) => ({ type, body: NOTHING })),
    ...nameExtensions(options),
    ...negotiation(options),
    ...(options.ech === undefined ? [] : [encryptedHello(options.ech)]),
    ...(options.earlyData === true ? [{ type: EARLY_DATA, body: NOTHING }] : []),
    ...(Array.isArray(options.extensions) ? (options.extensions as readonly Extension[]) : []),
    ...greased(options, GREASE_LAST).map((type) => ({ type, body: uint8(0) })),
    ...(paddingBytes === undefined ? [] : [{ type: PADDING, body: new Uint8Array(paddingBytes) }]),
    ...(options.preSharedKey === true || options.earlyData === true ? [preSharedKey()] : []),
  ];
  const ordered = options.order?.(all) ?? all;
  return vector16(join(ordered.map(({ type, body }) => join([uint16(type), vector16(body)]))));
}

function nameExtensions({ serverName, serverNames, alpn }: ClientHelloOptions): readonly Extension[] {
  const names = serverNames ?? (serverName === undefined ? undefined : [{ type: 0, name: serverName }]);
  const entries = names?.map(({ type, name }) => join([uint8(type), vector16(toBytes(name))]));
  const protocols = alpn?.map((protocol) => vector8(toBytes(protocol)));
  return [
    ...(entries === undefined ? [] : [{ type: SERVER_NAME, body: vector16(join(entries)) }]),
    ...(protocols === undefined ? [] : [{ type: ALPN, body: vector16(join(protocols)) }]),
  ];
}

function negotiation(options: ClientHelloOptions): readonly Extension[] {
  const { versions = [TLS13, TLS12], keyShares = [X25519] } = options;
  const greaseShares = greased(options, GREASE).map((group) => ({ group, bytes: 1 }));
  const shares = [...greaseShares, ...keyShares];
  return [
    { type: EXTENDED_MASTER_SECRET, body: NOTHING },
    { type: SUPPORTED_GROUPS, body: vector16(join(shares.map(({ group }) => uint16(group)))) },
    { type: SIGNATURE_ALGORITHMS, body: vector16(join(SIGNATURES.map(uint16))) },
    { type: PSK_KEY_EXCHANGE_MODES, body: vector8(uint8(1)) },
    { type: KEY_SHARE, body: vector16(join(shares.map(keyShare))) },
    ...(versions === 'absent' ? [] : [supportedVersions([...greased(options, GREASE), ...versions])]),
  ];
}

function keyShare({ group, bytes }: KeyShare): Uint8Array {
  return join([uint16(group), vector16(filler(bytes))]);
}

function supportedVersions(versions: readonly number[]): Extension {
  return { type: SUPPORTED_VERSIONS, body: vector8(join(versions.map(uint16))) };
}

/** RFC 9849, section 5: type, cipher suite, configuration id, encapsulated key, encrypted hello. */
function encryptedHello(kind: 'outer' | 'inner'): Extension {
  const outer = [uint8(0), uint16(1), uint16(1), uint8(42), vector16(filler(32)), vector16(filler(208))];
  return { type: ENCRYPTED_CLIENT_HELLO, body: kind === 'inner' ? uint8(1) : join(outer) };
}

/** RFC 8446, 4.2.11: one ticket with its age, and one binder with the size of SHA-256. */
function preSharedKey(): Extension {
  const identity = join([vector16(filler(192)), filler(4)]);
  return { type: PRE_SHARED_KEY, body: join([vector16(identity), vector16(vector8(filler(32)))]) };
}

function greased({ grease }: ClientHelloOptions, value: number): readonly number[] {
  return grease === true ? [value] : [];
}

function toBytes(text: string | Uint8Array): Uint8Array {
  return typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
}

const NOTHING = new Uint8Array(0);

/** Returns fixed bytes instead of random ones, so that a failing test can be repeated. */
function filler(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 151 + length) & 0xff);
}

function uint8(value: number): Uint8Array {
  return Uint8Array.of(value);
}

function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}

function vector8(content: Uint8Array): Uint8Array {
  return join([uint8(content.length), content]);
}

function vector16(content: Uint8Array): Uint8Array {
  return join([uint16(content.length), content]);
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

async function takeHello(socket: Socket): Promise<Uint8Array> {
  let received: Uint8Array = NOTHING;
  // Leaving the loop destroys the socket.
  for await (const chunk of socket as AsyncIterable<Uint8Array>) {
    received = join([received, chunk]);
    if (holdsMessage(received)) return received;
  }
  throw new Error(`expected a complete ClientHello, found the end after ${received.length} bytes`);
}

/**
 * Whether the records at the start of `bytes` contain a complete handshake message: implemented independently of the
 * parser under test.
 */
function holdsMessage(bytes: Uint8Array): boolean {
  const fragments: Uint8Array[] = [];
  for (let at = 0; at + RECORD_HEADER_BYTES <= bytes.length;) {
    const start = at + RECORD_HEADER_BYTES;
    at = start + Buffer.from(bytes).readUInt16BE(at + 3);
    fragments.push(bytes.subarray(start, at));
  }
  const message = Buffer.from(join(fragments));
  return message.length >= MESSAGE_HEADER_BYTES && message.length >= MESSAGE_HEADER_BYTES + message.readUIntBE(1, 3);
}
