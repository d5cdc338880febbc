// What two applications say to each other, on either end of a way through the mesh. The first byte of a connection says what is
// wanted: everything back, bytes without end, or that bytes are taken without end.
import { constants } from 'node:crypto';

export const ECHO = 'e';
export const SOURCE = 's';
export const DISCARD = 'd';

/** Bytes of one write where there is no end of them. */
export const CHUNK_BYTES = 64 * 1024;

/**
 * Settings of mutual TLS as a sidecar has them: no resumption, so that each connection proves anew who it is; and whoever does not
 * prove to be `peer` is refused.
 *
 * @param {{ readonly ca: string, readonly cert: string, readonly key: string }} pem
 * @returns {import('node:tls').SecureContextOptions}
 */
export function mutualTls(pem) {
  return { ...pem, minVersion: 'TLSv1.2', secureOptions: constants.SSL_OP_NO_TICKET };
}

/**
 * @param {import('node:tls').PeerCertificate} certificate
 * @param {string} spiffeId
 * @returns {Error | undefined} why it is not the certificate of `spiffeId`
 */
export function refusal(certificate, spiffeId) {
  if (certificate.subjectaltname === `URI:${spiffeId}`) return undefined;
  return new Error(`expected a certificate of ${spiffeId}, found ${certificate.subjectaltname}`);
}
