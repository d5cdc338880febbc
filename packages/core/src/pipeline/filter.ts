import { isHello } from './connection.ts';
import type { Accepted, Hello, KnownFact } from './connection.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { ProxyError } from '../errors.ts';
import type { Fact } from './facts.ts';
import { Head } from './head.ts';
import type { Connection } from '../transport/transport.ts';

/**
 * Stands before the sniffer: reads and answers what comes before the hello, learns who the client really is, refuses it, or ends
 * TLS. The filters of a listener run in their order, all within the deadline for the hello.
 */
export interface ConnectionFilter {
  /** Named in errors, and in the configuration of a listener. */
  readonly name: string;
  /**
   * Resolves when the next filter may go on: with nothing, or with a {@link FilterResult}. Rejects with a `ProxyError` to refuse the
   * client: `REFUSED_BY_POLICY`, or a code of the protocol. When the connection ends meanwhile, what the filter waits for rejects.
   *
   * @param client of use until the promise settles, and not afterwards
   */
  filter(client: FilterContext): Promise<FilterResult | undefined>;
}

/** What a filter has decided for the whole connection. */
export type FilterResult =
  /** The hello is known: nothing is sniffed. Of several filters that say so, the last counts. */
  | { readonly kind: 'hello'; readonly hello: Hello }
  /** The client left without a word, as health checks do: the connection has ended well. */
  | { readonly kind: 'left' };

/** A client as a filter sees it, and what the filter may do with it. */
export interface FilterContext {
  /** What is known so far; the facts of earlier filters included. */
  readonly connection: Accepted;
  /**
   * Everything received and not consumed, once that is `atLeast` bytes; not to be changed. At most one call may be under way.
   * Rejects with `DOWNSTREAM_RESET` when the client closes before; a client that never sent a byte has then ended well.
   *
   * @param atLeast from 1 to 131072
   */
  peek(atLeast: number): Promise<Uint8Array>;
  /** Takes away the first `bytes` of what {@link peek} gave: neither later filters, nor the sniffer, nor the backend see them. */
  consume(bytes: number): void;
  /** Answers the client; see {@link Connection.write}. */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Goes on with another connection: what `upgrade` makes of the present one, for example TLS that is ended here. Everything that
   * was peeked must have been consumed.
   */
  replace(upgrade: (connection: Connection) => Promise<Connection>): Promise<void>;
  /** Says who the client really is. Counts from now on in logs, limits and views; the address accepted is kept as `peer`. */
  setRemote(remote: Endpoint): void;
  /** Tells later filters, resolvers, connectors, observers and the access log what was learned. */
  set<T>(fact: Fact<T>, value: T): void;
}

/** Larger than any header that comes before a hello: the largest of the PROXY protocol has 65,551 bytes. */
const MAX_PEEK_BYTES = 131_072;

/** The part of a connection that filters change: the same object all along, since observers know it by its identity. */
interface Changeable {
  remote: Endpoint;
  peer?: Endpoint;
  facts?: ReadonlyMap<string, KnownFact>;
}

/** A client while its filters run, one after the other. */
export class FilteredClient implements FilterContext {
  readonly connection: Accepted;
  readonly #changeable: Changeable;
  #downstream: Connection;
  readonly #head = new Head();
  #reading = false;
  #isReplaced = false;
  #over = false;

  constructor(downstream: Connection, connection: Accepted) {
    this.#downstream = downstream;
    this.connection = connection;
    this.#changeable = connection;
  }

  /** The connection that goes on. */
  get downstream(): Connection {
    return this.#downstream;
  }

  /** What was received and is left for the sniffer and the backend. */
  get rest(): Uint8Array {
    return this.#head.bytes;
  }

  /**
   * Runs `filters` in order.
   *
   * @returns the hello when a filter knows it, `left` when the client left without a word
   * @throws ProxyError; anything else that a filter rejects with becomes `INTERNAL` and names the filter
   */
  async run(filters: readonly ConnectionFilter[]): Promise<Hello | 'left' | undefined> {
    let hello: Hello | undefined;
    try {
      for (const filter of filters) {
        const result = await this.#passed(filter);
        if (result?.kind === 'left') return 'left';
        hello = result?.hello ?? hello;
      }
      return hello;
    } finally {
      this.#over = true;
    }
  }

  async #passed(filter: ConnectionFilter): Promise<FilterResult | undefined> {
    try {
      const result: unknown = await filter.filter(this);
      if (result === undefined || result === null) return undefined;
      if (isResult(result)) return result;
      throw new TypeError(`expected nothing, a hello or left, found ${JSON.stringify(result)}`);
    } catch (reason) {
      // What goes on below another connection is not seen from here: its filter says by itself whether the client just left.
      const isSilent = this.#head.total === 0 && !this.#isReplaced;
      if (isSilent && reason instanceof ProxyError && reason.code === 'DOWNSTREAM_RESET') return { kind: 'left' };
      throw ProxyError.from(reason, `filter ${filter.name}`);
    }
  }

  async peek(atLeast: number): Promise<Uint8Array> {
    this.#inUse();
    if (!(atLeast >= 1 && atLeast <= MAX_PEEK_BYTES))
      throw new RangeError(`expected to peek at 1 to ${MAX_PEEK_BYTES} bytes, found ${atLeast}`);
    if (this.#reading) throw new Error('expected one peek at a time, found another under way');
    this.#reading = true;
    try {
      while (this.#head.length < atLeast) {
        const bytes = await this.#downstream.read();
        if (bytes === undefined) throw this.#closed(atLeast);
        this.#head.append(bytes);
      }
    } finally {
      this.#reading = false;
    }
    return this.#head.bytes;
  }

  consume(bytes: number): void {
    this.#inUse();
    this.#head.consume(bytes);
  }

  write(bytes: Uint8Array): Promise<void> {
    this.#inUse();
    return this.#downstream.write(bytes);
  }

  async replace(upgrade: (connection: Connection) => Promise<Connection>): Promise<void> {
    this.#inUse();
    if (this.#head.length > 0)
      throw new Error(
        `expected all bytes to be consumed before another connection goes on, found ${this.#head.length} left`,
      );
    this.#isReplaced = true;
    this.#downstream = await upgrade(this.#downstream);
  }

  setRemote(remote: Endpoint): void {
    this.#inUse();
    this.#changeable.peer ??= this.#changeable.remote;
    this.#changeable.remote = remote;
  }

  set<T>({ name, show }: Fact<T>, value: T): void {
    this.#inUse();
    const known: KnownFact = { value, ...(show === undefined ? {} : { shown: show(value) }) };
    this.#changeable.facts = new Map(this.#changeable.facts).set(name, known);
  }

  #closed(expected: number): ProxyError {
    const found = this.#head.length;
    return new ProxyError('DOWNSTREAM_RESET', `the client closed: expected ${expected} bytes or more, found ${found}`);
  }

  #inUse(): void {
    if (this.#over) throw new Error('expected a filter to leave the client alone once it has settled');
  }
}

function isResult(value: unknown): value is FilterResult {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return false;
  return value.kind === 'left' || (value.kind === 'hello' && 'hello' in value && isHello(value.hello));
}
