import { X509Certificate } from 'node:crypto';

/** The certificates in a PEM text, in order; other contents are ignored. Throws when one of them is malformed. */
export function certificatesIn(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}
