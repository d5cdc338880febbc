/** Returns the reason of a TLS failure in a few words: OpenSSL's own reason, else the message, with the code. */
export function tlsReason(error: NodeJS.ErrnoException & { readonly reason?: string }): string {
  if (error.reason !== undefined) return error.reason;
  // OpenSSL's certificate errors are readable; the message of a system error is little more than its code.
  return error.code === undefined || error.message.includes(error.code)
    ? error.message
    : `${error.message} (${error.code})`;
}

/** Whether the other side sent an alert about this proxy's certificate or its issuer (RFC 8446, section 6.2). */
export function refusalByAlert({ code = '' }: NodeJS.ErrnoException): boolean {
  return /^ERR_SSL_.*ALERT_.*(?:CERTIFICATE|UNKNOWN_CA|ACCESS_DENIED)/.test(code);
}

/**
 * Whether the other side sent the alert `unrecognized_name` (RFC 6066, section 3), as a gateway without a route for the
 * SNI does.
 */
export function isUnknownNameAlert({ code = '' }: NodeJS.ErrnoException): boolean {
  return /^ERR_SSL_.*UNRECOGNIZED_NAME$/.test(code);
}
