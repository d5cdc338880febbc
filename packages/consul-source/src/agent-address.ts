import { isIPv6 } from 'node:net';

/** Where an agent listens unless told otherwise. */
export const DEFAULT_ADDRESS = 'http://127.0.0.1:8500';

/** A parsed agent address. */
export type AgentAddress =
  | {
      readonly kind: 'address';
      /** Scheme, host and port. */
      readonly origin: string;
      /** Path before `/v1/`, for agents behind a proxy: `''` or `/consul`. */
      readonly prefix: string;
      /** `user:password` for HTTP basic authentication. */
      readonly auth?: string;
      readonly socketPath?: string;
      /** For messages: without the password. */
      readonly shown: string;
    }
  | {
      readonly kind: 'invalid';
      /** What was expected, and what was found. */
      readonly reason: string;
      /** A hint to append to a message that ends in the address; `''` when there is none. */
      readonly hint: string;
    };

/**
 * Parses `http://HOST:PORT`, `https://…`, `HOST:PORT`, each optionally with a path or `user:password@`, or `unix:///PATH`. `:PORT` is a port
 * of this machine, as Consul's own commands have it. Pure.
 */
export function parseAgentAddress(address: string): AgentAddress {
  if (address === 'unix://') return invalid(address, '');
  if (address.startsWith('unix://'))
    return { kind: 'address', origin: 'http://localhost', prefix: '', socketPath: address.slice(7), shown: address };
  const withHost = /^:\d/.test(address) ? `127.0.0.1${address}` : address;
  const withScheme = /^[a-z]+:\/\//i.test(withHost) ? withHost : `http://${withHost}`;
  const url = URL.canParse(withScheme) ? new URL(withScheme) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    return invalid(address, hintFor(withScheme));
  if (url.search !== '' || url.hash !== '') return invalid(address, ', which must not have a query');
  const { origin, pathname, username, password, port } = url;
  if (port === '0') return invalid(address, ': nothing listens on port 0');
  if (isNumberAlone(withScheme)) return invalid(address, ': a port needs a host, as in 127.0.0.1:8500');
  const prefix = pathname.replace(/\/+$/, '');
  const auth = username === '' ? {} : { auth: `${unescaped(username)}:${unescaped(password)}` };
  return { kind: 'address', origin, prefix, ...auth, shown: address.replace(/\/\/[^/]*@/, '//') };
}

/** A URL takes a number for an IPv4 address: `8500` for 0.0.33.52. */
function isNumberAlone(url: string): boolean {
  return /^[a-z]+:\/\/(?:[^/]*@)?\d+(?:[:/]|$)/i.test(url);
}

/** A password may hold a percent sign that begins no escape. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Without user, password and query, which contain secrets. */
function invalid(written: string, hint: string): AgentAddress {
  const address = written.replace(/[?#].*$/s, '?…').replace(/^([^/]*\/\/)?.*@/s, '$1…@');
  const reason = `expected an address such as ${DEFAULT_ADDRESS} or unix:///run/consul.sock, found ${address}${hint}`;
  return { kind: 'invalid', reason, hint };
}

/** An IPv6 address without brackets cannot be told from its port. */
function hintFor(url: string): string {
  const [, scheme = '', host = '', port = ''] = /^(https?:\/\/)([0-9a-f:]*::?[0-9a-f:]*):(\d+)$/i.exec(url) ?? [];
  return isIPv6(host) ? `: an IPv6 address needs brackets, ${scheme}[${host}]:${port}` : '';
}
