import type { TLSSocket } from 'node:tls';

/**
 * Returns OpenSSL's verdict on the other side's chain, including certificate purpose and validity; `undefined` when it
 * is valid. `tls.Server` and `tls.connect` read the same property; Node has no documented API for a server-side socket
 * without a server.
 *
 * @returns an error also when this version of Node lacks the property: an unverified certificate is rejected
 */
export function verifyError(tls: TLSSocket): NodeJS.ErrnoException | undefined {
  const { ssl } = tls as { readonly ssl?: { verifyError?(): NodeJS.ErrnoException | null } };
  if (ssl?.verifyError === undefined) return new Error('this version of Node.js does not report whether it is valid');
  return ssl.verifyError() ?? undefined;
}
