import { HANDSHAKE_RECORD, MAJOR_VERSION, wrongOpening } from './opening.ts';
import { rejected } from './verdict.ts';
import type { MoreNeeded, Rejected } from './verdict.ts';

/** A complete ClientHello message without its header: `bytes` from `start` to before `end`. */
export interface Handshake {
  readonly kind: 'handshake';
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  /** Length of the records that contain it, counted from the first byte received. */
  readonly length: number;
}

/**
 * Finds the ClientHello message in the records at the start of `bytes`.
 *
 * A message in one record is parsed in place. A message over several records is copied, once, when it is complete:
 * until then only the position is kept, whatever length the client announced.
 *
 * @param progress from the last `more` for the same connection; without it, the scan starts at the first record
 */
export function readHandshake(bytes: Uint8Array, progress: unknown): Handshake | MoreNeeded | Rejected {
  let reached = progress instanceof RecordsEnd ? progress : BEGINNING;
  for (;;) {
    const step = readRecord(bytes, reached);
    if (!(step instanceof RecordsEnd)) return step;
    reached = step;
  }
}

/** Position of the scan, at the end of a record. A class, so that any other value is recognised and ignored. */
class RecordsEnd {
  /** Offset of the next record. */
  readonly offset: number;
  /** Number of message bytes in the previous records, including the message header. */
  readonly gathered: number;
  /** The message header as one number, as far as it was received. */
  readonly header: number;

  constructor(offset: number, gathered: number, header: number) {
    this.offset = offset;
    this.gathered = gathered;
    this.header = header;
  }
}

const BEGINNING = new RecordsEnd(0, 0, 0);

const RECORD_HEADER_BYTES = 5;
// RFC 8446, 5.1: "MUST NOT exceed 2^14 bytes".
const MAX_FRAGMENT_BYTES = 2 ** 14;

const MESSAGE_HEADER_BYTES = 4;
const CLIENT_HELLO = 1;
// RFC 8446, 4.1.2. The minimum has the shortest fields and no extensions, as allowed by TLS 1.2 and older; the maximum
// has the longest fields.
const MIN_HELLO_BYTES = 2 + 32 + 1 + (2 + 2) + (1 + 1);
const MAX_HELLO_BYTES = 2 + 32 + (1 + 32) + (2 + 65_534) + (1 + 255) + (2 + 65_535);

/** Validates the record at `from.offset`, as far as it was received, and moves past it. */
function readRecord(bytes: Uint8Array, from: RecordsEnd): RecordsEnd | Handshake | MoreNeeded | Rejected {
  const { offset, gathered } = from;
  const wrong = offset === 0 ? wrongOpening(bytes) : wrongRecord(bytes, offset);
  if (wrong !== undefined) return wrong;
  const start = offset + RECORD_HEADER_BYTES;
  if (bytes.length < start) return { kind: 'more', progress: from };

  const fragmentBytes = fragmentBytesAt(bytes, offset);
  if (fragmentBytes === 0 || fragmentBytes > MAX_FRAGMENT_BYTES) return wrongLength(fragmentBytes, offset);
  const end = start + fragmentBytes;
  const header = readHeader(bytes, start, end, from);
  const wrongMessage = judgeMessage(bytes, from, header, end);
  if (wrongMessage !== undefined) return wrongMessage;

  if (bytes.length < end) return { kind: 'more', progress: from };
  // Also true while the header is incomplete: no message is shorter than its header.
  if (gathered + fragmentBytes < messageBytes(header)) return new RecordsEnd(end, gathered + fragmentBytes, header);
  if (gathered > 0) return gather(bytes, end, messageBytes(header));
  return { kind: 'handshake', bytes, start: start + MESSAGE_HEADER_BYTES, end, length: end };
}

function wrongRecord(bytes: Uint8Array, offset: number): Rejected | undefined {
  const type = bytes[offset];
  const major = bytes[offset + 1];
  if (type !== undefined && type !== HANDSHAKE_RECORD)
    return rejected(
      'record_type',
      `expected a handshake record (22) at byte ${offset}, found a record of type ${type}`,
    );
  if (major !== undefined && major !== MAJOR_VERSION)
    return rejected('record_version', `expected record version 3.x at byte ${offset + 1}, found ${major}.x`);
  return undefined;
}

function wrongLength(fragmentBytes: number, offset: number): Rejected {
  const expected = `expected a record of 1 to ${MAX_FRAGMENT_BYTES} bytes at byte ${offset}`;
  return rejected('record_length', `${expected}, found one of ${fragmentBytes}`);
}

/** Returns the message header so far: from earlier records and from this one. */
function readHeader(bytes: Uint8Array, start: number, end: number, { gathered, header }: RecordsEnd): number {
  const stop = Math.min(start + MESSAGE_HEADER_BYTES - gathered, end, bytes.length);
  let folded = header;
  for (let at = start; at < stop; at++) folded = folded * 256 + (bytes[at] ?? 0);
  return folded;
}

/** Returns the error in the message, judged by its header and the end of the current record. */
function judgeMessage(bytes: Uint8Array, from: RecordsEnd, header: number, end: number): Rejected | undefined {
  const start = from.offset + RECORD_HEADER_BYTES;
  const type = from.gathered === 0 ? bytes[start] : CLIENT_HELLO;
  if (type !== undefined && type !== CLIENT_HELLO)
    return rejected('not_client_hello', `expected a ClientHello (1), found a handshake message of type ${type}`);
  if (from.gathered + Math.min(end, bytes.length) - start < MESSAGE_HEADER_BYTES) return undefined;

  const helloBytes = messageBytes(header) - MESSAGE_HEADER_BYTES;
  if (helloBytes < MIN_HELLO_BYTES || helloBytes > MAX_HELLO_BYTES) return wrongSize(helloBytes);
  const excessBytes = from.gathered + end - start - messageBytes(header);
  if (excessBytes <= 0) return undefined;
  const expected = `expected the record at byte ${from.offset} to end with the hello`;
  return rejected('trailing_handshake', `${expected}, found ${excessBytes} bytes more`);
}

function wrongSize(helloBytes: number): Rejected {
  const expected = `expected a hello of ${MIN_HELLO_BYTES} to ${MAX_HELLO_BYTES} bytes`;
  return rejected('hello_length', `${expected}, found ${helloBytes} announced`);
}

/** Returns the length of the message, including its header: a type and 24 bits of length. */
function messageBytes(header: number): number {
  return MESSAGE_HEADER_BYTES + (header & 0xff_ffff);
}

/** Copies a message of `size` bytes out of the records before `length`, all of which were validated. */
function gather(bytes: Uint8Array, length: number, size: number): Handshake {
  const message = new Uint8Array(size);
  let filled = 0;
  for (let offset = 0; offset < length;) {
    const start = offset + RECORD_HEADER_BYTES;
    offset = start + fragmentBytesAt(bytes, offset);
    // Byte by byte: a hostile client sends fragments of one byte, and a call for each would be expensive.
    for (let at = start; at < offset; at++) message[filled++] = bytes[at] ?? 0;
  }
  return { kind: 'handshake', bytes: message, start: MESSAGE_HEADER_BYTES, end: size, length };
}

function fragmentBytesAt(bytes: Uint8Array, offset: number): number {
  return ((bytes[offset + 3] ?? 0) << 8) | (bytes[offset + 4] ?? 0);
}
