import type { X509Certificate } from 'node:crypto';
import { parseSpiffeId } from '@meshgate/mesh';
import type { Caller } from '@meshgate/mesh';

/** Whom a certificate speaks for, or why that is nobody whom the mesh knows. */
export type CertifiedService =
  | ({ readonly kind: 'service' } & Caller)
  /** `reason`: what was expected, what was found. */
  | { readonly kind: 'unknown'; readonly reason: string };

/**
 * Reads the service that a certificate speaks for. Whether the certificate can be trusted is another question, which TLS answers.
 *
 * Exactly one URI is taken, in the form of a service's SPIFFE ID, below the trust domain: a certificate with several could mean
 * one thing here and another elsewhere.
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

/** The one URI of a certificate; `undefined` when it has none, or several. */
export function uriIn(certificate: X509Certificate): string | undefined {
  const [uri, ...others] = urisIn(certificate);
  return others.length === 0 ? uri : undefined;
}

/** For people: whose it is as far as it says, and until when. Says nothing of whether that is true. */
export function describeCertificate(certificate: X509Certificate): string {
  const name = urisIn(certificate).join(', ') || subjectOf(certificate);
  return `that of ${name}, valid until ${new Date(certificate.validTo).toISOString()}`;
}

function unknown(expected: string, found: string): CertifiedService {
  return { kind: 'unknown', reason: `expected ${expected}, found ${found}` };
}

/**
 * Node writes alternative names as one text, and puts quotes round each that could otherwise pass for several. Nobody in a mesh has
 * such a name: with one of them, nothing in the text is taken for a URI but the whole, which is none.
 */
function urisIn({ subjectAltName = '' }: X509Certificate): readonly string[] {
  if (subjectAltName.includes('"')) return [subjectAltName];
  return subjectAltName
    .split(', ')
    .filter((name) => name.startsWith('URI:'))
    .map((name) => name.slice('URI:'.length));
}

/** The types know nothing of it, but an empty subject is `undefined`. */
function subjectOf({ subject }: { readonly subject?: string }): string {
  return subject === undefined || subject === '' ? 'a certificate without a subject' : subject.replaceAll('\n', ', ');
}

function pairs(hexadecimal: string): string {
  const even = hexadecimal.length % 2 === 0 ? hexadecimal : `0${hexadecimal}`;
  return (even.match(/../g) ?? []).join(':').toLowerCase();
}
