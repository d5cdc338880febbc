import { isIP } from 'node:net';
import type { Backend } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import { PROXY_PROTOCOLS } from '@meshgate/documents';
import type { Field, Parsed } from '@meshgate/documents';
import { isHostName } from './server-name.ts';

/** Keys of a backend. */
export const BACKEND_KEYS = {
  address: 'required',
  port: 'optional',
  weight: 'optional',
  priority: 'optional',
  labels: 'optional',
  proxyProtocol: 'optional',
} as const;

/** Range of weights in DNS SRV records (RFC 2782), so that weights can be copied from them. */
const MAX_WEIGHT = 65_535;
const MAX_PORT = 65_535;
/** Range of priorities in DNS SRV records, where a lower value is preferred as well. */
const MAX_PRIORITY = 65_535;

/** Reads a backend of a route. Records a problem and returns `undefined` when it is invalid. */
export function readBackend(field: Field): Backend | undefined {
  const fields = field.record(BACKEND_KEYS);
  const host = fields?.get('address')?.parsed(parseAddress);
  const share = readShare(fields);
  const port = fields?.get('port');
  if (host?.startsWith(UNIX_PREFIX)) return toBackend(host, port?.refuse('a unix socket has no port') ?? 0, share);
  const number = port?.integer(1, MAX_PORT);
  if (port === undefined && host !== undefined) field.refuse('expected the key "port", found none');
  return toBackend(host, number, share);
}

type Share = Pick<Backend, 'weight' | 'priority' | 'labels' | 'proxyProtocol'>;

function readShare(fields: ReadonlyMap<keyof typeof BACKEND_KEYS, Field> | undefined): Share | undefined {
  const weight = integerOr(fields?.get('weight'), 1, [1, MAX_WEIGHT]);
  const priority = integerOr(fields?.get('priority'), 0, [0, MAX_PRIORITY]);
  if (weight === undefined || priority === undefined) return undefined;
  const proxyProtocol = fields?.get('proxyProtocol')?.oneOf(PROXY_PROTOCOLS);
  return {
    weight,
    ...(priority > 0 && { priority }),
    ...readLabels(fields?.get('labels')),
    ...defined({ proxyProtocol }),
  };
}

function readLabels(field: Field | undefined): Pick<Backend, 'labels'> {
  const entries = field?.entries();
  if (entries === undefined) return {};
  return { labels: Object.fromEntries(entries.map(({ key, value }) => [key, value.text() ?? ''])) };
}

function integerOr(field: Field | undefined, absent: number, [min, max]: [number, number]): number | undefined {
  return field === undefined ? absent : field.integer(min, max);
}

function toBackend(host: string | undefined, port: number | undefined, share: Share | undefined): Backend | undefined {
  if (host === undefined || port === undefined || share === undefined) return undefined;
  return { address: { host, port }, ...share, healthy: true };
}

const UNIX_PREFIX = 'unix:';

/** The kernel's field for a socket path has 108 bytes on Linux and 104 on macOS, including the final NUL. */
const MAX_SOCKET_PATH_BYTES = 103;

function parseAddress(text: string): Parsed<string> {
  if (text.startsWith(UNIX_PREFIX)) return parseSocket(text);
  const host = text.toLowerCase();
  if (isIP(host) !== 0 || isName(host)) return { kind: 'value', value: host };
  return { kind: 'refused', expected: `an IP address, a DNS name or unix:/path${hint(host)}` };
}

function parseSocket(text: string): Parsed<string> {
  const path = text.slice(UNIX_PREFIX.length);
  const fits = path.startsWith('/') && Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES && !path.includes('\0');
  if (fits) return { kind: 'value', value: text };
  return { kind: 'refused', expected: `unix: and an absolute path of at most ${MAX_SOCKET_PATH_BYTES} bytes` };
}

/**
 * Keeps a trailing dot, which disables the resolver's search domains. Rejects a last label of digits: a mistyped IPv4
 * address.
 */
function isName(host: string): boolean {
  const name = host.replace(/\.$/, '');
  return isHostName(name) && !/(?:^|\.)\d+$/.test(name);
}

/** Detects the two most frequent mistakes. */
function hint(host: string): string {
  if (/^\[.*\]$/.test(host)) return ' without brackets';
  return /[^:]:\d+$/.test(host) ? ' with the port as a separate key' : '';
}
