import type { X509Certificate } from 'node:crypto';
import { Cell, follow, openScope } from '@meshgate/core/parts';
import type { Observer, OwnCertificate, Service, TrustedAuthority } from '@meshgate/core';
import type { Credentials, CredentialsSource } from '@meshgate/mesh';
import { identityOf, certificateState } from './identity.ts';
import type { Identity, CertificateState } from './identity.ts';

/** What an {@link IdentityStore} is made of. */
export interface IdentityStoreOptions {
  /** Where certificate, key and roots come from. */
  readonly source: CredentialsSource;
  /** Is told `source.updated` and `source.failed`, as of any source; when a certificate is taken, and when it has become too old. */
  readonly observer: Observer;
}

/** How the own certificate is doing. */
export interface CertificateStatus {
  /** Where it comes from. */
  readonly source: string;
  /** Absent until one has come. */
  readonly certificate?: OwnCertificate & { readonly state: CertificateState };
  /** Why no other comes at the moment; absent when nothing is wrong. */
  readonly error?: Error;
}

/**
 * Follows credentials. New handshakes take the newest in which nothing is wrong; connections that stand are left alone, and so is
 * what is in use when the source fails.
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

  /** What handshakes take now; `undefined` until credentials have come. */
  get current(): Identity | undefined {
    return this.#identity.value;
  }

  /** How the certificate is doing at the moment. */
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

  /** Each identity from now on, the one in use first. Ends when `signal` aborts. */
  changes(signal: AbortSignal): AsyncGenerator<Identity, void, void> {
    return this.#identity.watch(signal);
  }

  /** Does not wait for the source: listeners do, by {@link IdentityStore.changes}. */
  start(): Promise<void> {
    const { source, observer } = this.#options;
    this.#following = follow((signal) => this.#identities(signal), this.#scope.signal, {
      onValue: (identity) => {
        // No news, since these are news of routes.
        observer.observe({ type: 'source.updated', source: source.name, changed: false, asOf: new Date() });
        this.#error = undefined;
        // A source that starts again repeats what it said last: that is no other certificate.
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
    this.#scope.end(new Error('the identity store stops'));
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

  /** Tells when it should have been renewed, and when it has expired. */
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
    if (state === 'expired') return;
    const next = state === 'good' ? identity.renewalDue : identity.validUntil;
    const waitMs = Math.min(next.getTime() - now.getTime(), LONGEST_WAIT_MS);
    this.#timer = setTimeout(() => this.#age(identity), waitMs).unref();
  }

  async *#identities(signal: AbortSignal): AsyncGenerator<Identity> {
    // What is wrong with credentials is the source's failure: it is asked again, in case only half of a change was seen.
    for await (const credentials of this.#options.source.watch(signal)) yield this.#identityOf(credentials);
  }

  /** The identity in use when these are its credentials. */
  #identityOf(credentials: Credentials): Identity {
    const text = JSON.stringify(credentials);
    if (this.#accepted?.text !== text) this.#accepted = { text, identity: identityOf(credentials) };
    return this.#accepted.identity;
  }
}

// Clocks are set, and machines sleep: neither may make a warning late by more than this.
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
