import { isIPv6 } from 'node:net';

/** The address of the agent when none is configured. */
export const DEFAULT_ADDRESS = 'http://127.0.0.1:8500';

/** A parsed agent address. */
export type AgentAddress =
  | {
      readonly kind: 'address';
      /** Scheme, host and port. */
      readonly origin: string;
      /** Path before `/v1/`, for an agent behind a reverse proxy: `''` or `/consul`. */
      readonly prefix: string;
      /** `user:password` for HTTP basic authentication. */
      readonly auth?: string;
      readonly socketPath?: string;
      /** The address for messages, without the password. */
      readonly shown: string;
    }
  | {
      readonly kind: 'invalid';
      /** The expected form, and the address found. */
      readonly reason: string;
      /** A hint to append to a message that ends in the address; `''` when there is none. */
      readonly hint: string;
    };

/**
 * Parses `http://HOST:PORT`, `https://…` or `HOST:PORT`, each with an optional path or `user:password@`, or
 * `unix:///PATH`. As in Consul's own commands, `:PORT` is a port of the local host. Pure.
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

/** Detects a bare number as the host: a URL parser turns `8500` into the IPv4 address 0.0.33.52. */
function isNumberAlone(url: string): boolean {
  return /^[a-z]+:\/\/(?:[^/]*@)?\d+(?:[:/]|$)/i.test(url);
}

/** Returns the text as it is when a percent sign in it begins no escape, as in a password. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Omits user, password and query, which contain secrets. */
function invalid(written: string, hint: string): AgentAddress {
  const address = written.replace(/[?#].*$/s, '?…').replace(/^([^/]*\/\/)?.*@/s, '$1…@');
  const reason = `expected an address such as ${DEFAULT_ADDRESS} or unix:///run/consul.sock, found ${address}${hint}`;
  return { kind: 'invalid', reason, hint };
}

/** Suggests brackets: without them, the address and the port of an IPv6 address are ambiguous. */
function hintFor(url: string): string {
  const [, scheme = '', host = '', port = ''] = /^(https?:\/\/)([0-9a-f:]*::?[0-9a-f:]*):(\d+)$/i.exec(url) ?? [];
  return isIPv6(host) ? `: an IPv6 address needs brackets, ${scheme}[${host}]:${port}` : '';
}
