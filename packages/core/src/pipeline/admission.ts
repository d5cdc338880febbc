import type { Access } from './access.ts';
import { ClientCounts } from './client-counts.ts';
import type { ClientPrefix } from './client-key.ts';
import { ClientRates } from './client-rates.ts';
import { ProxyError } from '../errors.ts';
import type { Limits } from './limits.ts';
import { formatRate } from '../token-bucket.ts';

/** The limits that admission enforces. */
export type AdmissionLimits = Pick<Limits, 'connections' | 'pendingHellos' | 'perClient'>;

// A peer's mesh gateway, a NAT or a load balancer is one address with very many connections behind it, and must not be
// refused; half of the limit keeps any of them from using all of it.
const CLIENT_SHARE = 0.5;
const MIN_PER_CLIENT = 256;
const DEFAULT_PREFIX: ClientPrefix = { v4: 32, v6: 64 };

/** Further rules of admission. */
export interface AdmissionOptions {
  /** Returns the access rules of a listener; all clients may connect without them. */
  accessOf?(listener: string): Access | undefined;
}

/**
 * Counts connections and enforces the limits. Connections with an incomplete hello have a smaller pool of their own: if
 * it overflows, the oldest is closed, so that slow clients neither keep others out nor affect established connections.
 * No client address can use all connections.
 */
export class Admission {
  #limits: AdmissionLimits;
  #perClient: number;
  readonly #clients: ClientCounts;
  readonly #prefix: ClientPrefix;
  #rates: ClientRates | undefined;
  #accessOf: AdmissionOptions['accessOf'];
  #connections = 0;
  #pendingHellos = 0;

  constructor(limits: AdmissionLimits, { accessOf }: AdmissionOptions = {}) {
    this.#limits = limits;
    this.#perClient = perClientOf(limits);
    this.#prefix = limits.perClient?.prefix ?? DEFAULT_PREFIX;
    this.#clients = new ClientCounts(this.#prefix);
    this.#rates = this.#ratesOf(limits);
    this.#accessOf = accessOf;
  }

  /**
   * Replaces the limits and rules, except `perClient.prefix`. Existing connections stay, even beyond the new limits.
   */
  use(limits: AdmissionLimits, { accessOf }: AdmissionOptions = {}): void {
    this.#accessOf = accessOf;
    this.#limits = limits;
    this.#perClient = perClientOf(limits);
    const { rate } = limits.perClient ?? {};
    if (rate === undefined || this.#rates === undefined) this.#rates = this.#ratesOf(limits);
    else this.#rates.use(rate, performance.now());
  }

  /** Number of connections with an incomplete hello. */
  get pendingHellos(): number {
    return this.#pendingHellos;
  }

  /** Whether the limit of pending hellos is exceeded: the caller closes the oldest. */
  get hasTooManyPending(): boolean {
    return this.#pendingHellos > this.#limits.pendingHellos;
  }

  /**
   * Counts a connection in both pools, or returns the reason for refusing it. After an admission, call `helloComplete`
   * when the hello is complete, and `released` at the end.
   */
  admit(): ProxyError | undefined {
    const { connections } = this.#limits;
    if (this.#connections >= connections) return full(`limits.connections: all ${connections} connections are in use`);
    this.#connections += 1;
    this.#pendingHellos += 1;
    return undefined;
  }

  /**
   * Counts a connection of a client, or returns the reason for refusing it. After an admission, call `clientReleased`
   * at the end. Clients of unix sockets have no address and no limit.
   *
   * @param host address of the client
   * @param listener name of the listener; when absent, no access rules apply
   */
  admitClient(host: string, listener = ''): ProxyError | undefined {
    const denied = this.#accessOf?.(listener)?.refusal(host);
    if (denied !== undefined) return denied;
    if (!isAddress(host)) return undefined;
    const refusal = this.#overLimit(host);
    if (refusal !== undefined) this.#clients.remove(host);
    return refusal;
  }

  #ratesOf({ perClient }: AdmissionLimits): ClientRates | undefined {
    return perClient?.rate === undefined ? undefined : new ClientRates(perClient.rate, this.#prefix);
  }

  #overLimit(host: string): ProxyError | undefined {
    if (this.#clients.add(host) > this.#perClient)
      return full(`limits.perClient.connections: ${host} has ${this.#perClient} connections`);
    const { rate } = this.#limits.perClient ?? {};
    if (rate === undefined || this.#rates?.take(host, performance.now()) !== false) return undefined;
    return full(`limits.perClient.rate: ${host} has opened more than ${formatRate(rate)}`);
  }

  /** Number of connections of a client, without those whose filters are still running. */
  connectionsOf(host: string): number {
    return isAddress(host) ? this.#clients.of(host) : 0;
  }

  /** Uncounts a closed connection of an admitted client. */
  clientReleased(host: string): void {
    if (isAddress(host)) this.#clients.remove(host);
  }

  /** Removes a connection from the pool of pending hellos. */
  helloComplete(): void {
    this.#pendingHellos -= 1;
  }

  /** Uncounts a closed connection; `hasHello`: its hello was complete. */
  released(hasHello: boolean): void {
    this.#connections -= 1;
    if (!hasHello) this.#pendingHellos -= 1;
  }
}

function perClientOf({ connections, perClient }: AdmissionLimits): number {
  return perClient?.connections ?? Math.max(MIN_PER_CLIENT, Math.ceil(connections * CLIENT_SHARE));
}

function isAddress(host: string): boolean {
  return !host.startsWith('unix:');
}

function full(message: string): ProxyError {
  return new ProxyError('LIMIT_REACHED', message);
}
