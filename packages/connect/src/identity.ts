import { constants, createPrivateKey } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { Credentials } from '@meshgate/mesh';
import { serviceIn } from './certificate-identity.ts';
import { certificatesIn } from './pem.ts';

/** Credentials in which nothing is wrong, ready for handshakes of both sides. Immutable: other credentials are another identity. */
export interface Identity {
  /** The SPIFFE URI of the leaf. */
  readonly uri: string;
  /** Everybody whom it trusts has an identity below it. */
  readonly trustDomain: string;
  /** From then on peers refuse it: the end of whatever is needed of its chain and ends first. */
  readonly validUntil: Date;
  /** By then it should have been renewed: a tenth of its life is left. */
  readonly renewalDue: Date;
  /** For servers and clients alike. Connections that were made with it live on when it is replaced. */
  readonly context: SecureContext;
}

/**
 * Makes credentials ready for use: TLS 1.2 or newer, forward secrecy and authenticated encryption only, no resumption.
 *
 * @throws Error that says what was expected and found, when the leaf is none of its trust domain or does not belong to the key
 */
export function identityOf({ certificate, privateKey, roots, trustDomain }: Credentials): Identity {
  const chain = withoutRepeats(certificatesIn(certificate));
  const [leaf] = chain;
  if (leaf === undefined) throw new Error('expected a certificate in PEM, found none');
  if (roots.length === 0) throw new Error('expected at least one root in PEM, found none');
  const service = serviceIn(leaf, trustDomain);
  if (service.kind === 'unknown') throw new Error(`the own certificate: ${service.reason}`);
  if (!leaf.checkPrivateKey(createPrivateKey(privateKey)))
    throw new Error(`expected the key of ${service.uri}, found that of another certificate`);
  const context = createSecureContext({
    ca: [...roots],
    cert: chain.map(String).join(''),
    key: privateKey,
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS.join(':'),
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
  return { uri: service.uri, trustDomain, ...lifeOf(leaf, pathFrom(leaf, chain, roots)), context };
}

/** How a certificate stands at some time: `overdue` when it should have been renewed, `expired` when peers refuse it. */
export type CertificateState = 'good' | 'overdue' | 'expired';

/** How `identity` stands at `now`. Pure. */
export function certificateState(
  { validUntil, renewalDue }: Pick<Identity, 'validUntil' | 'renewalDue'>,
  now: Date,
): CertificateState {
  if (now >= validUntil) return 'expired';
  return now >= renewalDue ? 'overdue' : 'good';
}

// Consul's agents renew a leaf when 60 to 90 percent of its life is over, others earlier: whoever has not by then will not.
const LAST_PART = 0.1;

function lifeOf(leaf: X509Certificate, path: readonly X509Certificate[]): Pick<Identity, 'validUntil' | 'renewalDue'> {
  const end = Math.min(...path.map(({ validTo }) => Date.parse(validTo)));
  const lifeMs = end - Date.parse(leaf.validFrom);
  return { validUntil: new Date(end), renewalDue: new Date(end - lifeMs * LAST_PART) };
}

/** The leaf and what leads from it to a root. The rest of a chain is for peers who do not know that root yet. */
function pathFrom(
  leaf: X509Certificate,
  chain: readonly X509Certificate[],
  roots: readonly string[],
): readonly X509Certificate[] {
  const anchors = roots.flatMap(certificatesIn);
  const path = [leaf];
  for (let last = leaf; !anchors.some((anchor) => last.checkIssued(anchor));) {
    const issuer = chain.find((one) => !path.includes(one) && last.checkIssued(one));
    if (issuer === undefined) return path;
    path.push(issuer);
    last = issuer;
  }
  return path;
}

/** For the end of messages: whose certificate a peer may have refused. */
export function describeIdentity({ uri, validUntil }: Identity): string {
  return `${uri}, valid until ${validUntil.toISOString()}`;
}

// Of TLS 1.2 what Consul's own proxies offer; of TLS 1.3 all that there is in practice.
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
];

/** Consul gives the intermediate of a secondary datacenter twice: once is enough, in the same order. */
function withoutRepeats(certificates: readonly X509Certificate[]): readonly X509Certificate[] {
  const isFirst = ({ fingerprint256 }: X509Certificate, index: number): boolean =>
    certificates.findIndex((other) => other.fingerprint256 === fingerprint256) === index;
  return certificates.filter(isFirst);
}
