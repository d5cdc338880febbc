import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { follow } from '../watch/follow.ts';
import { Listener } from './listener.ts';
import type { ListenerOptions } from './listener.ts';
import type { ListenAddress, ListenerSource } from '../routes/route.ts';
import type { Service } from '../lifecycle/service.ts';

/** A listener as an operator sees it. */
export interface ListenerStatus {
  readonly name: string;
  /** What was asked for. */
  readonly endpoint: Endpoint;
  /** What is bound; absent while it is not. */
  readonly address?: Endpoint;
}

/** What {@link Listeners} follows. */
export interface ListenersOptions extends ListenerOptions {
  /** Fixed by configuration: when one of them cannot be bound, the proxy does not start. */
  readonly addresses: readonly ListenAddress[];
  /** What these list may change at any time; an address that cannot be bound is tried again. */
  readonly sources: readonly ListenerSource[];
}

/** Every address on which the proxy accepts: opens what is new, closes what is gone, leaves the rest alone. */
export class Listeners implements Service {
  readonly name = 'listeners';
  readonly #options: ListenersOptions;
  readonly #stopper = new AbortController();
  readonly #fixed: readonly Listener[];
  /** By source, then by name and address. */
  readonly #followed = new Map<ListenerSource, Map<string, Listener>>();
  #following: Promise<unknown> = Promise.resolve();

  constructor(options: ListenersOptions) {
    this.#options = options;
    this.#fixed = options.addresses.map((at) => new Listener(at, options));
  }

  /** Each listener as an operator sees it, those of the configuration first. */
  get status(): readonly ListenerStatus[] {
    return this.#all().map(({ at: { name, endpoint }, address }) => ({
      name,
      endpoint,
      ...(address === undefined ? {} : { address }),
    }));
  }

  /** All or none of the fixed ones. Does not wait for the sources. */
  async start(): Promise<void> {
    const opened = await Promise.allSettled(this.#fixed.map((listener) => listener.open()));
    const failed = opened.find((result) => result.status === 'rejected');
    if (failed !== undefined) {
      await this.#closeAll();
      throw failed.reason;
    }
    this.#following = Promise.all(this.#options.sources.map((source) => this.#follow(source)));
  }

  /** Stops accepting, everywhere. Accepted connections live on. */
  async stop(): Promise<void> {
    this.#stopper.abort(new Error('the listeners stop'));
    await this.#following;
    await this.#closeAll();
  }

  async #follow(source: ListenerSource): Promise<void> {
    const { observer } = this.#options;
    await follow((signal) => source.watch(signal), this.#stopper.signal, {
      onValue: (addresses) => this.#replace(source, addresses),
      onFailure: (error, retryInMs) =>
        observer.observe({ type: 'source.failed', source: source.name, error, retryInMs }),
    });
  }

  #replace(source: ListenerSource, addresses: readonly ListenAddress[]): void {
    const before = this.#followed.get(source) ?? new Map<string, Listener>();
    const now = new Map<string, Listener>();
    for (const at of addresses) {
      // Configuration goes first: an address that it has bound is served already, whatever the source calls it.
      if (this.#fixed.some((listener) => formatEndpoint(listener.at.endpoint) === formatEndpoint(at.endpoint)))
        continue;
      const key = `${at.name} ${formatEndpoint(at.endpoint)}`;
      now.set(key, before.get(key) ?? this.#opened(at));
    }
    this.#followed.set(source, now);
    for (const [key, listener] of before) if (!now.has(key)) void listener.close();
  }

  #opened(at: ListenAddress): Listener {
    const listener = new Listener(at, this.#options);
    listener.openEventually();
    return listener;
  }

  #all(): readonly Listener[] {
    return [
      ...this.#fixed,
      ...Array.from(this.#followed.values()).flatMap((listeners) => Array.from(listeners.values())),
    ];
  }

  async #closeAll(): Promise<void> {
    await Promise.all(this.#all().map((listener) => listener.close()));
  }
}
