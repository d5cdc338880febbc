import { isIPv4 } from 'node:net';
import type { Endpoint } from '@meshgate/core';
import { crc32c } from '../src/crc32c.ts';

/** A version 1 header: what is between `PROXY ` and the end of the line. */
export function v1(line: string): Buffer {
  return Buffer.from(`PROXY ${line}\r\n`, 'latin1');
}

/** The fields of a version 2 header. */
export interface V2 {
  readonly command?: number;
  /** By default the length of the addresses. */
  readonly family?: number;
  readonly source?: Endpoint;
  readonly destination?: Endpoint;
  /** Appended after the addresses unchanged. */
  readonly body?: Uint8Array;
  readonly tlvs?: readonly (readonly [type: number, value: Uint8Array])[];
  /** Adds a checksum as the last TLV. */
  readonly checksum?: boolean;
}

/** A version 2 header, well-formed or not. */
export function v2({ command = 0x21, family, source, destination, body, tlvs = [], checksum = false }: V2): Buffer {
  const addresses =
    source === undefined || destination === undefined
      ? []
      : [bytesOf(source.host), bytesOf(destination.host), word(source.port), word(destination.port)];
  const values = tlvs.flatMap(([type, value]) => [Buffer.of(type), word(value.length), value]);
  const sum = checksum ? [Buffer.of(0x03, 0, 4, 0, 0, 0, 0)] : [];
  const rest = Buffer.concat([...addresses, body ?? Buffer.alloc(0), ...values, ...sum]);
  const known = source === undefined ? 0 : isIPv4(source.host) ? 0x11 : 0x21;
  const start = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
  const all = Buffer.concat([start, Buffer.of(command, family ?? known), word(rest.length), rest]);
  if (checksum) all.writeUInt32BE(crc32c(all), all.length - 4);
  return all;
}

function word(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}

function bytesOf(host: string): Buffer {
  if (isIPv4(host)) return Buffer.from(host.split('.').map(Number));
  const [before = '', after = ''] = host.split('::').map((half) => half);
  const head = groups(before);
  const tail = groups(after);
  return Buffer.concat([...head, Buffer.alloc(16 - 2 * (head.length + tail.length)), ...tail]);
}

function groups(text: string): Buffer[] {
  return text === '' ? [] : text.split(':').map((group) => word(Number.parseInt(group, 16)));
}
