import { isIPv4, isIPv6 } from 'node:net';
import type { Endpoint } from '@meshgate/core';
import { crc32c } from './crc32c.ts';

/** A PROXY protocol header: the original endpoints of a connection. */
export interface ProxyHeader {
  /** 1 is a line of text, 2 is binary. */
  readonly version: 1 | 2;
  /** `local`: the sender's own connection, for example a health check. */
  readonly command: 'proxy' | 'local';
  /** The client; absent if the header has no usable address: `UNKNOWN`, a unix socket, not a byte stream. */
  readonly source?: Endpoint;
  /** The address that the client connected to; absent if `source` is. */
  readonly destination?: Endpoint;
  /** The TLVs of version 2, in order: checked, without padding. */
  readonly tlvs: readonly Tlv[];
}

/** One TLV of a version 2 header. */
export interface Tlv {
  /** One byte: `0x02` is the requested host name, `0xea` is AWS-specific … */
  readonly type: number;
  readonly value: Uint8Array;
}

/** The first bytes of a connection, parsed as a PROXY protocol header. */
export type ProxyHeaderResult =
  /** `length`: the length of the header in bytes. */
  | { readonly kind: 'header'; readonly header: ProxyHeader; readonly length: number }
  /** All bytes so far may be the start of a header, which has `atLeast` bytes. */
  | { readonly kind: 'more'; readonly atLeast: number }
  /** Not a header. */
  | { readonly kind: 'none' }
  /** Starts like a header, but is malformed. `reason`: what was expected, what was found. */
  | { readonly kind: 'malformed'; readonly reason: string };

/**
 * Parses a PROXY protocol header, version 1 or 2 (HAProxy, doc/proxy-protocol.txt). Pure; never throws, whatever the
 * bytes.
 *
 * @param bytes everything received so far, from the first byte
 */
export function parseProxyHeader(bytes: Uint8Array): ProxyHeaderResult {
  if (begins(bytes, V2_SIGNATURE)) return parseV2(bytes);
  if (begins(bytes, V1_SIGNATURE)) return parseV1(bytes);
  return { kind: 'none' };
}

const V1_SIGNATURE = Buffer.from('PROXY ');
const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');

/** Whether `bytes` match `signature`, as far as they go. */
function begins(bytes: Uint8Array, signature: Uint8Array): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.subarray(0, length).every((byte, index) => byte === signature[index]);
}

function malformed(reason: string): ProxyHeaderResult {
  return { kind: 'malformed', reason };
}

// "PROXY UNKNOWN" with the longest addresses, including the end of the line.
const MAX_V1_BYTES = 107;

function parseV1(bytes: Uint8Array): ProxyHeaderResult {
  const line = Buffer.from(bytes.subarray(0, MAX_V1_BYTES)).toString('latin1');
  const end = line.indexOf('\r\n');
  if (end === -1) {
    if (bytes.length >= MAX_V1_BYTES)
      return malformed(`expected a line of at most ${MAX_V1_BYTES} bytes, found a longer one`);
    return { kind: 'more', atLeast: bytes.length + 1 };
  }
  const [, family = '', ...rest] = line.slice(0, end).split(' ');
  const length = end + 2;
  const header = { version: 1, command: 'proxy', tlvs: [] } as const;
  // The rest is ignored.
  if (family === 'UNKNOWN') return { kind: 'header', header, length };
  const isAddress = V1_FAMILIES.get(family);
  if (isAddress === undefined) return malformed(`expected TCP4, TCP6 or UNKNOWN, found ${JSON.stringify(family)}`);
  const [from = '', to = '', fromPort = '', toPort = ''] = rest;
  if (rest.length !== 4 || !isAddress(from) || !isAddress(to) || !isPort(fromPort) || !isPort(toPort))
    return malformed(`expected two addresses and two ports of ${family}, found ${JSON.stringify(rest.join(' '))}`);
  const source = { host: canonical(from), port: Number(fromPort) };
  const destination = { host: canonical(to), port: Number(toPort) };
  return { kind: 'header', header: { ...header, source, destination }, length };
}

const V1_FAMILIES: ReadonlyMap<string, (host: string) => boolean> = new Map([
  ['TCP4', isIPv4],
  // A zone has no meaning on another machine.
  ['TCP6', (host) => isIPv6(host) && !host.includes('%')],
]);

