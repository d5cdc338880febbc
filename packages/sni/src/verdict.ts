/** A verdict on the bytes so far. */
export type ClientHelloVerdict = ParsedClientHello | MoreNeeded | Rejected;

/** The ClientHello is complete. Only the fields of this type were validated; the server validates the rest. */
export interface ParsedClientHello {
  readonly kind: 'hello';
  /**
   * The requested name (RFC 6066, section 3), normalised: lower case, without a trailing dot. A valid host name, never
   * an address. Absent if the hello has no name; with {@link ech} it is only the outer, public name.
   */
  readonly serverName?: string;
  /** Protocols offered by ALPN (RFC 7301), one character per byte, in the client's order, without GREASE (RFC 8701). */
  readonly alpn: readonly string[];
  /**
   * Offered versions, in the client's order, without GREASE: `0x0304` is TLS 1.3, `0x0300` SSL 3.0. From the extension
   * `supported_versions`; without it, the version that a server may assume to be the newest offered (RFC 8446, 4.2.1).
   */
  readonly supportedVersions: readonly number[];
  /**
   * Whether Encrypted ClientHello was offered (RFC 9849), or GREASE that looks the same. `false` for an inner hello,
   * which only a decrypting front end can have forwarded: its name is the real one.
   */
  readonly ech: boolean;
  /**
   * Whether early data was offered (RFC 8446, 4.2.10): the bytes after the hello are payload and must not be sent to
   * two servers.
   */
  readonly earlyData: boolean;
  /** Equal at every hop that sees this hello: see `traceOf`. */
  readonly trace: number;
  /** Length of the records that contain the hello: the bytes from this index on were sent after it. */
  readonly length: number;
}

/** The bytes so far begin a hello, which is incomplete. */
export interface MoreNeeded {
  readonly kind: 'more';
  /** Opaque: pass it to the next call for the same connection, so that no byte is parsed twice. Optional. */
  readonly progress: unknown;
}

/** Whether a client can request a name. */
export type ServerNameVerdict = PossibleServerName | Rejected;

/** The name is possible. */
export interface PossibleServerName {
  readonly kind: 'name';
  /** In lower case, without a trailing dot: as in the hello of a client that requests it. */
  readonly serverName: string;
}

/** The bytes are not a ClientHello, whatever follows. */
export interface Rejected {
  readonly kind: 'reject';
  /** For programs: a closed list, stable over versions. */
  readonly reason: RejectReason;
  /** For people: what was expected, what was found, and where. Always printable ASCII; not meant to be parsed. */
  readonly detail: string;
}

/** Every possible reason: a closed list. */
export type RejectReason =
  /** An extension type occurs twice (RFC 8446, 4.2). */
  | 'duplicate_extension'
  /** The length in the handshake header fits no ClientHello; known from its first nine bytes on. */
  | 'hello_length'
  /** A length inside the hello contradicts an outer one, or is not allowed for its field. */
  | 'malformed'
  /** A TLS handshake that does not begin with a ClientHello. */
  | 'not_client_hello'
  /** Another protocol: the first bytes exclude TLS. The only reason that leaves the bytes to other sniffers. */
  | 'not_tls'
  /** A record without content, or with more than 2^14 bytes (RFC 8446, 5.1). */
  | 'record_length'
  /** A record other than a handshake record before the hello was complete (RFC 8446, 5.1). */
  | 'record_type'
  /** A record after the first whose version is not 3.x. */
  | 'record_version'
  /** The name contains a byte that no host name has: NUL, a space, anything but letters, digits, `-`, `_` and `.`. */
  | 'server_name_characters'
  /** The name is an IPv4 or IPv6 address (RFC 6066, section 3), or ends in a number as only an address does. */
  | 'server_name_ip_address'
  /** A label of the name is empty or longer than 63 bytes (RFC 1035, 2.3.4). */
  | 'server_name_label'
  /** The name is empty, or longer than 253 bytes without its trailing dot (RFC 1035, 2.3.4, as text). */
  | 'server_name_length'
  /** Two host names (RFC 6066, section 3): servers differ in which one they use. */
  | 'server_name_repeated'
  /** An SSL 2.0 hello (RFC 6101, appendix E): it cannot carry a server name. */
  | 'sslv2'
  /** The hello's last record continues after it; a client has nothing to send there before the server responds. */
  | 'trailing_handshake';

/** Creates a {@link Rejected}; `detail` must not quote the client's bytes except as numbers. */
export function rejected(reason: RejectReason, detail: string): Rejected {
  return { kind: 'reject', reason, detail };
}
