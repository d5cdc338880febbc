import { shapeProblem } from '../lifecycle/part-shape.ts';
import { backoff } from '../watch/backoff.ts';
import { pause } from '../watch/scope.ts';
import { errorOf, systemCode } from '../errors.ts';
import { formatEndpoint, unixPath } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { leadsBack, plainHost } from '../transport/own-addresses.ts';
import { replacingStale } from '../transport/stale-socket.ts';
import type { Observer } from '../observe.ts';
import type { KeepAlive, ListenAddress } from '../routes/route.ts';
import type { Connection, HeldSockets, Listening, ListenOptions, Transport } from '../transport/transport.ts';

/** Dependencies and settings shared by all listeners of a proxy. */
export interface ListenerOptions {
  readonly transport: Pick<Transport, 'listen'>;
  /** Read each time a listener opens. */
  readonly listen: Omit<ListenOptions, 'onPause'>;
  readonly observer: Observer;
  /** Returns the listener of the same proxy that occupies the address, if there is one. */
  rivalOf?(listener: Listener): ListenAddress | undefined;
  /** Takes ownership of an accepted connection. */
  accept(connection: Connection, listener: string): void;
}

/** One address on which the proxy accepts. */
export class Listener {
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

  /** The name and the requested address. */
  get at(): ListenAddress {
    return this.#at;
  }

  /** The bound address; absent while the listener is not bound. */
  get address(): Endpoint | undefined {
    return this.#listening?.address;
  }

  /** Binds the address, once. Rejects with the system's error. */
  async open(): Promise<void> {
    const { transport, listen, observer, accept } = this.#options;
    const { host, port } = this.#at.endpoint;
    const endpoint = { host: plainHost(host), port };
    const onPause = (paused: boolean, reason: Error): void => this.#onPause(paused, reason);
    const bind = (): Promise<Listening> =>
      transport.listen(endpoint, { ...listen, onPause }, (connection) => accept(connection, this.#at.name));
    const path = unixPath(endpoint);
    const listening = await (path === undefined ? bind() : replacingStale(path, bind));
    const problem = shapeProblem(listening, 'close');
    if (problem !== undefined) throw new TypeError(`transport: listen: ${problem}`);
    if (this.#stopper.signal.aborted) {
      await listening.close();
      return;
    }
    this.#listening = listening;
    observer.observe({ type: 'listener.opened', listener: this.#at.name, address: listening.address });
  }

  /**
   * Changes the name, and the other settings of the same address, while the listener keeps accepting. Existing
   * connections keep the former name.
   *
   * @returns reports the new name; call it after all changed names have been released, since two listeners may swap
   * theirs
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

  /** Whether a dial to `address` would reach this listener. */
  isAt(address: Endpoint): boolean {
    const bound = this.address;
    if (bound === undefined) return false;
    return leadsBack(address, bound, this.#at.advertised);
  }

  /**
   * Binds the address, and retries with back-off until it succeeds: for addresses that come from a source.
   *
   * @param free resolves when listeners that occupy the address have closed
   */
  openEventually(free: Promise<unknown>): void {
    this.#opening = free.then(() => this.#keepOpening());
  }

  /** Sets the TCP keepalive of connections accepted from now on. */
  keepAlive(keepAlive: KeepAlive): void {
    this.#listening?.keepAlive?.(keepAlive);
  }

  /** The listening sockets, for a successor to inherit; absent if the transport cannot pass them on. */
  get held(): HeldSockets | undefined {
    return this.#listening?.held;
  }

  /** Stops accepting; existing connections continue. */
  close(): Promise<void> {
    return this.#end((listening) => listening.close());
  }

  /** Like {@link close}, but a successor keeps accepting on the socket. */
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
      // Reported afterwards: a transport may need a turn of the event loop to stop accepting.
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

  /** Replaces "address in use" by the name of the listener of this proxy that uses it. */
  #explained(error: Error): Error {
    const rival = systemCode(error) === 'EADDRINUSE' ? this.#options.rivalOf?.(this) : undefined;
    if (rival === undefined) return error;
    const words = `listener ${rival.name} of this proxy listens on ${formatEndpoint(rival.endpoint)}`;
    return Object.assign(new Error(words, { cause: error }), { code: 'EADDRINUSE' });
  }

  #onPause(paused: boolean, reason: Error): void {
    const { name: listener } = this.#at;
    this.#options.observer.observe(
      paused ? { type: 'listener.paused', listener, reason } : { type: 'listener.resumed', listener },
    );
  }
}
