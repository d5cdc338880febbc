import { backoff, pause } from '../watch/backoff.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Observer } from '../observe.ts';
import type { ListenAddress } from '../routes/route.ts';
import type { Connection, Listening, ListenOptions, Transport } from '../transport/transport.ts';

/** What every listener of a proxy has in common. */
export interface ListenerOptions {
  readonly transport: Pick<Transport, 'listen'>;
  readonly listen: Omit<ListenOptions, 'onPause'>;
  readonly observer: Observer;
  /** Takes over what was accepted. */
  accept(connection: Connection, listener: string): void;
}

/** One address on which the proxy accepts. */
export class Listener {
  /** Its name, and what it was asked to bind. */
  readonly at: ListenAddress;
  readonly #options: ListenerOptions;
  readonly #stopper = new AbortController();
  #listening: Listening | undefined;
  #opening: Promise<void> = Promise.resolve();

  constructor(at: ListenAddress, options: ListenerOptions) {
    this.at = at;
    this.#options = options;
  }

  /** The address in use; absent while it is not bound. */
  get address(): Endpoint | undefined {
    return this.#listening?.address;
  }

  /** Binds, once. Rejects with the system's error. */
  async open(): Promise<void> {
    const { transport, listen, observer, accept } = this.#options;
    const { name, endpoint } = this.at;
    const onPause = (paused: boolean, reason: Error): void => this.#onPause(paused, reason);
    const listening = await transport.listen(endpoint, { ...listen, onPause }, (connection) =>
      accept(connection, name),
    );
    if (this.#stopper.signal.aborted) {
      await listening.close();
      return;
    }
    this.#listening = listening;
    observer.observe({ type: 'listener.opened', listener: name, address: listening.address });
  }

  /** Binds, and tries again for as long as it takes: for addresses that are not ours to correct. */
  openEventually(): void {
    this.#opening = this.#keepOpening();
  }

  /** Stops accepting; accepted connections live on. */
  async close(): Promise<void> {
    this.#stopper.abort();
    await this.#opening;
    if (this.#listening === undefined) return;
    await this.#listening.close();
    this.#listening = undefined;
    this.#options.observer.observe({ type: 'listener.closed', listener: this.at.name });
  }

  async #keepOpening(): Promise<void> {
    const { signal } = this.#stopper;
    for (const retryInMs of backoff({ firstMs: 250, maxMs: 10_000 })) {
      try {
        await this.open();
        return;
      } catch (reason) {
        const error = reason instanceof Error ? reason : new Error(String(reason));
        const { name: listener, endpoint: address } = this.at;
        this.#options.observer.observe({ type: 'listener.failed', listener, address, error, retryInMs });
        await pause(retryInMs, signal);
      }
      if (signal.aborted) return;
    }
  }

  #onPause(paused: boolean, reason: Error): void {
    const { name: listener } = this.at;
    this.#options.observer.observe(
      paused ? { type: 'listener.paused', listener, reason } : { type: 'listener.resumed', listener },
    );
  }
}
