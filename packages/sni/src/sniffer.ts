import type { RejectionBytes, Hello, Sniffer, Verdict } from '@meshgate/core';
import { parseClientHello } from './client-hello.ts';
import type { ParsedClientHello } from './verdict.ts';

/**
 * Creates a sniffer for TLS. It passes on the first byte that excludes TLS, and rejects malformed TLS (and SSL 2.0);
 * the reason of a rejection begins with its {@link RejectReason}. A client whose name has no route gets a TLS alert.
 */
export function sniSniffer(): Sniffer {
  return { name: PROTOCOL, inspect };
}

const PROTOCOL = 'tls';

function inspect(head: Uint8Array, progress?: unknown): Verdict {
  const verdict = parseClientHello(head, progress);
  if (verdict.kind === 'hello') return { kind: 'hello', hello: toHello(verdict), rejections: ALERTS };
  if (verdict.kind === 'more') return verdict;
  return verdict.reason === 'not_tls' ? PASS : { kind: 'reject', reason: `${verdict.reason}: ${verdict.detail}` };
}

/**
 * Returns a fatal alert in its own record (RFC 8446, 5.1 and 6), with the version that clients of any age accept before
 * one is negotiated.
 */
function fatalAlert(description: number): Uint8Array {
  return Uint8Array.of(21, 3, 1, 0, 2, 2, description);
}

/**
 * Only for failures that a retry would not change: an alert for a transient failure, such as an unreachable backend,
 * would keep clients from retrying.
 */
const ALERTS: RejectionBytes = {
  // missing_extension (RFC 8446, 9.2).
  NO_SERVER_NAME: fatalAlert(109),
  // unrecognized_name (RFC 6066, 3).
  ROUTE_NOT_FOUND: fatalAlert(112),
};

const PASS: Verdict = { kind: 'pass' };

// Field by field: a copy by spread would cost more than the parsing, and a field added later is stored outside of its
// object.
function toHello({ serverName, alpn, supportedVersions, ech, earlyData, trace }: ParsedClientHello): Hello {
  if (serverName === undefined) return { protocol: PROTOCOL, alpn, supportedVersions, ech, earlyData, trace };
  return { protocol: PROTOCOL, serverName, alpn, supportedVersions, ech, earlyData, trace };
}
