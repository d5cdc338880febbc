import type { X509Certificate } from 'node:crypto';
import { Cell, defined, follow, openScope } from '@meshgate/core/parts';
import type { Observer, OwnCertificate, Service, TrustedAuthority } from '@meshgate/core';
import type { Credentials, CredentialsSource } from '@meshgate/mesh';
import { identityOf, certificateState } from './identity.ts';
import type { Identity, CertificateState } from './identity.ts';

/** Options of an {@link IdentityStore}. */
export interface IdentityStoreOptions {
  /** Source of certificate, private key and roots. */
  readonly source: CredentialsSource;
  /**
   * Receives `source.updated` and `source.failed`, as for any source; `certificate.installed`, and `certificate.aged`
   * when renewal is overdue or the certificate has expired.
   */
  readonly observer: Observer;
}

/** State of the proxy's leaf certificate. */
export interface CertificateStatus {
  /** Name of its source. */
  readonly source: string;
  /** Absent until the first certificate is received. */
  readonly certificate?: OwnCertificate & { readonly state: CertificateState };
  /** Why no newer certificate is available; absent when the source works. */
  readonly error?: Error;
}

/**
 * Follows credentials. New handshakes use the newest valid credentials; established connections are not affected. When
 * the source fails, the last credentials remain in use.
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

  /** The identity for new handshakes; `undefined` until credentials are received. */
  get current(): Identity | undefined {
    return this.#identity.value;
  }

  /** The current state of the certificate. */
  get status(): CertificateStatus {
    const { current } = this;
    return {
      source: this.#options.source.name,
      ...defined({
        certificate: current && { ...certificateOf(current), state: certificateState(current, new Date()) },
        error: this.#error,
      }),
    };
  }

  /** Yields every identity, starting with the current one. Ends when `signal` aborts. */
  changes(signal: AbortSignal): AsyncGenerator<Identity, void, void> {
    return this.#identity.watch(signal);
  }

  /** Does not wait for the source: the listeners wait, by {@link IdentityStore.changes}. */
  start(): Promise<void> {
    const { source, observer } = this.#options;
    this.#following = follow((signal) => this.#identities(signal), this.#scope.signal, {
      onValue: (identity) => {
        // Not a change: the event's `changed` refers to routes.
        observer.observe({ type: 'source.updated', source: source.name, changed: false, asOf: new Date() });
        this.#error = undefined;
        // A restarted source repeats its last credentials, which are not a new certificate.
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

  /** Reports when renewal is overdue, and when the certificate has expired. */
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
    // An expired certificate is checked again, too: the clock may have been wrong, and be set back.
    const waitMs = state === 'expired' ? LONGEST_WAIT_MS : Math.min(next.getTime() - now.getTime(), LONGEST_WAIT_MS);
    this.#timer = setTimeout(() => this.#age(identity), waitMs).unref();
  }

  async *#identities(signal: AbortSignal): AsyncGenerator<Identity> {
    // Invalid credentials count as a failure of the source, so that it is retried: only half of a change may have been
    // read.
    for await (const credentials of this.#options.source.watch(signal)) yield this.#identityOf(credentials);
  }

  /** Returns the same identity for the same credentials. */
  #identityOf(credentials: Credentials): Identity {
    const text = JSON.stringify(credentials);
    if (this.#accepted?.text !== text) this.#accepted = { text, identity: identityOf(credentials) };
    return this.#accepted.identity;
  }
}

// Upper bound on a timer: the longest delay of a warning after a clock change or a suspension.
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