function isPort(text: string): boolean {
  return /^(?:0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 65_535;
}

const V2_FIXED_BYTES = 16;

function parseV2(bytes: Uint8Array): ProxyHeaderResult {
  // Twelve bytes of signature, one each for version and command, and for family and protocol, two for the length.
  const [commandByte, familyByte, high = 0, low = 0] = bytes.subarray(V2_SIGNATURE.length, V2_FIXED_BYTES);
  if (commandByte !== undefined && commandByte !== 0x20 && commandByte !== 0x21)
    return malformed(`expected version 2 with the command LOCAL or PROXY, found ${hex(commandByte)}`);
  // The specification: the family of a LOCAL header is ignored.
  const isLocal = commandByte === 0x20;
  if (familyByte !== undefined && !isLocal && (familyByte >> 4 > 3 || (familyByte & 0x0f) > 2))
    return malformed(`expected a known family and protocol, found ${hex(familyByte)}`);
  const length = V2_FIXED_BYTES + high * 256 + low;
  if (bytes.length < V2_FIXED_BYTES || commandByte === undefined || familyByte === undefined)
    return { kind: 'more', atLeast: V2_FIXED_BYTES };
  if (bytes.length < length) return { kind: 'more', atLeast: length };
  return completeV2({ all: bytes.subarray(0, length), isLocal, familyByte });
}

interface CompleteV2 {
  readonly all: Uint8Array;
  readonly isLocal: boolean;
  readonly familyByte: number;
}

/** Length of a family's addresses in bytes: none, IPv4, IPv6, unix. */
const ADDRESS_BYTES = [0, 12, 36, 216];

function completeV2({ all, isLocal, familyByte }: CompleteV2): ProxyHeaderResult {
  const body = all.subarray(V2_FIXED_BYTES);
  const header = { version: 2, command: isLocal ? 'local' : 'proxy', tlvs: [] as readonly Tlv[] } as const;
  // The specification: the receiver must discard the addresses and the rest of a LOCAL header.
  if (isLocal) return { kind: 'header', header, length: all.length };
  const addressBytes = ADDRESS_BYTES[familyByte >> 4] ?? 0;
  if (body.length < addressBytes)
    return malformed(`expected ${addressBytes} bytes of addresses for family ${hex(familyByte)}, found ${body.length}`);
  const tlvs = tlvsIn(body.subarray(addressBytes));
  if (typeof tlvs === 'string') return malformed(tlvs);
  const wrong = checksumProblem(all, tlvs);
  if (wrong !== undefined) return malformed(wrong);
  const kept = tlvs.filter(({ type }) => type !== CRC32C && type !== NOOP);
  const ends = familyByte === 0x11 || familyByte === 0x21 ? endsIn(body.subarray(0, addressBytes)) : {};
  return { kind: 'header', header: { ...header, ...ends, tlvs: kept }, length: all.length };
}

const CRC32C = 0x03;
const NOOP = 0x04;

function endsIn(addresses: Uint8Array): Required<Pick<ProxyHeader, 'source' | 'destination'>> {
  const view = Buffer.from(addresses);
  const size = (addresses.length - 4) / 2;
  return {
    source: { host: hostIn(view.subarray(0, size)), port: view.readUInt16BE(2 * size) },
    destination: { host: hostIn(view.subarray(size, 2 * size)), port: view.readUInt16BE(2 * size + 2) },
  };
}

function hostIn(address: Buffer): string {
  if (address.length === 4) return address.join('.');
  const isMapped = address.subarray(0, 12).equals(MAPPED_PREFIX);
  if (isMapped) return address.subarray(12).join('.');
  return canonical((address.toString('hex').match(/.{4}/g) ?? []).join(':'));
}

const MAPPED_PREFIX = Buffer.from('00000000000000000000ffff', 'hex');

/** Returns an address in canonical form (RFC 5952), IPv4-mapped addresses as IPv4. */
function canonical(host: string): string {
  if (!host.includes(':')) return host;
  const shortest = new URL(`http://[${host}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(shortest);
  if (mapped === null) return shortest;
  const [high = 0, low = 0] = mapped.slice(1).map((part) => Number.parseInt(part, 16));
  return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
}

/**
 * @returns the TLVs, or the problem as a string
 */
function tlvsIn(bytes: Uint8Array): readonly (Tlv & { readonly at: number })[] | string {
  const tlvs: (Tlv & { readonly at: number })[] = [];
  for (let at = 0; at < bytes.length;) {
    const [type = 0, high, low] = bytes.subarray(at, at + 3);
    if (high === undefined || low === undefined)
      return `expected a type and a length of two bytes, found ${bytes.length - at} bytes`;
    const length = high * 256 + low;
    // A copy: a slice of a buffer would share its memory.
    const value = new Uint8Array(bytes.subarray(at + 3, at + 3 + length));
    if (value.length < length)
      return `expected a value of ${length} bytes for type ${hex(type)}, found ${value.length}`;
    tlvs.push({ type, value, at: at + 3 - bytes.length });
    at += 3 + length;
  }
  return tlvs;
}

/** The checksum covers the whole header, with its own four bytes as zeros. `at` counts from the end of the header. */
function checksumProblem(header: Uint8Array, tlvs: readonly (Tlv & { readonly at: number })[]): string | undefined {
  const checksum = tlvs.find(({ type }) => type === CRC32C);
  if (checksum === undefined) return undefined;
  if (checksum.value.length !== 4) return `expected a checksum of 4 bytes, found ${checksum.value.length}`;
  const start = header.length + checksum.at;
  const found = crc32c(new Uint8Array(header).fill(0, start, start + 4));
  const expected = Buffer.from(checksum.value).readUInt32BE();
  return found === expected ? undefined : `expected the checksum ${hex(expected)}, found ${hex(found)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16).padStart(2, '0')}`;
}
