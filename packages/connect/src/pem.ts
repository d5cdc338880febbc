import { X509Certificate } from 'node:crypto';

/** The certificates of a PEM text, in their order; whatever else stands in it is passed over. Throws when one of them is broken. */
export function certificatesIn(pem: string): readonly X509Certificate[] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return blocks.map((block) => new X509Certificate(block));
}
