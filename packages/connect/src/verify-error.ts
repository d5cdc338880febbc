import type { TLSSocket } from 'node:tls';

/**
 * OpenSSL's verdict on the peer's chain, including certificate purpose and validity; `undefined` when it is valid.
 * `tls.Server` and `tls.connect` read the same property; Node has no documented way for a server-side socket without a
 * server.
 *
 * @returns an error, too, when this version of Node lacks the property: what cannot be verified is refused
 */
export function verifyError(tls: TLSSocket): NodeJS.ErrnoException | undefined {
  const { ssl } = tls as { readonly ssl?: { verifyError?(): NodeJS.ErrnoException | null } };
  if (ssl?.verifyError === undefined) return new Error('this version of Node.js does not report whether it is valid');
  return ssl.verifyError() ?? undefined;
}
