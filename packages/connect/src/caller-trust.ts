import type { X509Certificate } from 'node:crypto';
import { defined } from '@meshgate/core/parts';
import { isIn, serviceIn } from './certificate-identity.ts';
import type { CertifiedService } from './certificate-identity.ts';
import type { Identity } from './identity.ts';

/**
 * Returns the service in a client certificate, of this cluster or of a trusted peer. TLS has verified the chain against
 * all roots together; this function verifies it against the roots of the claimed trust domain, so that a peer's CA can
 * certify only its own services, and this cluster's CA none of a peer's.
 *
 * @param certificate from the socket's first call: Node returns the rest of the chain only then
 */
export function callerOf(certificate: X509Certificate, identity: Identity): CertifiedService {
  const peers = [...identity.peers.values()].flatMap((peer) => (peer.kind === 'trusted' ? [peer] : []));
  const own = serviceIn(certificate, identity.trustDomain);
  if (peers.length === 0) return own;
  const domains = [{ peer: undefined, trustDomain: identity.trustDomain, roots: identity.roots }, ...peers];
  const claimed = domains.flatMap((domain) => {
    const service = serviceIn(certificate, domain.trustDomain);
    return service.kind === 'unknown' ? [] : [{ ...domain, service }];
  });
  // Datacenters of one federation share their trust domain, and may each be a peer.
  const inDatacenter = claimed.find((one) => 'datacenter' in one && one.datacenter === one.service.source.datacenter);
  const domain = inDatacenter ?? claimed[0];
  if (domain === undefined) return own;
  const { peer, trustDomain, roots, service } = domain;
  if (leadsTo(roots, certificate, sentBeside(certificate))) return { ...service, ...defined({ sourcePeer: peer }) };
  const reason = `expected a chain to a root of ${trustDomain}, found one to another authority, for ${service.uri}`;
  return { kind: 'unknown', reason };
}

/**
 * Returns the certificates that the client sent after its leaf certificate, as long as each has issued the previous
 * one.
 */
function sentBeside(leaf: X509Certificate): readonly X509Certificate[] {
  const certificates: X509Certificate[] = [];
  for (let next = leaf.issuerCertificate; next !== undefined; next = next.issuerCertificate) {
    if (certificates.length === MAX_PATH || isIn(certificates, next)) break;
    certificates.push(next);
  }
  return certificates;
}

/** Whether a chain of currently valid certificates leads from `leaf` through CAs in `sent` to one of `roots`. */
function leadsTo(roots: readonly X509Certificate[], leaf: X509Certificate, sent: readonly X509Certificate[]): boolean {
  const path = [leaf];
  for (let last = leaf; path.length <= MAX_PATH;) {
    if (roots.some((root) => isValid(root) && isSignedBy(last, root))) return true;
    const issuer = sent.find((one) => one.ca && isValid(one) && !isIn(path, one) && isSignedBy(last, one));
    if (issuer === undefined) return false;
    path.push(issuer);
    last = issuer;
  }
  return false;
}

// Consul's chains have two intermediates at most; the limit keeps a long chain from costing CPU time.
const MAX_PATH = 8;

function isSignedBy(subject: X509Certificate, issuer: X509Certificate): boolean {
  return subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}

function isValid({ validFrom, validTo }: X509Certificate): boolean {
  const now = new Date().getTime();
  return Date.parse(validFrom) <= now && now <= Date.parse(validTo);
}
