import { isIP } from 'node:net';
import { inspect } from 'node:util';
import type { InspectOptions } from 'node:util';
import { isHello } from './connection.ts';
import type { Accepted, Hello, KnownFact } from './connection.ts';
import { portProblem } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { ProxyError } from '../errors.ts';
import type { Fact } from './facts.ts';
import { Head } from './head.ts';
import type { Connection } from '../transport/transport.ts';

/**
 * Runs before the sniffer: reads and answers bytes that precede the hello, sets the real client address, refuses a
 * client, or terminates TLS. The filters of a listener run in order, all within the hello deadline.
 */
export interface ConnectionFilter {
  /** Name in errors and in the configuration of a listener. */
  readonly name: string;
  /**
   * Resolves with nothing or a {@link FilterResult}; the next filter then runs. Rejects with a `ProxyError` to refuse
   * the client: `REFUSED_BY_POLICY`, or a code of the protocol. If the connection ends in the meantime, pending calls
   * of `client` reject.
   *
   * @param client only valid until the promise settles
   */
  filter(client: FilterContext): Promise<FilterResult | undefined>;
}

/** A filter's decision for the whole connection. */
export type FilterResult =
  /** The hello is known, and sniffing is skipped. If several filters return one, the last counts. */
  | { readonly kind: 'hello'; readonly hello: Hello }
  /** The client closed without sending a byte, as TCP health checks do: a normal end. */
  | { readonly kind: 'disconnected' };

/** A filter's access to a client. */
export interface FilterContext {
  /** Facts known so far, including those set by earlier filters. */
  readonly connection: Accepted;
  /**
   * Resolves with all bytes received and not consumed, once there are at least `atLeast`; read-only. Only one call at a
   * time. Rejects with `DOWNSTREAM_RESET` if the client closes before; the end is normal if it never sent a byte.
   *
   * @param atLeast from 1 to 131072
   */
  peek(atLeast: number): Promise<Uint8Array>;
  /** Removes the first `bytes` bytes that {@link peek} returned: nothing after this filter sees them. */
  consume(bytes: number): void;
  /** Sends bytes to the client; see {@link Connection.write}. */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Replaces the connection by the result of `upgrade`, for example when TLS is terminated here. All peeked bytes must
   * have been consumed.
   */
  replace(upgrade: (connection: Connection) => Promise<Connection>): Promise<void>;
  /**
   * Sets the real client address, an IP address and a port. Logs, limits and views use it from now on; the address of the peer is kept as `peer`.
   */
  setRemote(remote: Endpoint): void;
  /** Sets a fact for later filters, resolvers, connectors, observers and the access log. */
  set<T>(fact: Fact<T>, value: T): void;
}

/** Larger than any header before a hello: the largest one of the PROXY protocol has 65,551 bytes. */
const MAX_PEEK_BYTES = 131_072;

/** Of a wrong result: enough to recognise it in one line of the log. */
const SHOWN: InspectOptions = { depth: 1, breakLength: Infinity, maxStringLength: 100, maxArrayLength: 10 };

/** The fields of a connection that filters change. The object stays the same, since observers use it as a key. */
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

  /** The current connection, after any replacement. */
  get downstream(): Connection {
    return this.#downstream;
  }

  /** Bytes received and not consumed: for the sniffer and the backend. */
  get rest(): Uint8Array {
    return this.#head.bytes;
  }

  /**
   * Runs `filters` in order.
   *
   * @returns the hello if a filter provides one, or `disconnected` if the client closed without sending a byte
   * @throws ProxyError; any other rejection of a filter becomes `INTERNAL` and names the filter
   */
  async run(filters: readonly ConnectionFilter[]): Promise<Hello | 'disconnected' | undefined> {
    let hello: Hello | undefined;
    try {
      for (const filter of filters) {
        const result = await this.#passed(filter);
        if (result?.kind === 'disconnected') return 'disconnected';
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
      throw new TypeError(`expected nothing, a hello or disconnected, found ${inspect(result, SHOWN)}`);
    } catch (reason) {
      // Bytes below a replaced connection are not counted here: the filter itself must return `disconnected` if the client just
      // closed.
      const isSilent = this.#head.total === 0 && !this.#isReplaced;
      if (isSilent && reason instanceof ProxyError && reason.code === 'DOWNSTREAM_RESET')
        return { kind: 'disconnected' };
      throw ProxyError.from(reason, `filter ${filter.name}`);
    }
  }

  async peek(atLeast: number): Promise<Uint8Array> {
    this.#inUse();
    if (!Number.isInteger(atLeast) || atLeast < 1 || atLeast > MAX_PEEK_BYTES)
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
        `expected all bytes to be consumed before the connection is replaced, found ${this.#head.length} left`,
      );
    this.#isReplaced = true;
    const upgraded: unknown = await upgrade(this.#downstream);
    if (!isConnection(upgraded)) throw new TypeError('expected a connection in place of the present one, found none');
    this.#downstream = upgraded;
  }

  setRemote({ host, port }: Endpoint): void {
    this.#inUse();
    if (isIP(host) === 0 || portProblem({ host, port }) !== undefined)
      throw new TypeError(`expected the IP address and port of a client, found ${host}:${port}`);
    this.#changeable.peer ??= this.#changeable.remote;
    // A copy, since counts are kept by this address until the connection closes.
    this.#changeable.remote = { host, port };
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

function isConnection(value: unknown): value is Connection {
  if (typeof value !== 'object' || value === null) return false;
  const { read, write, destroy } = value as Partial<Connection>;
  return [read, write, destroy].every((method) => typeof method === 'function');
}

function isResult(value: unknown): value is FilterResult {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return false;
  return value.kind === 'disconnected' || (value.kind === 'hello' && 'hello' in value && isHello(value.hello));
}
