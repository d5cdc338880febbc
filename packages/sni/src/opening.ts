import { rejected } from './verdict.ts';
import type { Rejected } from './verdict.ts';

/** Type of records that contain handshake messages. */
export const HANDSHAKE_RECORD = 22;
/**
 * The first byte of a record's version, in SSL 3.0 and every TLS version. The second is meaningless: it "MUST be
 * ignored for all purposes" (RFC 8446, 5.1).
 */
export const MAJOR_VERSION = 3;

/**
 * Returns the reason for which `bytes` cannot begin a TLS connection: from the first two bytes, or up to five if SSL
 * 2.0 is possible, whose hello has no distinctive first byte.
 */
export function wrongOpening(bytes: Uint8Array): Rejected | undefined {
  const first = bytes[0];
  const major = bytes[1];
  if (first === undefined) return undefined;
  if (first !== HANDSHAKE_RECORD) return first < SSLV2_LENGTH_FLAG ? notTls(bytes, 0) : wrongSslv2(bytes);
  return major === undefined || major === MAJOR_VERSION ? undefined : notTls(bytes, 1);
}

const SSLV2_LENGTH_FLAG = 0x80;
const SSLV2_CLIENT_HELLO = 1;

/** RFC 6101, appendix E: two bytes of length with the top bit set, message type 1, version 2 (as 0.2) or 3.x. */
function wrongSslv2(bytes: Uint8Array): Rejected | undefined {
  const type = bytes[2];
  const major = bytes[3];
  const minor = bytes[4];
  if (type !== undefined && type !== SSLV2_CLIENT_HELLO) return notTls(bytes, 2);
  if (major !== undefined && major !== 0 && major !== MAJOR_VERSION) return notTls(bytes, 3);
  if (minor === undefined) return undefined;
  if (major === 0 && minor !== 2) return notTls(bytes, 4);
  return rejected('sslv2', 'expected a TLS record, found an SSL 2.0 hello, which cannot carry a server name');
}

function notTls(bytes: Uint8Array, at: number): Rejected {
  return rejected('not_tls', `expected a TLS handshake record, found ${bytes[at] ?? 0} at byte ${at}`);
}
