import type { X509Certificate } from 'node:crypto';
import { ProxyError } from '@meshgate/core';
import { describeCertificate, serviceIn } from './certificate-identity.ts';
import type { Identity } from './identity.ts';

/** Whom a proxy expects at the other end. */
export interface ExpectedServer {
  /** The SNI to send. The certificate need not know it: it carries a SPIFFE URI and no DNS name. */
  readonly serverName: string;
  /** SPIFFE URIs, one of which the server's certificate must carry, exactly. */
  readonly identities: readonly string[];
}

/**
 * Why a server whose chain is good is not the one that was asked for; `undefined` when it is. Names of hosts in its certificate
 * mean nothing in a mesh.
 */
export function serverRefusal(
  certificate: X509Certificate | undefined,
  { identities, serverName, identity }: ExpectedServer & { readonly identity: Pick<Identity, 'trustDomain'> },
): ProxyError | undefined {
  const expected = `for ${serverName}: expected a certificate of ${identities.join(' or ') || 'nobody: none is known'}`;
  if (certificate === undefined) return new ProxyError('UPSTREAM_UNTRUSTED', `${expected}, found none`);
  const service = serviceIn(certificate, trustDomainOf(identities) ?? identity.trustDomain);
  if (service.kind === 'service' && identities.includes(service.uri)) return undefined;
  return new ProxyError('UPSTREAM_UNTRUSTED', `${expected}, found ${describeCertificate(certificate)}`);
}

/** Of a peer it is another one than the own. */
function trustDomainOf([first]: readonly string[]): string | undefined {
  return first === undefined || !URL.canParse(first) ? undefined : new URL(first).host;
}
