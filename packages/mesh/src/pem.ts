import { X509Certificate } from 'node:crypto';
import { errorOf } from '@meshgate/core/parts';

const CERTIFICATE = '(?:TRUSTED |X509 )?CERTIFICATE';
const CERTIFICATE_BEGIN = new RegExp(`-----BEGIN ${CERTIFICATE}-----`, 'g');
const CERTIFICATE_BLOCK = new RegExp(`-----BEGIN (${CERTIFICATE})-----[^-]+-----END \\1-----`, 'g');
const PRIVATE_KEY_BLOCK = /-----BEGIN ((?:[A-Z]+ )*PRIVATE KEY)-----[\s\S]+?-----END \1-----/;

/**
 * Returns the certificates in a PEM text (RFC 7468), in order. Ignores all other contents, and needs no line break
 * between blocks: OpenSSL reads only the first certificate of files that were concatenated without one.
 *
 * @throws Error naming the certificate that is incomplete or invalid
 */
export function certificatesIn(pem: string): readonly X509Certificate[] {
  const blocks = unixLines(pem).match(CERTIFICATE_BLOCK) ?? [];
  const begun = pem.match(CERTIFICATE_BEGIN)?.length ?? 0;
  if (begun > blocks.length)
    throw new Error(`expected the end of each of ${begun} certificates in PEM, found that of ${blocks.length}`);
  return blocks.map((block, index) => certificateOf(block, index + 1));
}

function certificateOf(block: string, number: number): X509Certificate {
  try {
    return new X509Certificate(block);
  } catch (reason) {
    throw new Error(`certificate ${number} in PEM cannot be read: ${errorOf(reason).message}`, { cause: reason });
  }
}

/** Returns the first private key in a PEM text, without the text around it; `undefined` when there is none. */
export function privateKeyIn(pem: string): string | undefined {
  return PRIVATE_KEY_BLOCK.exec(unixLines(pem))?.[0];
}

/**
 * Converts line ends: OpenSSL does not accept a lone carriage return, nor two in a row, as in files that were converted
 * twice.
 */
function unixLines(pem: string): string {
  return pem.replaceAll(/\r+\n?/g, '\n');
}
