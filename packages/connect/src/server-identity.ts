import type { X509Certificate } from 'node:crypto';
import { ProxyError } from '@meshgate/core';
import { isSameSpiffeId } from '@meshgate/mesh';
import { describeCertificate, uriIn } from './certificate-identity.ts';

/** Whom a proxy expects at the other end. */
export interface ExpectedServer {
  /** The SNI to send. The certificate need not know it: it carries a SPIFFE URI and no DNS name. */
  readonly serverName: string;
  /** SPIFFE URIs, one of which the server's certificate must carry, compared decoded: two may be escaped differently. */
  readonly identities: readonly string[];
  /** The peer of whose authorities its certificate must be; absent for this cluster or federation. */
  readonly peer?: string;
}

/**
 * Why a server whose chain is good is not the one that was asked for; `undefined` when it is. Names of hosts in its certificate
 * mean nothing in a mesh.
 */
export function serverRefusal(
  certificate: X509Certificate | undefined,
  { identities, serverName }: ExpectedServer,
): ProxyError | undefined {
  const expected = `for ${serverName}: expected a certificate of ${identities.join(' or ') || 'nobody: none is known'}`;
  if (certificate === undefined) return new ProxyError('UPSTREAM_UNTRUSTED', `${expected}, found none`);
  const uri = uriIn(certificate);
  if (uri !== undefined && identities.some((identity) => isSameSpiffeId(identity, uri))) return undefined;
  return new ProxyError('UPSTREAM_UNTRUSTED', `${expected}, found ${describeCertificate(certificate)}`);
}
