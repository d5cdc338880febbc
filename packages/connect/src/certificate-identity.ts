import type { X509Certificate } from 'node:crypto';
import { parseSpiffeId } from '@meshgate/mesh';
import type { Caller } from '@meshgate/mesh';

/** The service in a certificate, or why there is none. */
export type CertifiedService =
  | ({ readonly kind: 'service' } & Caller)
  /** `reason`: the expected contents, and those found. */
  | { readonly kind: 'unknown'; readonly reason: string };

/**
 * Reads the service in a certificate. TLS verifies the certificate itself.
 *
 * Requires exactly one URI, a service's SPIFFE ID in the trust domain: other software could pick another one of several
 * URIs.
 */
export function serviceIn(certificate: X509Certificate, trustDomain: string): CertifiedService {
  const uris = urisIn(certificate);
  const [uri] = uris;
  if (uri === undefined || uris.length > 1)
    return unknown('one SPIFFE URI', uris.join(', ') || `none in ${subjectOf(certificate)}`);
  const source = parseSpiffeId(uri);
  if (source.kind === 'invalid') return { kind: 'unknown', reason: source.reason };
  if (source.kind !== 'service') return unknown('the identity of a service', uri);
  if (source.trustDomain !== trustDomain.toLowerCase()) return unknown(`an identity of ${trustDomain}`, uri);
  return { kind: 'service', uri, source, serialNumber: pairs(certificate.serialNumber) };
}

/** Returns the only URI of a certificate; `undefined` when it has none or several. */
export function uriIn(certificate: X509Certificate): string | undefined {
  const [uri, ...others] = urisIn(certificate);
  return others.length === 0 ? uri : undefined;
}

/** Describes a certificate for messages, by subject and expiry. Does not validate it. */
export function describeCertificate(certificate: X509Certificate): string {
  const name = urisIn(certificate).join(', ') || subjectOf(certificate);
  return `that of ${name}, valid until ${new Date(certificate.validTo).toISOString()}`;
}

/** Whether `certificates` has this certificate. */
export function isIn(certificates: readonly X509Certificate[], { fingerprint256 }: X509Certificate): boolean {
  return certificates.some((one) => one.fingerprint256 === fingerprint256);
}

function unknown(expected: string, found: string): CertifiedService {
  return { kind: 'unknown', reason: `expected ${expected}, found ${found}` };
}

/**
 * Returns the URIs of a certificate. Node joins alternative names into one string, and quotes a name that would be
 * ambiguous. No name in a mesh needs quotes, so a certificate with a quoted name gets no valid URI.
 */
function urisIn({ subjectAltName = '' }: X509Certificate): readonly string[] {
  if (subjectAltName.includes('"')) return [subjectAltName];
  return subjectAltName
    .split(', ')
    .filter((name) => name.startsWith('URI:'))
    .map((name) => name.slice('URI:'.length));
}

/** Node's types omit it, but an empty subject is `undefined`. */
function subjectOf({ subject }: { readonly subject?: string }): string {
  return subject === undefined || subject === '' ? 'a certificate without a subject' : subject.replaceAll('\n', ', ');
}

function pairs(hexadecimal: string): string {
  const even = hexadecimal.length % 2 === 0 ? hexadecimal : `0${hexadecimal}`;
  return (even.match(/../g) ?? []).join(':').toLowerCase();
}
