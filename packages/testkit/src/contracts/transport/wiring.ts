import { ProxyError } from '@meshgate/core';
import type {
  Connection,
  Dial,
  DialOptions,
  Endpoint,
  Listening,
  ListenOptions,
  Splice,
  SpliceOptions,
  Transport,
} from '@meshgate/core';
import { LOOPBACK } from '../../bind.ts';
import { rawClient } from '../../clients.ts';
import { peerListener } from '../../listener.ts';
import type { Peer, PeerOptions } from '../../peer.ts';

/** A listener of the transport, and its accepted connections. */
export interface WiredListener {
  readonly listening: Listening;
  readonly address: Endpoint;
  /** Resolves with the next connection, in order of arrival. */
  accept(): Promise<Connection>;
}

/** A connection of the transport, and the real socket at its other end. */
export interface Wired {
  readonly connection: Connection;
  readonly peer: Peer;
}

/** A splice of the transport, and the real sockets at its two ends. */
export interface Spliced {
  readonly client: Peer;
  readonly backend: Peer;
  readonly splice: Splice;
}

/** Settings of a {@link Spliced}. */
export interface SplicedOptions extends Partial<SpliceOptions>, PeerOptions {}

/** Connects a transport under test with Node sockets, and closes everything at the end of a test. */
export class Wiring implements AsyncDisposable {
  readonly transport: Transport;
  readonly #disposals: (() => unknown)[] = [];

  constructor(transport: Transport) {
    this.transport = transport;
  }

  async listen(at: Endpoint = LOOPBACK, more: Partial<ListenOptions> = {}): Promise<WiredListener> {
    const arrived: Connection[] = [];
    const waiting: ((connection: Connection) => void)[] = [];
    const listening = await this.transport.listen(at, { ...LISTEN_OPTIONS, ...more }, (connection) => {
      this.#disposals.push(() => connection.destroy());
      const claim = waiting.shift();
      if (claim === undefined) arrived.push(connection);
      else claim(connection);
    });
    this.#disposals.push(() => listening.close());
    return { listening, address: listening.address, accept };

    function accept(): Promise<Connection> {
      const next = arrived.shift();
      return next === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(next);
    }
  }

  /** Returns a connection that the transport accepted from a client. */
  async accepted(options: PeerOptions = {}): Promise<Wired> {
    const { address, accept } = await this.listen();
    return this.acceptedFrom(address, accept, options);
  }

  /** Like {@link accepted}, with an existing listener. */
  async acceptedFrom(address: Endpoint, accept: () => Promise<Connection>, options: PeerOptions = {}): Promise<Wired> {
    const accepting = accept();
    const peer = this.owned(await rawClient(address, options));
    return { connection: await accepting, peer };
  }

  /** Returns a connection that the transport dialled to a backend. */
  async dialled(options: PeerOptions & { readonly at?: Endpoint } = {}): Promise<Wired> {
    const listener = this.owned(await peerListener(options));
    const connection = await this.dial(listener.address);
    return { connection, peer: await listener.accept() };
  }

  async dial(to: Endpoint, options: Partial<DialOptions> = {}): Promise<Connection> {
    const connection = await this.dialling(to, options).done;
    this.#disposals.push(() => connection.destroy());
    return connection;
  }

  /** Dials without waiting for the connection. */
  dialling(to: Endpoint, options: Partial<DialOptions> = {}): Dial {
    return this.transport.dial(to, { ...DIAL_OPTIONS, ...options });
  }

  /** Returns a client and a backend with a splice between them. */
  async spliced({ halfOpen = true, ...options }: SplicedOptions = {}): Promise<Spliced> {
    const down = await this.accepted({ halfOpen });
    const up = await this.dialled({ halfOpen });
    return { client: down.peer, backend: up.peer, splice: this.splice(down.connection, up.connection, options) };
  }

  splice(down: Connection, up: Connection, options: Partial<SpliceOptions> = {}): Splice {
    const splice = this.transport.splice(down, up, { ...SPLICE_OPTIONS, ...options });
    this.#disposals.push(() => {
      splice.cut(new ProxyError('INTERNAL', 'the test is over'));
      return splice.done;
    });
    return splice;
  }

  /** Disposes of `resource` at the end of the test. */
  owned<Resource extends AsyncDisposable>(resource: Resource): Resource {
    this.#disposals.push(() => resource[Symbol.asyncDispose]());
    return resource;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const dispose of this.#disposals.toReversed()) await dispose();
  }
}

const KEEP_ALIVE = { idleMs: 60_000 };

const LISTEN_OPTIONS: ListenOptions = { backlog: 1_024, keepAlive: KEEP_ALIVE, onPause: () => undefined };

// Loopback answers in microseconds; a machine under load may need a little longer.
const DIAL_OPTIONS: DialOptions = { keepAlive: KEEP_ALIVE, timeoutMs: 10_000 };

// Longer than any test: idle tests set their own.
const SPLICE_OPTIONS: SpliceOptions = { head: new Uint8Array(0), idleTimeoutMs: 600_000 };
