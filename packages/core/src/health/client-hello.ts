import { randomBytes } from 'node:crypto';

const TLS_1_0 = 0x03_01;
const TLS_1_2 = 0x03_03;
const TLS_1_3 = 0x03_04;
const HANDSHAKE = 22;
const CLIENT_HELLO = 1;
const X25519 = 0x00_1d;
const RANDOM_BYTES = 32;

/**
 * The cipher suites of TLS 1.3, and of TLS 1.2 a selection that any server of the last fifteen years supports (RFC
 * 8446, B.4; RFC 7525).
 */
const CIPHER_SUITES = [
  0x13_01, 0x13_02, 0x13_03, 0xc0_2b, 0xc0_2f, 0xc0_2c, 0xc0_30, 0xcc_a9, 0xcc_a8, 0xc0_09, 0xc0_13, 0xc0_0a, 0xc0_14,
  0x00_9c, 0x00_9d, 0x00_2f, 0x00_35,
];
/** X25519, P-256, P-384. */
const GROUPS = [X25519, 0x00_17, 0x00_18];
/** ECDSA, RSA-PSS, Ed25519 and PKCS #1. */
const SIGNATURES = [0x04_03, 0x05_03, 0x08_04, 0x08_05, 0x08_06, 0x08_07, 0x04_01, 0x05_01, 0x06_01, 0x02_01];

/**
 * Returns a ClientHello that TLS 1.2 and 1.3 servers answer with a ServerHello (RFC 8446, 4.1.2), in one record. It
 * cannot complete a handshake: its key share is random, without a private key.
 *
 * @param serverName sent without the extension when absent
 */
export function probeHello(serverName: string | undefined): Uint8Array {
  const extensions = [
    ...(serverName === undefined ? [] : [extension(0, sized16(Buffer.concat([Buffer.of(0), sized16(serverName)])))]),
    extension(10, sized16(uint16s(GROUPS))),
    extension(11, sized8(Buffer.of(0))),
    extension(13, sized16(uint16s(SIGNATURES))),
    extension(23, Buffer.alloc(0)),
    extension(43, sized8(uint16s([TLS_1_3, TLS_1_2]))),
    extension(51, sized16(Buffer.concat([uint16s([X25519]), sized16(randomBytes(RANDOM_BYTES))]))),
    extension(0xff_01, sized8(Buffer.alloc(0))),
  ];
  const body = Buffer.concat([
    uint16s([TLS_1_2]),
    randomBytes(RANDOM_BYTES),
    sized8(randomBytes(RANDOM_BYTES)),
    sized16(uint16s(CIPHER_SUITES)),
    sized8(Buffer.of(0)),
    sized16(Buffer.concat(extensions)),
  ]);
  const message = Buffer.concat([Buffer.of(CLIENT_HELLO, 0), sized16(body)]);
  return Buffer.concat([Buffer.of(HANDSHAKE), uint16s([TLS_1_0]), sized16(message)]);
}

function extension(type: number, body: Uint8Array): Buffer {
  return Buffer.concat([uint16s([type]), sized16(body)]);
}

function sized8(body: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(body.length), body]);
}

function sized16(body: Uint8Array | string): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([uint16s([bytes.length]), bytes]);
}

function uint16s(values: readonly number[]): Buffer {
  return Buffer.from(values.flatMap((value) => [value >> 8, value & 0xff]));
}

/** A server's response to {@link probeHello} so far. */
export type ProbeResponse =
  { readonly kind: 'more' } | { readonly kind: 'server-hello' } | { readonly kind: 'failed'; readonly reason: string };

const ALERT = 21;
const SERVER_HELLO = 2;
const RECORD_HEADER_BYTES = 5;
const ALERT_BYTES = 2;
const WARNING = 1;

/**
 * Parses all bytes of the response so far. Skips warning alerts before the ServerHello, such as for an unknown name.
 */
export function judgeResponse(bytes: Buffer): ProbeResponse {
  let at = 0;
  for (;;) {
    const remaining = bytes.length - at;
    if (remaining === 0) return MORE;
    const type = bytes.readUInt8(at);
    if (type !== HANDSHAKE && type !== ALERT) return failed(`expected TLS, found a byte of 0x${type.toString(16)}`);
    if (remaining < RECORD_HEADER_BYTES + 1) return MORE;
    const first = bytes.readUInt8(at + RECORD_HEADER_BYTES);
    if (type === HANDSHAKE)
      return first === SERVER_HELLO
        ? { kind: 'server-hello' }
        : failed(`expected a ServerHello, found message ${first}`);
    if (remaining < RECORD_HEADER_BYTES + ALERT_BYTES) return MORE;
    if (first !== WARNING) return failed(`TLS alert ${bytes.readUInt8(at + RECORD_HEADER_BYTES + 1)}`);
    at += RECORD_HEADER_BYTES + bytes.readUInt16BE(at + RECORD_HEADER_BYTES - 2);
    if (at > bytes.length) return MORE;
  }
}

const MORE: ProbeResponse = { kind: 'more' };

function failed(reason: string): ProbeResponse {
  return { kind: 'failed', reason };
}
