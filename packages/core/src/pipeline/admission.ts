import type { Access } from './access.ts';
import { ClientCounts } from './client-counts.ts';
import type { ClientPrefix } from './client-key.ts';
import { ClientRates } from './client-rates.ts';
import { ProxyError } from '../errors.ts';
import type { Limits } from './limits.ts';
import { formatRate } from './token-bucket.ts';

/** What admission goes by. */
export type AdmissionLimits = Pick<Limits, 'connections' | 'pendingHellos' | 'perClient'>;

// A peer's mesh gateway, a NAT or a load balancer is one address with very many connections behind it, and must not be refused; half
// of the places are what keeps any of them from taking all.
const CLIENT_SHARE = 0.5;
const MIN_PER_CLIENT = 256;
const DEFAULT_PREFIX: ClientPrefix = { v4: 32, v6: 64 };

/** What admission goes by beside its limits. */
export interface AdmissionOptions {
  /** Who may connect to a listener; all when it has none. */
  accessOf?(listener: string): Access | undefined;
}

/**
 * Counts connections. Those whose hello is incomplete have a smaller pool of their own: when it overflows, the oldest of them is to
 * go, so that slow clients can neither keep others out nor touch established connections. No client address may have all places.
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

  /** From now on these hold. Whoever is here stays, also beyond them; `perClient.prefix` stays as it was. */
  use(limits: AdmissionLimits, { accessOf }: AdmissionOptions = {}): void {
    this.#accessOf = accessOf;
    this.#limits = limits;
    this.#perClient = perClientOf(limits);
    const { rate } = limits.perClient ?? {};
    if (rate === undefined || this.#rates === undefined) this.#rates = this.#ratesOf(limits);
    else this.#rates.use(rate, performance.now());
  }

  /** Connections whose ClientHello is not complete yet. */
  get pendingHellos(): number {
    return this.#pendingHellos;
  }

  /** Whether more hellos are pending than may be: the oldest of them is to be closed. */
  get hasTooManyPending(): boolean {
    return this.#pendingHellos > this.#limits.pendingHellos;
  }

  /** Takes a place in both pools, or says why there is none. Whoever was admitted owes `released`, `helloComplete` before if it is. */
  admit(): ProxyError | undefined {
    const { connections } = this.#limits;
    if (this.#connections >= connections) return full(`limits.connections: all ${connections} connections are in use`);
    this.#connections += 1;
    this.#pendingHellos += 1;
    return undefined;
  }

  /**
   * Counts one more connection of a client, or says why it may not connect. Whoever was counted owes `clientReleased`. Unix sockets have
   * no address, and no limit.
   *
   * @param host its address
   * @param listener to which it has connected; absent: one without access rules
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

  /** How many connections a client has, those before their filters have run left out. */
  connectionsOf(host: string): number {
    return isAddress(host) ? this.#clients.of(host) : 0;
  }

  /** A connection of a client that was admitted is closed. */
  clientReleased(host: string): void {
    if (isAddress(host)) this.#clients.remove(host);
  }

  /** The hello is complete: its place among the pending is free again. */
  helloComplete(): void {
    this.#pendingHellos -= 1;
  }

  /** The connection is closed; `hasHello` says whether its hello was complete. */
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
