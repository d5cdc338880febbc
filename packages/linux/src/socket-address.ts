import { networkInterfaces } from 'node:os';
import { isIPv4, isIPv6 } from 'node:net';
import { unixPath } from '@meshgate/core';
import { portProblem } from '@meshgate/core/parts';
import type { Endpoint } from '@meshgate/core';
import { AF_INET, AF_INET6, AF_UNIX } from './abi.ts';

/** Size of the longest address in use: `struct sockaddr_un`, unix(7). */
export const SOCKET_ADDRESS_BYTES = 110;

// The path and its NUL must fit into `sun_path`, unix(7).
const UNIX_PATH_BYTES = 107;

/** An address in the kernel's format. */
export interface SocketAddress {
  /** `AF_INET`, `AF_INET6` or `AF_UNIX`. */
  readonly family: number;
  readonly bytes: Uint8Array;
}

/**
 * Encodes a `struct sockaddr_in`, `sockaddr_in6` or `sockaddr_un`: ip(7), ipv6(7), unix(7).
 *
 * @returns an error message if `endpoint` is neither an IP address nor a unix socket, its path is too long, or its port
 * is invalid
 */
export function encodeAddress(endpoint: Endpoint): SocketAddress | string {
  const path = unixPath(endpoint);
  if (path !== undefined) return encodeUnix(path);
  const problem = portProblem(endpoint);
  if (problem !== undefined) return problem;
  if (isIPv4(endpoint.host)) return { family: AF_INET, bytes: encodeIPv4(endpoint.host, endpoint.port) };
  if (isIPv6(endpoint.host)) return encodeIPv6(endpoint.host, endpoint.port);
  return `expected an IP address or unix:/path, found ${endpoint.host}`;
}

/** Decodes an address from the kernel. Returns `undefined` for another family, or an unnamed unix socket. */
export function decodeAddress(bytes: Uint8Array, length: number): Endpoint | undefined {
  const family = (bytes[0] ?? 0) | ((bytes[1] ?? 0) << 8);
  const port = ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0);
  if (family === AF_INET) return { host: dotted(bytes, 4), port };
  if (family === AF_INET6) return { host: decodeIPv6(bytes), port };
  if (family !== AF_UNIX || length <= 2) return undefined;
  const end = bytes.indexOf(0, 2);
  return { host: `unix:${Buffer.from(bytes.subarray(2, end < 2 || end > length ? length : end)).toString()}`, port: 0 };
}

function encodeUnix(path: string): SocketAddress | string {
  const name = Buffer.from(path);
  if (name.length > UNIX_PATH_BYTES)
    return `expected a unix path of at most ${UNIX_PATH_BYTES} bytes, found ${name.length}`;
  const bytes = new Uint8Array(2 + name.length + 1);
  bytes[0] = AF_UNIX;
  bytes.set(name, 2);
  return { family: AF_UNIX, bytes };
}

function encodeIPv4(host: string, port: number): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes[0] = AF_INET;
  setPort(bytes, port);
  // Already validated: only digits and dots.
  let at = 4;
  let value = 0;
  for (let index = 0; index < host.length; index += 1) {
    const code = host.charCodeAt(index);
    if (code === DOT) {
      bytes[at] = value;
      at += 1;
      value = 0;
    } else value = value * 10 + code - ZERO;
  }
  bytes[at] = value;
  return bytes;
}

const DOT = 0x2e;
const ZERO = 0x30;

function encodeIPv6(host: string, port: number): SocketAddress | string {
  const [address = '', zone] = host.split('%');
  const scope = zone === undefined ? 0 : scopeOf(zone);
  if (scope === undefined) return `expected a network interface, found ${zone} in ${host}`;
  const bytes = new Uint8Array(28);
  bytes[0] = AF_INET6;
  setPort(bytes, port);
  bytes.set(ipv6Bytes(address), 8);
  new DataView(bytes.buffer).setUint32(24, scope, true);
  return { family: AF_INET6, bytes };
}

function setPort(bytes: Uint8Array, port: number): void {
  bytes[2] = port >> 8;
  bytes[3] = port & 0xff;
}

/** Returns the scope of a zone: an interface's index or name (RFC 4007, section 11). */
function scopeOf(zone: string): number | undefined {
  if (/^\d+$/.test(zone)) return Number(zone);
  return networkInterfaces()[zone]?.find((address) => address.family === 'IPv6')?.scopeid;
}

/** Parses an already validated address in a text form of RFC 4291, section 2.2. */
function ipv6Bytes(host: string): Uint8Array {
  const [head = '', tail] = host.split('::');
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const bytes = new Uint8Array(16);
  bytes.set(before);
  bytes.set(after, 16 - after.length);
  return bytes;
}

function groups(text: string): number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number);
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 0xff];
  });
}

/**
 * Decodes IPv4-mapped addresses, which a dual-stack listener has for IPv4 clients, as IPv4 (RFC 4291, section 2.5.5.2).
 */
function decodeIPv6(bytes: Uint8Array): string {
  const address = bytes.subarray(8, 24);
  if (isMapped(address)) return dotted(address, 12);
  const scope = new DataView(bytes.buffer, bytes.byteOffset).getUint32(24, true);
  return scope === 0 ? formatIPv6(address) : `${formatIPv6(address)}%${scope}`;
}

function isMapped(address: Uint8Array): boolean {
  return address[10] === 0xff && address[11] === 0xff && address.subarray(0, 10).every((byte) => byte === 0);
}

function dotted(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** Formats an address in the canonical form (RFC 5952), through the URL parser. */
function formatIPv6(address: Uint8Array): string {
  const text = Array.from({ length: 8 }, (_, index) =>
    (((address[2 * index] ?? 0) << 8) | (address[2 * index + 1] ?? 0)).toString(16),
  ).join(':');
  return new URL(`http://[${text}]`).hostname.slice(1, -1);
}
