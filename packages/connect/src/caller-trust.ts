import type { X509Certificate } from 'node:crypto';
import { serviceIn } from './certificate-identity.ts';
import type { CertifiedService } from './certificate-identity.ts';
import type { Identity } from './identity.ts';

/**
 * The service behind a client certificate: of this cluster, or of a trusted peer. TLS has verified the chain against
 * all roots together; this checks it against those of the trust domain that the certificate claims, so that a peer's CA
 * can only vouch for its own services, and ours for none of a peer.
 *
 * @param certificate from the socket's first call: Node returns the rest of the chain only then
 */
export function callerOf(certificate: X509Certificate, identity: Identity): CertifiedService {
  const peers = [...identity.peers.values()].flatMap((peer) => (peer.kind === 'trusted' ? [peer] : []));
  const own = serviceIn(certificate, identity.trustDomain);
  if (peers.length === 0) return own;
  const domains = [{ peer: undefined, trustDomain: identity.trustDomain, roots: identity.roots }, ...peers];
  for (const { peer, trustDomain, roots } of domains) {
    const service = serviceIn(certificate, trustDomain);
    if (service.kind === 'unknown') continue;
    if (!leadsTo(roots, certificate, sentBeside(certificate))) {
      const reason = `expected a chain to a root of ${trustDomain}, found one to another authority, for ${service.uri}`;
      return { kind: 'unknown', reason };
    }
    return { ...service, ...(peer === undefined ? {} : { sourcePeer: peer }) };
  }
  return own;
}

/** The certificates that the other side sent besides its leaf, as far as each is the issuer of the previous one. */
function sentBeside(leaf: X509Certificate): readonly X509Certificate[] {
  const certificates: X509Certificate[] = [];
  for (let next = leaf.issuerCertificate; next !== undefined; next = next.issuerCertificate) {
    if (certificates.length === MAX_PATH || isIn(certificates, next)) break;
    certificates.push(next);
  }
  return certificates;
}

/** Whether a chain leads from `leaf` through CAs in `sent` to one of `roots`, all of them valid now. */
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

// Consul's chains have two intermediates at most; a client must not cost CPU time with a long one.
const MAX_PATH = 8;

function isSignedBy(subject: X509Certificate, issuer: X509Certificate): boolean {
  return subject.checkIssued(issuer) && subject.verify(issuer.publicKey);
}

function isValid({ validFrom, validTo }: X509Certificate): boolean {
  const now = new Date().getTime();
  return Date.parse(validFrom) <= now && now <= Date.parse(validTo);
}

function isIn(path: readonly X509Certificate[], { fingerprint256 }: X509Certificate): boolean {
  return path.some((one) => one.fingerprint256 === fingerprint256);
}
