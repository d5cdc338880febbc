import { constants, createPrivateKey } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import { defined, errorOf } from '@meshgate/core/parts';
import { certificatesIn, parseSpiffeId, privateKeyIn } from '@meshgate/mesh';
import type { Credentials, PeerTrust, TlsSettings } from '@meshgate/mesh';
import { isIn, serviceIn, uriIn } from './certificate-identity.ts';
import { tlsLimits } from './tls-limits.ts';

/**
 * Valid credentials, ready for handshakes as client and server. Immutable: other credentials become another identity.
 */
export interface Identity {
  /** SPIFFE URI of the leaf certificate. */
  readonly uri: string;
  /** Trust domain of this cluster. */
  readonly trustDomain: string;
  /** The earliest expiry in the chain: the other side rejects it afterwards. */
  readonly validUntil: Date;
  /** When the certificate should have been renewed: a tenth of its lifetime is left. */
  readonly renewalDue: Date;
  /** TLS context to dial services of this cluster or federation. Established connections survive its replacement. */
  readonly context: SecureContext;
  /**
   * TLS context to accept callers of this cluster and of all trusted peers; `callerOf` then decides to which
   * of them a caller belongs.
   */
  readonly serverContext: SecureContext;
  /** Root certificates of this cluster. */
  readonly roots: readonly X509Certificate[];
  /** Peers, by their local names. */
  readonly peers: ReadonlyMap<string, PeerIdentity>;
}

/** The roots by which a peer's services are verified, or why they cannot be. */
type PeerIdentity =
  | {
      readonly kind: 'trusted';
      readonly peer: string;
      readonly trustDomain: string;
      /** Absent when not known. */
      readonly datacenter?: string;
      readonly roots: readonly X509Certificate[];
      /** TLS context to dial the peer's services: trusts only the peer's CAs. */
      readonly context: SecureContext;
    }
  | { readonly kind: 'refused'; readonly peer: string; readonly reason: string };

/**
 * Prepares credentials for use, with TLS 1.2 or newer, forward secrecy, authenticated encryption, and no session
 * resumption.
 *
 * @throws Error when the leaf certificate is outside its trust domain, or does not match the key
 */
export function identityOf(credentials: Credentials): Identity {
  const { certificate, trustDomain, tls } = credentials;
  // Extracts the key, since OpenSSL only reads PEM blocks that begin on a line of their own.
  const privateKey = privateKeyIn(credentials.privateKey) ?? credentials.privateKey;
  const roots = credentials.roots.flatMap(certificatesIn);
  const chain = withoutRepeats(certificatesIn(certificate));
  const [leaf] = chain;
  if (leaf === undefined) throw new Error('expected a certificate in PEM, found none');
  if (roots.length === 0) throw new Error('expected at least one root in PEM, found none');
  const service = serviceIn(leaf, trustDomain);
  if (service.kind === 'unknown') throw new Error(`the own certificate: ${service.reason}`);
  if (!leaf.checkPrivateKey(createPrivateKey(privateKey)))
    throw new Error(`expected the key of ${service.uri}, found that of another certificate`);
  const own = { cert: chain.map(String).join(''), key: privateKey, secureOptions: constants.SSL_OP_NO_TICKET };
  const towards = (ca: readonly string[], settings: TlsSettings | undefined): SecureContext =>
    // Each configured root is a trust anchor, even one that another CA has issued.
    createSecureContext({ ...own, ...tlsLimits(settings), ca: [...ca], allowPartialTrustChain: true });
  const peers = peersOf(credentials, (ca) => towards(ca, tls?.outgoing));
  const peerRoots = [...peers.values()].flatMap((peer) => (peer.kind === 'trusted' ? peer.roots.map(String) : []));
  return {
    uri: service.uri,
    trustDomain,
    ...lifeOf(leaf, pathFrom(leaf, chain, roots)),
    context: towards(roots.map(String), tls?.outgoing),
    serverContext: towards([...roots.map(String), ...peerRoots], tls?.incoming),
    roots,
    peers,
  };
}

