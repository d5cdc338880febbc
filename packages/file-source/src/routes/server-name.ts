import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Parsed } from '@meshgate/documents';

/**
 * Parses the server names of a route: `api.example.com`, `*.example.com` or `*`, in lower case and without the trailing
 * dot. A TLS client never sends an IP address as server name (RFC 6066, section 3), so none is accepted.
 */
export function parseServerName(text: string): Parsed<string> {
  if (text === '*') return { kind: 'value', value: text };
  const name = text.toLowerCase().replace(/\.$/, '');
  const host = name.startsWith('*.') ? name.slice(2) : name;
  if (isHostName(host) && isIP(host) === 0) return { kind: 'value', value: name };
  return { kind: 'refused', expected: `${NAME_FORM}${ascii(host)}` };
}

/** A name that a client can send: not a pattern. */
export function parseExactName(text: string): Parsed<string> {
  return text.startsWith('*') ? { kind: 'refused', expected: 'a host name' } : parseServerName(text);
}

/**
 * Whether `name` is a host name: labels of letters, digits, hyphens and, as in many internal names, underscores; 63
 * bytes a label and 253 in all (RFC 1035, section 2.3.4). In lower case, without a trailing dot.
 */
export function isHostName(name: string): boolean {
  return name.length <= 253 && name.split('.').every((label) => LABEL.test(label));
}

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

const NAME_FORM = 'a host name, "*.suffix" or "*"';

/** Clients send an internationalized name in its ASCII form (RFC 5890). */
function ascii(host: string): string {
  const encoded = /[^\p{ASCII}]/u.test(host) ? domainToASCII(host) : '';
  return encoded === '' ? '' : ` in ASCII (${encoded})`;
}
