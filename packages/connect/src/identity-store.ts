import { follow } from '@meshgate/core';
import type { Observer, Service } from '@meshgate/core';
import type { CredentialsSource } from '@meshgate/mesh';
import { identityOf } from './identity.ts';
import type { Identity } from './identity.ts';
import { Latest } from './latest.ts';

/** What an {@link IdentityStore} is made of. */
export interface IdentityStoreOptions {
  readonly source: CredentialsSource;
  /** Is told `source.spoke` and `source.failed`, as of any source. */
  readonly observer: Observer;
}

/**
 * Follows credentials. New handshakes take the newest in which nothing is wrong; connections that stand are left alone, and so is
 * what is in use when the source fails.
 */
export class IdentityStore implements Service {
  readonly name = 'identity';
  readonly #options: IdentityStoreOptions;
  readonly #latest = new Latest<Identity>();
  readonly #stopper = new AbortController();
  #following: Promise<void> = Promise.resolve();

  constructor(options: IdentityStoreOptions) {
    this.#options = options;
  }

  /** What handshakes take now; `undefined` until credentials have come. */
  get current(): Identity | undefined {
    return this.#latest.value;
  }

  /** Each identity from now on, the one in use first. Ends when `signal` aborts. */
  changes(signal: AbortSignal): AsyncGenerator<Identity, void, void> {
    return this.#latest.watch(signal);
  }

  /** Does not wait for the source: listeners do, by {@link IdentityStore.changes}. */
  start(): Promise<void> {
    const { source, observer } = this.#options;
    this.#following = follow((signal) => this.#accepted(signal), this.#stopper.signal, {
      onValue: (identity) => {
        // No news, since these are news of routes.
        observer.observe({ type: 'source.spoke', source: source.name, news: false, asOf: new Date() });
        this.#latest.set(identity);
      },
      onFailure: (error, retryInMs) =>
        observer.observe({ type: 'source.failed', source: source.name, error, retryInMs }),
    });
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopper.abort(new Error('the identity store stops'));
    await this.#following;
  }

  async *#accepted(signal: AbortSignal): AsyncGenerator<Identity> {
    // What is wrong with credentials is the source's failure: it is asked again, in case only half of a change was seen.
    for await (const credentials of this.#options.source.watch(signal)) yield identityOf(credentials);
  }
}