/** Reads the roots of peers. An invalid bundle affects only its own peer. */
function peersOf(
  { peers = [], trustDomain: own }: Credentials,
  contextFor: (roots: readonly string[]) => SecureContext,
): ReadonlyMap<string, PeerIdentity> {
  const claimed = new Map<string, readonly X509Certificate[]>([[own.toLowerCase(), []]]);
  return new Map(
    peers.map((trust): [string, PeerIdentity] => {
      const { peer } = trust;
      const bundle = readBundle(trust);
      if (typeof bundle === 'string') return [peer, { kind: 'refused', peer, reason: bundle }];
      const { trustDomain, certificates } = bundle;
      // With two clusters of the same trust domain, a caller could not be attributed to either. Datacenters of one
      // federation are different: they share their authorities.
      const others = claimed.get(trustDomain);
      if (others !== undefined && !certificates.some((root) => isIn(others, root))) {
        const reason = `its trust domain ${trustDomain} is that of this cluster or of another peer`;
        return [peer, { kind: 'refused', peer, reason }];
      }
      claimed.set(trustDomain, others ?? certificates);
      const context = contextFor(certificates.map(String));
      const { datacenter } = trust;
      const names = { peer, trustDomain, ...defined({ datacenter }) };
      return [peer, { kind: 'trusted', ...names, roots: certificates, context }];
    }),
  );
}

interface Bundle {
  readonly trustDomain: string;
  readonly certificates: readonly X509Certificate[];
}

/** Reads the roots of one trust domain, named by the URI of those that have one. Returns the problem as a string. */
function readBundle({ roots, trustDomain: configured }: PeerTrust): Bundle | string {
  let certificates: readonly X509Certificate[];
  try {
    certificates = roots.flatMap(certificatesIn);
  } catch (reason) {
    return `its roots cannot be read: ${errorOf(reason).message}`;
  }
  if (certificates.length === 0) return 'its roots are unknown';
  const names = new Set(certificates.flatMap(trustDomainIn));
  const [trustDomain = configured?.toLowerCase() ?? '', ...others] = names;
  if (trustDomain === '' || others.length > 0)
    return `expected roots with one SPIFFE URI of a trust domain, found ${[...names].join(', ') || 'none'}`;
  return { trustDomain, certificates };
}

function trustDomainIn(root: X509Certificate): readonly string[] {
  const uri = uriIn(root);
  if (uri === undefined) return [];
  const id = parseSpiffeId(uri);
  return [id.kind === 'invalid' ? uri : id.trustDomain];
}

/** State of a certificate: `overdue` when it should have been renewed, `expired` when the other side rejects it. */
export type CertificateState = 'good' | 'overdue' | 'expired';

/** Returns the state of `identity` at `now`. Pure. */
export function certificateState(
  { validUntil, renewalDue }: Pick<Identity, 'validUntil' | 'renewalDue'>,
  now: Date,
): CertificateState {
  if (now >= validUntil) return 'expired';
  return now >= renewalDue ? 'overdue' : 'good';
}

// Consul's agents renew a leaf certificate after 60 to 90 percent of its lifetime, other software earlier: with less
// than this part left, renewal has failed.
const LAST_PART = 0.1;

function lifeOf(leaf: X509Certificate, path: readonly X509Certificate[]): Pick<Identity, 'validUntil' | 'renewalDue'> {
  const end = Math.min(...path.map(({ validTo }) => Date.parse(validTo)));
  const lifeMs = end - Date.parse(leaf.validFrom);
  return { validUntil: new Date(end), renewalDue: new Date(end - lifeMs * LAST_PART) };
}

/**
 * Returns the leaf certificate and its path to a root. The remaining certificates are for peers that do not have that
 * root yet.
 */
function pathFrom(
  leaf: X509Certificate,
  chain: readonly X509Certificate[],
  anchors: readonly X509Certificate[],
): readonly X509Certificate[] {
  const path = [leaf];
  for (let last = leaf; !anchors.some((anchor) => last.checkIssued(anchor));) {
    const issuer = chain.find((one) => !path.includes(one) && last.checkIssued(one));
    if (issuer === undefined) return path;
    path.push(issuer);
    last = issuer;
  }
  return path;
}

/** Describes the certificate that the other side may have rejected, for the end of a message. */
export function describeIdentity({ uri, validUntil }: Identity): string {
  return `${uri}, valid until ${validUntil.toISOString()}`;
}

/** Drops repeated certificates, since Consul sends the intermediate of a secondary datacenter twice. */
function withoutRepeats(certificates: readonly X509Certificate[]): readonly X509Certificate[] {
  const isFirst = ({ fingerprint256 }: X509Certificate, index: number): boolean =>
    certificates.findIndex((other) => other.fingerprint256 === fingerprint256) === index;
  return certificates.filter(isFirst);
}
