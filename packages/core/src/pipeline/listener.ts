import { backoff } from '../watch/backoff.ts';
import { pause } from '../watch/scope.ts';
import { errorOf } from '../errors.ts';
import { formatEndpoint, unixPath } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { leadsBack, plainHost } from '../transport/own-addresses.ts';
import { replacingStale } from '../transport/stale-socket.ts';
import type { Observer } from '../observe.ts';
import type { KeepAlive, ListenAddress } from '../routes/route.ts';
import type { Connection, HeldSockets, Listening, ListenOptions, Transport } from '../transport/transport.ts';

/** What every listener of a proxy has in common. */
export interface ListenerOptions {
  readonly transport: Pick<Transport, 'listen'>;
  /** Read at each opening. */
  readonly listen: Omit<ListenOptions, 'onPause'>;
  readonly observer: Observer;
  /** The listener of the same proxy that keeps another from its address; absent when there is none. */
  rivalOf?(listener: Listener): ListenAddress | undefined;
  /** Takes over what was accepted. */
  accept(connection: Connection, listener: string): void;
}

/** @throws RangeError for a port that is none: a source may be plain JavaScript */
function listenable({ host, port }: Endpoint): Endpoint {
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new RangeError(`expected a port from 0 to 65535 to listen on, found ${port}`);
  return { host: plainHost(host), port };
}

/** One address on which the proxy accepts. */
export class Listener {
  /** Its name, and what it was asked to bind. */
  readonly #options: ListenerOptions;
  readonly #stopper = new AbortController();
  #listening: Listening | undefined;
  #opening: Promise<void> = Promise.resolve();
  #ending: Promise<void> = Promise.resolve();

  #at: ListenAddress;

  constructor(at: ListenAddress, options: ListenerOptions) {
    this.#at = at;
    this.#options = options;
  }

  /** Its name, and the address that was asked for. */
  get at(): ListenAddress {
    return this.#at;
  }

  /** The address in use; absent while it is not bound. */
  get address(): Endpoint | undefined {
    return this.#listening?.address;
  }

  /** Binds, once. Rejects with the system's error. */
  async open(): Promise<void> {
    const { transport, listen, observer, accept } = this.#options;
    const endpoint = listenable(this.#at.endpoint);
    const onPause = (paused: boolean, reason: Error): void => this.#onPause(paused, reason);
    const bind = (): Promise<Listening> =>
      transport.listen(endpoint, { ...listen, onPause }, (connection) => accept(connection, this.#at.name));
    const path = unixPath(endpoint);
    const listening = await (path === undefined ? bind() : replacingStale(path, bind));
    if (this.#stopper.signal.aborted) {
      await listening.close();
      return;
    }
    this.#listening = listening;
    observer.observe({ type: 'listener.opened', listener: this.#at.name, address: listening.address });
  }

  /**
   * Goes on as `at`, of the same address, without a moment in which it does not accept. Connections keep the name that they came by.
   *
   * @returns reports it under its new name: to be called when all names that change have been given up, since two may be swapped
   */
  adopt(at: ListenAddress): () => void {
    const { observer } = this.#options;
    const { name } = this.#at;
    const { address } = this;
    this.#at = at;
    if (address === undefined || at.name === name) return () => undefined;
    observer.observe({ type: 'listener.closed', listener: name });
    return () => observer.observe({ type: 'listener.opened', listener: at.name, address });
  }

  /** Whether a dial to `address` would end here. */
  isAt(address: Endpoint): boolean {
    const bound = this.address;
    if (bound === undefined) return false;
    return leadsBack(address, bound, this.#at.advertised);
  }

  /**
   * Binds, and tries again for as long as it takes: for addresses that are not ours to correct.
   *
   * @param free resolves when listeners that stand in the way have closed
   */
  openEventually(free: Promise<unknown>): void {
    this.#opening = free.then(() => this.#keepOpening());
  }

  /** Connections that it accepts from now on have this TCP keepalive. */
  keepAlive(keepAlive: KeepAlive): void {
    this.#listening?.keepAlive?.(keepAlive);
  }

  /** Its sockets, for a successor to inherit; absent where they cannot be given away. */
  get held(): HeldSockets | undefined {
    return this.#listening?.held;
  }

  /** Stops accepting; accepted connections live on. */
  close(): Promise<void> {
    return this.#end((listening) => listening.close());
  }

  /** {@link close}, when a successor goes on with the socket. */
  release(): Promise<void> {
    return this.#end((listening) => listening.held?.release() ?? listening.close());
  }

  async #end(how: (listening: Listening) => Promise<void>): Promise<void> {
    this.#stopper.abort();
    if (this.#listening === undefined) await this.#opening;
    const listening = this.#listening;
    if (listening !== undefined) {
      this.#listening = undefined;
      const { name } = this.#at;
      // Not before: a transport may take a turn to stop accepting.
      this.#ending = how(listening).then(() =>
        this.#options.observer.observe({ type: 'listener.closed', listener: name }),
      );
    }
    await this.#ending;
  }

  async #keepOpening(): Promise<void> {
    const { signal } = this.#stopper;
    for (const retryInMs of backoff({ firstMs: 250, maxMs: 10_000 })) {
      try {
        await this.open();
        return;
      } catch (reason) {
        const error = this.#explained(errorOf(reason));
        const { name: listener, endpoint: address } = this.#at;
        this.#options.observer.observe({ type: 'listener.failed', listener, address, error, retryInMs });
        await pause(retryInMs, signal);
      }
      if (signal.aborted) return;
    }
  }

  /** An address that another listener of the proxy takes is in use by no other process. */
  #explained(error: Error): Error {
    const rival = 'code' in error && error.code === 'EADDRINUSE' ? this.#options.rivalOf?.(this) : undefined;
    if (rival === undefined) return error;
    const words = `listener ${rival.name} of this proxy takes ${formatEndpoint(rival.endpoint)}`;
    return Object.assign(new Error(words, { cause: error }), { code: 'EADDRINUSE' });
  }

  #onPause(paused: boolean, reason: Error): void {
    const { name: listener } = this.#at;
    this.#options.observer.observe(
      paused ? { type: 'listener.paused', listener, reason } : { type: 'listener.resumed', listener },
    );
  }
}
