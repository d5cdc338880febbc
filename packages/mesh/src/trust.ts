import type { Authorization, AuthorizationRequest } from './intentions.ts';

/** The credentials of a Connect proxy and the authorities that it trusts, in PEM. */
export interface Credentials {
  /** The leaf, followed by every certificate between it and a root: sent in full, because peers have no intermediates. */
  readonly certificate: string;
  /** The leaf's key. Never written to disk or log. */
  readonly privateKey: string;
  /** All roots are trusted, active or not: while authorities rotate, leaves of both are in use. */
  readonly roots: readonly string[];
  /** `UUID.consul`: the host of the SPIFFE URIs that these roots may certify. */
  readonly trustDomain: string;
  /** Other clusters that are trusted, each for its own trust domain only; none when absent. */
  readonly peers?: readonly PeerTrust[];
  /** TLS settings of the mesh (`mesh` entry, `TLS`), towards clients and servers; the proxy's own limits also apply. */
  readonly tls?: { readonly incoming?: TlsSettings; readonly outgoing?: TlsSettings };
}

/** TLS versions and cipher suites that configuration allows for one direction. */
export interface TlsSettings {
  /** `TLSv1_0` … `TLSv1_3`, as Consul writes it. A version below 1.2 is 1.2. */
  readonly minVersion?: string;
  /** As `minVersion`; the newest when absent. */
  readonly maxVersion?: string;
  /** IANA names, for TLS 1.2 and older only: suites of TLS 1.3 cannot be selected (as in Consul). All when absent or empty. */
  readonly cipherSuites?: readonly string[];
}

/** The certificate authorities of a peer. Its trust domain is the URI in their certificates, in those that have one. */
export interface PeerTrust {
  /** The local name of the peer. */
  readonly peer: string;
  /** In PEM; at least one. */
  readonly roots: readonly string[];
  /** Its trust domain where no root has a URI: an authority that Consul did not make itself, such as one in Vault, has none. */
  readonly trustDomain?: string;
}

/** A source of credentials. `watch` has the obligations of core's `RouteSource`. */
export interface CredentialsSource {
  readonly name: string;
  /** Yields the credentials when first known, then whenever any part of them changes. */
  watch(signal: AbortSignal): AsyncIterable<Credentials>;
}

/** A client whose certificate was verified: its chain, trust domain and form. */
export interface Caller extends Pick<AuthorizationRequest, 'source' | 'sourcePeer'> {
  /** As it appears in the certificate. */
  readonly uri: string;
  /** Hexadecimal, two digits per byte, with colons: `0a:1b`. */
  readonly serialNumber: string;
}

/** Decides whether a caller may connect. */
export interface Authorizer {
  /**
   * Settles in time by itself, also for a caller that has left meanwhile. Rejects when it cannot decide: the caller must then be
   * refused.
   */
  authorize(caller: Caller, destination: Omit<AuthorizationRequest, 'source' | 'sourcePeer'>): Promise<Authorization>;
}
