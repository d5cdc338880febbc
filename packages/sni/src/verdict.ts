/** A verdict on the bytes so far. */
export type ClientHelloVerdict = ParsedClientHello | MoreNeeded | Rejected;

/** The ClientHello is complete. Only the parts reported by this type were validated: the rest is up to the server. */
export interface ParsedClientHello {
  readonly kind: 'hello';
  /**
   * The requested name (RFC 6066, section 3), normalised: lower case, without a trailing dot. A valid host name, never an address.
   * Absent when the hello has no name; with {@link ech} it is only the outer, public name.
   */
  readonly serverName?: string;
  /** Protocols offered by ALPN (RFC 7301), one character a byte, in the client's order, GREASE (RFC 8701) left out. */
  readonly alpn: readonly string[];
  /**
   * Versions offered, in the client's order, without GREASE: `0x0304` is TLS 1.3, `0x0300` SSL 3.0. From the extension
   * `supported_versions`; without it the one version that a server may assume to be the newest offered (RFC 8446, 4.2.1).
   */
  readonly supportedVersions: readonly number[];
  /**
   * Encrypted ClientHello was offered (RFC 9849), or GREASE that looks the same. `false` for an inner hello, which only a decrypting
   * front end can have forwarded: its name is the real one.
   */
  readonly ech: boolean;
  /** Early data was offered (RFC 8446, 4.2.10): what follows the hello is payload and must not go to two servers. */
  readonly earlyData: boolean;
  /** The same at every hop that sees this hello: see `traceOf`. */
  readonly trace: number;
  /** Bytes of the records that hold the hello: the caller's bytes from this index on were sent after it. */
  readonly length: number;
}

/** A hello so far, but incomplete. */
export interface MoreNeeded {
  readonly kind: 'more';
  /** Opaque: pass it to the next call for the same connection, so that no byte is parsed twice. Optional. */
  readonly progress: unknown;
}

/** Whether a client can request a name. */
export type ServerNameVerdict = PossibleServerName | Rejected;

/** A client can. */
export interface PossibleServerName {
  readonly kind: 'name';
  /** In lower case, without a trailing dot: as in the hello of a client that requests it. */
  readonly serverName: string;
}

/** Never a hello, whatever follows. */
export interface Rejected {
  readonly kind: 'reject';
  /** For programs: bounded, stable over versions. */
  readonly reason: RejectReason;
  /** For people: what was expected, what was found, where. Printable ASCII whatever the client sent; not meant to be parsed. */
  readonly detail: string;
}

/** Every possible reason: a closed list. */
export type RejectReason =
  /** An extension type occurs twice (RFC 8446, 4.2). */
  | 'duplicate_extension'
  /** The length in the handshake header fits no ClientHello; known from its first nine bytes on. */
  | 'hello_length'
  /** A length inside the hello contradicts the one around it, or is outside what its field allows. */
  | 'malformed'
  /** A TLS handshake that does not begin with a ClientHello. */
  | 'not_client_hello'
  /** Another protocol: the first bytes rule TLS out. The only reason that leaves the bytes to other sniffers. */
  | 'not_tls'
  /** A record without content, or over 2^14 bytes (RFC 8446, 5.1). */
  | 'record_length'
  /** A record other than a handshake record before the hello was complete (RFC 8446, 5.1). */
  | 'record_type'
  /** A record after the first whose version is not 3.x. */
  | 'record_version'
  /** The name holds a byte that no host name has: NUL, a space, anything but letters, digits, `-`, `_` and `.`. */
  | 'server_name_characters'
  /** The name is an IPv4 or IPv6 address (RFC 6066, section 3), or ends in a number as only an address does. */
  | 'server_name_ip_address'
  /** A label of the name is empty or over 63 bytes (RFC 1035, 2.3.4). */
  | 'server_name_label'
  /** The name is empty, or over 253 bytes without its trailing dot (RFC 1035, 2.3.4, as text). */
  | 'server_name_length'
  /** Two host names (RFC 6066, section 3): servers differ in which one they use. */
  | 'server_name_repeated'
  /** An SSL 2.0 hello (RFC 6101, appendix E): it cannot carry a server name. */
  | 'sslv2'
  /** The hello's last record continues after it; a client has nothing to send there before the server responds. */
  | 'trailing_handshake';

/** A {@link Rejected}; `detail` must not quote the client's bytes other than as numbers. */
export function rejected(reason: RejectReason, detail: string): Rejected {
  return { kind: 'reject', reason, detail };
}
