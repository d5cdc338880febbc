// The two applications at both ends of a path through the mesh. The first byte of a connection selects the mode: echo,
// endless output, or endless input.
import { constants } from 'node:crypto';

export const ECHO = 'e';
export const SOURCE = 's';
export const DISCARD = 'd';

/** Bytes per write of endless output. */
export const CHUNK_BYTES = 64 * 1024;

/**
 * Mutual TLS settings as in a sidecar: no resumption, so that every connection authenticates; a peer other than `peer`
 * is rejected.
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
