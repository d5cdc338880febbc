import type { Authorization, AuthorizationRequest } from './intentions.ts';

/** The credentials of a Connect proxy and the authorities that it trusts, in PEM. */
export interface Credentials {
  /**
   * The leaf certificate and all intermediates up to the root. Sent in full, because peers do not have the
   * intermediates.
   */
  readonly certificate: string;
  /** Private key of the leaf certificate. Never written to disk or to a log. */
  readonly privateKey: string;
  /** All trusted roots, active or not: during a rotation, leaf certificates of both are in use. */
  readonly roots: readonly string[];
  /** `UUID.consul`, the host of the SPIFFE URIs that these roots may certify. */
  readonly trustDomain: string;
  /** Peers, each trusted for its own trust domain only; none when absent. */
  readonly peers?: readonly PeerTrust[];
  /**
   * TLS settings of the mesh (`mesh` entry, `TLS`), for connections from clients and to servers; the proxy's own limits
   * also apply.
   */
  readonly tls?: { readonly incoming?: TlsSettings; readonly outgoing?: TlsSettings };
}

/** TLS versions and cipher suites that the configuration allows for one direction. */
export interface TlsSettings {
  /** `TLSv1_0` … `TLSv1_3`, in Consul's spelling. Versions below 1.2 are raised to 1.2. */
  readonly minVersion?: string;
  /** In the form of `minVersion`; the newest version when absent. */
  readonly maxVersion?: string;
  /**
   * IANA names of cipher suites for TLS 1.2 and older; those of TLS 1.3 cannot be selected (as in Consul). All when
   * absent or empty.
   */
  readonly cipherSuites?: readonly string[];
}

/**
 * The certificate authorities of a peer. The URIs in its root certificates, where they have any, name its trust domain.
 */
export interface PeerTrust {
  /** The local name of the peer. */
  readonly peer: string;
  /** In PEM; at least one. */
  readonly roots: readonly string[];
  /** Its trust domain when no root has a URI, as with roots that Consul did not create (Vault's, for example). */
  readonly trustDomain?: string;
  /**
   * Its datacenter, which tells peers apart that share a trust domain, as the datacenters of one federation do. Absent
   * when not known.
   */
  readonly datacenter?: string;
}

/** A source of credentials. `watch` has the same contract as in core's `RouteSource`. */
export interface CredentialsSource {
  readonly name: string;
  /** Yields the credentials once they are known, then at each change of any part of them. */
  watch(signal: AbortSignal): AsyncIterable<Credentials>;
}

/** A client with a verified certificate (chain, trust domain and form). */
export interface Caller extends Pick<AuthorizationRequest, 'source' | 'sourcePeer'> {
  /** The SPIFFE URI, as in the certificate. */
  readonly uri: string;
  /** Hexadecimal, two digits per byte, with colons: `0a:1b`. */
  readonly serialNumber: string;
}

/** Decides whether a caller may connect. */
export interface Authorizer {
  /**
   * Decides on a caller, within a bounded time even if that caller has disconnected. Rejects when no decision is
   * possible: the caller must then be refused.
   */
  authorize(caller: Caller, destination: Omit<AuthorizationRequest, 'source' | 'sourcePeer'>): Promise<Authorization>;
}
