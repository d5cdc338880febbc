/** A judgement on the bytes so far. */
export type ClientHelloVerdict = ParsedClientHello | MoreNeeded | Rejected;

/** The hello is whole. What it says has been checked only where this type tells of it: the server judges the rest. */
export interface ParsedClientHello {
  readonly kind: 'hello';
  /**
   * The name asked for (RFC 6066, section 3), normalised: lower case, without a trailing dot. A valid host name, never an
   * address. Absent when the hello has no name; with {@link ech} it is only the outer, public name.
   */
  readonly serverName?: string;
  /** Protocols offered by ALPN (RFC 7301), one character a byte, in the client's order, GREASE (RFC 8701) left out. */
  readonly alpn: readonly string[];
  /**
   * Versions offered, in the client's order, GREASE left out: `0x0304` is TLS 1.3, `0x0300` SSL 3.0. From the extension
   * `supported_versions`; without it the one version that a server may take for the newest offered (RFC 8446, 4.2.1).
   */
  readonly supportedVersions: readonly number[];
  /**
   * Encrypted ClientHello was offered (RFC 9849), or GREASE that looks the same. An inner hello, which only a decrypting
   * front can have forwarded, says `false`: its name is the true one.
   */
  readonly ech: boolean;
  /** Early data was offered (RFC 8446, 4.2.10): what follows the hello is payload and must not go to two servers. */
  readonly earlyData: boolean;
  /** The same at every hop that sees this hello: see `traceOf`. */
  readonly trace: number;
  /** Bytes of the records that hold the hello: what the caller has from this index on was sent after it. */
  readonly length: number;
}

/** So far a hello, and not yet whole. */
export interface MoreNeeded {
  readonly kind: 'more';
  /** Opaque: to be given to the next call for the same connection, so that no byte is judged twice. May be dropped. */
  readonly progress: unknown;
}

/** Whether a client can ask for a name. */
export type ServerNameVerdict = PossibleServerName | Rejected;

/** A client can. */
export interface PossibleServerName {
  readonly kind: 'name';
  /** In lower case, without a trailing dot: as in the hello of a client that asks for it. */
  readonly serverName: string;
}

/** Never a hello, whatever follows. */
export interface Rejected {
  readonly kind: 'reject';
  /** For programs: bounded, stable over versions. */
  readonly reason: RejectReason;
  /** For people: what was expected, what was found, where. Printable ASCII whatever the client sent; never parsed. */
  readonly detail: string;
}

/** Everything that can be wrong: a closed list. */
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
  /** A record other than a handshake record before the hello was whole (RFC 8446, 5.1). */
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
  /** Two host names (RFC 6066, section 3): servers differ in which one they take. */
  | 'server_name_repeated'
  /** An opening of SSL 2.0 (RFC 6101, appendix E): it cannot carry a server name. */
  | 'sslv2'
  /** The hello's last record goes on after it; a client has nothing to say there before the server's answer. */
  | 'trailing_handshake';

/** A {@link Rejected}; `detail` must not quote the client's bytes other than as numbers. */
export function rejected(reason: RejectReason, detail: string): Rejected {
  return { kind: 'reject', reason, detail };
}
