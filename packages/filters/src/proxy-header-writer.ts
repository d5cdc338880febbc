import { isIPv4, isIPv6 } from 'node:net';
import type { Endpoint, ProxyProtocolVersion } from '@meshgate/core';
import { readAddress } from '@meshgate/core/parts';
import { crc32c } from './crc32c.ts';
import type { Tlv } from './proxy-header.ts';

/** Contents of a header. */
export interface ProxiedConnection {
  /** The client. The header contains `UNKNOWN` if this is not an IP address. */
  readonly source: Endpoint;
  /** The address that the client connected to. */
  readonly destination: Endpoint;
  /** Only written in version 2, in this order, followed by a checksum (CRC-32C). */
  readonly tlvs?: readonly Tlv[];
}

/** Formats a PROXY protocol header (HAProxy, doc/proxy-protocol.txt). Mixed families are written as IPv6. Pure. */
export function formatProxyHeader(version: ProxyProtocolVersion, connection: ProxiedConnection): Uint8Array {
  const ends = endsOf(connection);
  return version === 'v1' ? Buffer.from(line(ends), 'latin1') : binary(ends, connection.tlvs ?? []);
}

/** Both addresses in one family; `undefined` if one of them is not an IP address. */
interface Ends {
  readonly family: 4 | 6;
  readonly source: Endpoint;
  readonly destination: Endpoint;
}

function endsOf({ source, destination }: ProxiedConnection): Ends | undefined {
  const hosts = [source.host, destination.host].map((host) => host.replace(/%.*/, ''));
  if (!hosts.every((host) => isIPv4(host) || isIPv6(host))) return undefined;
  const [from = '', to = ''] = hosts;
  const family = isIPv4(from) && isIPv4(to) ? 4 : 6;
  const written = (host: string): string => (family === 6 && isIPv4(host) ? `::ffff:${host}` : host);
  return {
    family,
    source: { host: written(from), port: source.port },
    destination: { host: written(to), port: destination.port },
  };
}

function line(ends: Ends | undefined): string {
  if (ends === undefined) return 'PROXY UNKNOWN\r\n';
  const { family, source, destination } = ends;
  return `PROXY TCP${family} ${source.host} ${destination.host} ${source.port} ${destination.port}\r\n`;
}

const SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
/** Version 2, command PROXY. */
const COMMAND = 0x21;
/** Family and protocol: a byte stream over IPv4 or IPv6, or unspecified. */
const [OVER_IPV4, OVER_IPV6, UNSPECIFIED] = [0x11, 0x21, 0x00];
const CRC32C = 0x03;
const CRC_BYTES = 4;
/** Type and length of a value. */
const TLV_HEADER_BYTES = 3;

function binary(ends: Ends | undefined, tlvs: readonly Tlv[]): Uint8Array {
  const addresses = ends === undefined ? Buffer.alloc(0) : addressesOf(ends);
  const values = tlvs.map(({ type, value }) => Buffer.concat([tlvHeader(type, value.length), value]));
  const checksum = Buffer.concat([tlvHeader(CRC32C, CRC_BYTES), Buffer.alloc(CRC_BYTES)]);
  const body = Buffer.concat([addresses, ...values, checksum]);
  const family = ends === undefined ? UNSPECIFIED : ends.family === 4 ? OVER_IPV4 : OVER_IPV6;
  const header = Buffer.concat([SIGNATURE, Buffer.from([COMMAND, family, body.length >> 8, body.length & 0xff]), body]);
  header.writeUInt32BE(crc32c(header), header.length - CRC_BYTES);
  return header;
}

function tlvHeader(type: number, length: number): Buffer {
  const header = Buffer.alloc(TLV_HEADER_BYTES);
  header.writeUInt8(type, 0);
  header.writeUInt16BE(length, 1);
  return header;
}

function addressesOf({ family, source, destination }: Ends): Buffer {
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  return Buffer.concat([bytesOf(source.host, family), bytesOf(destination.host, family), ports]);
}

const words = new Uint32Array(4);

function bytesOf(host: string, family: 4 | 6): Buffer {
  readAddress(host, words);
  const bytes = Buffer.alloc(16);
  for (const [index, word] of words.entries()) bytes.writeUInt32BE(word, 4 * index);
  return family === 4 ? bytes.subarray(12) : bytes;
}
