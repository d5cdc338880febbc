import type { X509Certificate } from 'node:crypto';
import { ProxyError } from '@meshgate/core';
import { isSameSpiffeId } from '@meshgate/mesh';
import { describeCertificate, uriIn } from './certificate-identity.ts';

/** The server identity that a proxy expects. */
export interface ExpectedServer {
  /** SNI to send. The certificate need not contain it, since it has a SPIFFE URI and no DNS name. */
  readonly serverName: string;
  /** SPIFFE URIs: the server's certificate must have one of them. Compared unescaped, because escaping may differ. */
  readonly identities: readonly string[];
  /** The peer whose CA must have issued the certificate; absent for this cluster or federation. */
  readonly peer?: string;
}

/**
 * Returns why a server with a valid chain is not the expected one; `undefined` when it is. Host names in the
 * certificate do not count in a mesh.
 */
export function serverRefusal(
  certificate: X509Certificate | undefined,
  { identities, serverName }: ExpectedServer,
): ProxyError | undefined {
  const expected = `for ${serverName}: expected a certificate of ${identities.join(' or ') || 'nobody: no identity is known'}`;
  if (certificate === undefined) return new ProxyError('UPSTREAM_UNTRUSTED', `${expected}, found none`);
  const uri = uriIn(certificate);
  if (uri !== undefined && identities.some((identity) => isSameSpiffeId(identity, uri))) return undefined;
  return new ProxyError('UPSTREAM_UNTRUSTED', `${expected}, found ${describeCertificate(certificate)}`);
}
