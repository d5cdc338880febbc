/** Why TLS failed, in a few words: OpenSSL's own reason, else the code, else the message. */
export function tlsReason(error: NodeJS.ErrnoException & { readonly reason?: string }): string {
  if (error.reason !== undefined) return error.reason;
  // OpenSSL's certificate errors are readable; system errors have little more than a code.
  return error.code === undefined || error.message.includes(error.code)
    ? error.message
    : `${error.message} (${error.code})`;
}

/** Whether the peer sent an alert about our certificate or its issuer (RFC 8446, section 6.2). */
export function refusalByAlert({ code = '' }: NodeJS.ErrnoException): boolean {
  return /^ERR_SSL_.*ALERT_.*(?:CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/.test(code);
}

/** Whether the peer sent the alert `unrecognized_name` (RFC 6066, section 3), as gateways without a route for a name do. */
export function isUnknownNameAlert({ code = '' }: NodeJS.ErrnoException): boolean {
  return /^ERR_SSL_.*UNRECOGNIZED_NAME$/.test(code);
}
