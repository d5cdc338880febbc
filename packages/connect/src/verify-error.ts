import type { TLSSocket } from 'node:tls';

/**
 * What OpenSSL found wrong with the chain that the peer showed, the purpose of its certificates and their times; `undefined` when
 * that is nothing. `tls.Server` and `tls.connect` take it from the same place, to which Node has no documented way for a server's
 * socket that stands alone.
 *
 * @returns an error, too, where this Node has no such place: what cannot be verified is refused
 */
export function verifyError(tls: TLSSocket): NodeJS.ErrnoException | undefined {
  const { ssl } = tls as { readonly ssl?: { verifyError?(): NodeJS.ErrnoException | null } };
  if (ssl?.verifyError === undefined) return new Error('this version of Node.js does not say whether it is');
  return ssl.verifyError() ?? undefined;
}
