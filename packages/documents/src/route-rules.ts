import type { Backend, Rate, Route } from '@meshgate/core';
import { ADDRESS_OR_BLOCK_FORM, defined, isAddressOrBlock } from '@meshgate/core/parts';
import type { Field, Parsed } from './field.ts';
import { parseRate, RATE_FORM } from './rate.ts';
import { parseTimeout } from './duration.ts';

/** Keys of `access`. */
export const ACCESS_KEYS = {
  allow: 'optional',
  deny: 'optional',
  allowFile: 'optional',
  denyFile: 'optional',
} as const;

/** Keys of `limits`. */
export const LIMIT_KEYS = {
  connections: 'optional',
  rate: 'optional',
  perBackend: 'optional',
  maxAge: 'optional',
  idleTimeout: 'optional',
  halfCloseTimeout: 'optional',
} as const;

/** Values of `proxyProtocol`. */
export const PROXY_PROTOCOLS = ['v1', 'v2', 'off'] as const;

/** Reads how the client address is passed to backends; `off` for the route when only its backends set it. */
export function readProxyProtocol(
  field: Field | undefined,
  backends: readonly Backend[] = [],
): Pick<Route, 'proxyProtocol'> {
  const proxyProtocol = field?.oneOf(PROXY_PROTOCOLS);
  if (proxyProtocol !== undefined) return { proxyProtocol };
  return backends.some((backend) => backend.proxyProtocol !== undefined) ? { proxyProtocol: 'off' } : {};
}

/** Above the descriptor limit of any process. */
const MAX_CONNECTIONS = 10_000_000;

/** Reads which clients may use a route. @param toPath converts a file name, as written, to an absolute path */
export function readAccess(field: Field | undefined, toPath: (name: string) => string): Pick<Route, 'access'> {
  const fields = field?.record(ACCESS_KEYS);
  if (field === undefined || fields === undefined) return {};
  const [allow, deny] = [readAddresses(fields.get('allow')), readAddresses(fields.get('deny'))];
  const [allowFile, denyFile] = [fields.get('allowFile'), fields.get('denyFile')].map((one) => {
    const name = one?.text();
    return name === undefined ? undefined : toPath(name);
  });
  if (allow?.length === 0 && allowFile === undefined)
    fields.get('allow')?.refuse('expected at least one address or block, or allowFile: nobody could connect');
  return { access: defined({ allow, deny, allowFile, denyFile }) };
}

function readAddresses(list: Field | undefined): readonly string[] | undefined {
  return list?.list()?.flatMap((field) => field.parsed(parseAddressOrBlock) ?? []);
}

function parseAddressOrBlock(text: string): Parsed<string> {
  return isAddressOrBlock(text) ? { kind: 'value', value: text } : { kind: 'refused', expected: ADDRESS_OR_BLOCK_FORM };
}

/** Reads the limits on a route's connections. */
export function readLimits(field: Field | undefined): Pick<Route, 'limits'> {
  const fields = field?.record(LIMIT_KEYS);
  if (fields === undefined) return {};
  const limits = defined({
    connections: fields.get('connections')?.integer(1, MAX_CONNECTIONS),
    rate: fields.get('rate')?.parsed(parseRateOf),
    perBackend: fields.get('perBackend')?.integer(1, MAX_CONNECTIONS),
    maxAgeMs: fields.get('maxAge')?.parsed(parseTimeoutOrOff),
    idleTimeoutMs: fields.get('idleTimeout')?.parsed(parseTimeoutOrOff),
    halfCloseTimeoutMs: fields.get('halfCloseTimeout')?.parsed(parseTimeoutOrOff),
  });
  return { limits };
}

/** Parses a timeout; `off` means no limit. */
function parseTimeoutOrOff(text: string): Parsed<number> {
  if (text === 'off') return { kind: 'value', value: Infinity };
  const parsed = parseTimeout(text);
  return parsed.kind === 'value' ? parsed : { kind: 'refused', expected: `${parsed.expected}, or off` };
}

function parseRateOf(text: string): Parsed<Rate> {
  const rate = parseRate(text);
  return rate === undefined ? { kind: 'refused', expected: RATE_FORM } : { kind: 'value', value: rate };
}
