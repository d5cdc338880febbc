import type { X509Certificate } from 'node:crypto';
import { Cell, follow, openScope } from '@meshgate/core/parts';
import type { Observer, OwnCertificate, Service, TrustedAuthority } from '@meshgate/core';
import type { Credentials, CredentialsSource } from '@meshgate/mesh';
import { identityOf, certificateState } from './identity.ts';
import type { Identity, CertificateState } from './identity.ts';

/** Options of an {@link IdentityStore}. */
export interface IdentityStoreOptions {
  /** Source of certificate, key and roots. */
  readonly source: CredentialsSource;
  /**
   * Receives `source.updated` and `source.failed`, as of any source; also when a certificate is installed, and when it
   * is too old.
   */
  readonly observer: Observer;
}

/** State of the proxy's own certificate. */
export interface CertificateStatus {
  /** Its source. */
  readonly source: string;
  /** Absent until one is received. */
  readonly certificate?: OwnCertificate & { readonly state: CertificateState };
  /** Why no newer one is available; absent when nothing is wrong. */
  readonly error?: Error;
}

/**
 * Follows credentials. New handshakes use the newest valid ones; established connections are not affected, and the last
 * ones stay in use when the source fails.
 */
export class IdentityStore implements Service {
  readonly name = 'identity';
  readonly #options: IdentityStoreOptions;
  readonly #identity = new Cell<Identity>();
  readonly #scope = openScope();
  #following: Promise<unknown> = Promise.resolve();
  #accepted: { readonly text: string; readonly identity: Identity } | undefined;
  #error: Error | undefined;
  #reported: CertificateState = 'good';
  #timer: NodeJS.Timeout | undefined;

  constructor(options: IdentityStoreOptions) {
    this.#options = options;
  }

  /** Used by new handshakes; `undefined` until credentials are received. */
  get current(): Identity | undefined {
    return this.#identity.value;
  }

  /** The current state of the certificate. */
  get status(): CertificateStatus {
    const { current } = this;
    return {
      source: this.#options.source.name,
      ...(current === undefined
        ? {}
        : { certificate: { ...certificateOf(current), state: certificateState(current, new Date()) } }),
      ...(this.#error === undefined ? {} : { error: this.#error }),
    };
  }

  /** Every identity, starting with the current one. Ends when `signal` aborts. */
  changes(signal: AbortSignal): AsyncGenerator<Identity, void, void> {
    return this.#identity.watch(signal);
  }

  /** Does not wait for the source: listeners do, through {@link IdentityStore.changes}. */
  start(): Promise<void> {
    const { source, observer } = this.#options;
    this.#following = follow((signal) => this.#identities(signal), this.#scope.signal, {
      onValue: (identity) => {
        // No changes: these events are about routes.
        observer.observe({ type: 'source.updated', source: source.name, changed: false, asOf: new Date() });
        this.#error = undefined;
        // A restarted source repeats its last credentials: not a new certificate.
        if (identity !== this.current) this.#take(identity);
      },
      onFailure: (error, retryInMs) => {
        this.#error = error;
        observer.observe({ type: 'source.failed', source: source.name, error, retryInMs });
      },
    });
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#scope.end(new Error('the identity store is stopping'));
    await this.#following;
    clearTimeout(this.#timer);
  }

  #take(identity: Identity): void {
    const { source, observer } = this.#options;
    observer.observe({
      type: 'certificate.installed',
      source: source.name,
      certificate: certificateOf(identity),
      authorities: authoritiesOf(identity),
    });
    this.#identity.set(identity);
    this.#reported = 'good';
    this.#age(identity);
  }

  /** Reports when it should have been renewed, and when it has expired. */
  #age(identity: Identity): void {
    clearTimeout(this.#timer);
    const { source, observer } = this.#options;
    const now = new Date();
    const state = certificateState(identity, now);
    if (state !== 'good' && state !== this.#reported)
      observer.observe({
        type: 'certificate.aged',
        source: source.name,
        certificate: certificateOf(identity),
        state,
      });
    this.#reported = state;
    const next = state === 'good' ? identity.renewalDue : identity.validUntil;
    // Also of one that has expired: the clock may have been wrong, and be set back.
    const waitMs = state === 'expired' ? LONGEST_WAIT_MS : Math.min(next.getTime() - now.getTime(), LONGEST_WAIT_MS);
    this.#timer = setTimeout(() => this.#age(identity), waitMs).unref();
  }

  async *#identities(signal: AbortSignal): AsyncGenerator<Identity> {
    // Invalid credentials are a failure of the source: it is retried, in case only half of a change was read.
    for await (const credentials of this.#options.source.watch(signal)) yield this.#identityOf(credentials);
  }

  /** The current identity, if these are its credentials. */
  #identityOf(credentials: Credentials): Identity {
    const text = JSON.stringify(credentials);
    if (this.#accepted?.text !== text) this.#accepted = { text, identity: identityOf(credentials) };
    return this.#accepted.identity;
  }
}

// Upper bound on a timer: clock changes and suspended machines must not delay a warning by more than this.
const LONGEST_WAIT_MS = 60_000;

function certificateOf({ uri, validUntil }: Identity): OwnCertificate {
  return { identity: uri, validUntil };
}

function authoritiesOf({ roots, peers }: Identity): readonly TrustedAuthority[] {
  const trusted = Array.from(peers.values()).filter((peer) => peer.kind === 'trusted');
  return [authority('mesh', roots), ...trusted.map((peer) => authority(`peer ${peer.peer}`, peer.roots))];
}

function authority(name: string, roots: readonly X509Certificate[]): TrustedAuthority {
  return { name, validUntil: new Date(Math.max(...roots.map(({ validTo }) => Date.parse(validTo)))) };
}
