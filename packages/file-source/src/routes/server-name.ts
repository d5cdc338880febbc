import { isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import type { Parsed } from '@meshgate/documents';

/**
 * Parses a server name of a route: `api.example.com`, `*.example.com` or `*`. Returns lower case without a trailing
 * dot. Rejects IP addresses, which a TLS client never sends as server name (RFC 6066, section 3).
 */
export function parseServerName(text: string): Parsed<string> {
  if (text === '*') return { kind: 'value', value: text };
  const name = text.toLowerCase().replace(/\.$/, '');
  const host = name.startsWith('*.') ? name.slice(2) : name;
  if (isHostName(host) && isIP(host) === 0) return { kind: 'value', value: name };
  return { kind: 'refused', expected: `${NAME_FORM}${ascii(host)}` };
}

/** Parses a server name that a client can send, not a pattern. */
export function parseExactName(text: string): Parsed<string> {
  return text.startsWith('*') ? { kind: 'refused', expected: 'a host name' } : parseServerName(text);
}

/**
 * Whether `name` is a host name in lower case and without a trailing dot: labels of letters, digits, hyphens and, as in
 * many internal names, underscores; 63 bytes per label and 253 in total (RFC 1035, section 2.3.4).
 */
export function isHostName(name: string): boolean {
  return name.length <= 253 && name.split('.').every((label) => LABEL.test(label));
}

const LABEL = /^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$/;

const NAME_FORM = 'a host name, "*.suffix" or "*"';

/** Suggests the ASCII form of an internationalised name, which clients send (RFC 5890). */
function ascii(host: string): string {
  const encoded = /[^\p{ASCII}]/u.test(host) ? domainToASCII(host) : '';
  return encoded === '' ? '' : ` in ASCII (${encoded})`;
}
