import type { Authorization, AuthorizationRequest } from './intentions.ts';

/** What a Connect proxy shows of itself, and whom it trusts, as text in PEM. */
export interface Credentials {
  /** The leaf, then every certificate between it and a root: shown whole, since peers hold no intermediates. */
  readonly certificate: string;
  /** The leaf's key. Nobody writes it anywhere. */
  readonly privateKey: string;
  /** All of them count, also those that are no longer, or not yet, active: while authorities change, both kinds of leaf are about. */
  readonly roots: readonly string[];
  /** `UUID.consul`: the host of every SPIFFE URI that these roots may speak for. */
  readonly trustDomain: string;
  /** Other clusters that are trusted, each for its own trust domain only; none when absent. */
  readonly peers?: readonly PeerTrust[];
  /** What the mesh asks of TLS (`mesh` entry, `TLS`), towards clients and towards servers; the proxy's own limits hold beside it. */
  readonly tls?: { readonly incoming?: TlsSettings; readonly outgoing?: TlsSettings };
}

/** Versions and cipher suites that configuration allows for one direction. */
export interface TlsSettings {
  /** `TLSv1_0` … `TLSv1_3`, as Consul writes it. A version below 1.2 is 1.2. */
  readonly minVersion?: string;
  /** Likewise; the newest when absent. */
  readonly maxVersion?: string;
  /** Names of IANA's registry, of TLS 1.2 and older only: those of TLS 1.3 cannot be chosen (as in Consul). All when absent or empty. */
  readonly cipherSuites?: readonly string[];
}

/** The certificate authorities of a peer. Its trust domain is the URI in them. */
export interface PeerTrust {
  /** The name that this cluster gives to it. */
  readonly peer: string;
  /** In PEM; at least one. */
  readonly roots: readonly string[];
}

/** Where credentials come from. The obligations of `watch` are those of core's `RouteSource`. */
export interface CredentialsSource {
  readonly name: string;
  /** Yields them when first known, then whenever any part of them changes. */
  watch(signal: AbortSignal): AsyncIterable<Credentials>;
}

/** A client whose certificate is verified: its chain, its trust domain, its form. */
export interface Caller extends Pick<AuthorizationRequest, 'source' | 'sourcePeer'> {
  /** As it stands in the certificate. */
  readonly uri: string;
  /** Hexadecimal, two digits a byte, with colons: `0a:1b`. */
  readonly serialNumber: string;
}

/** Judges whether a caller may connect. */
export interface Authorizer {
  /** Rejects when it cannot tell: whoever asks must then refuse. */
  authorize(
    caller: Caller,
    destination: Omit<AuthorizationRequest, 'source' | 'sourcePeer'>,
    signal: AbortSignal,
  ): Promise<Authorization>;
}
