import type { Hello, Sniffer, Verdict } from '@meshgate/core';
import { parseClientHello } from './client-hello.ts';
import type { ParsedClientHello } from './verdict.ts';

/**
 * Recognises TLS. Passes on the first byte that rules it out, rejects what is TLS (or SSL 2.0) and broken; the reason of a
 * rejection begins with its {@link RejectReason}.
 */
export function sniSniffer(): Sniffer {
  return { name: PROTOCOL, inspect };
}

const PROTOCOL = 'tls';

function inspect(head: Uint8Array, progress?: unknown): Verdict {
  const verdict = parseClientHello(head, progress);
  if (verdict.kind === 'hello') return { kind: 'hello', hello: toHello(verdict) };
  if (verdict.kind === 'more') return verdict;
  return verdict.reason === 'not_tls' ? PASS : { kind: 'reject', reason: `${verdict.reason}: ${verdict.detail}` };
}

const PASS: Verdict = { kind: 'pass' };

// Field by field, and the name last: a copy by spread would cost more than the parsing.
function toHello({ serverName, alpn, supportedVersions, ech, earlyData }: ParsedClientHello): Hello {
  const hello: { -readonly [Field in keyof Hello]: Hello[Field] } = {
    protocol: PROTOCOL,
    alpn,
    supportedVersions,
    ech,
    earlyData,
  };
  if (serverName !== undefined) hello.serverName = serverName;
  return hello;
}
