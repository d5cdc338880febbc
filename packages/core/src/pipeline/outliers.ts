import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Observer } from '../observe.ts';
import type { Service } from '../lifecycle/service.ts';

/** When an address is ejected, and for how long. */
export interface OutlierOptions {
  /** Consecutive failures that eject an address. */
  readonly consecutiveFailures: number;
  /** The first ejection lasts this long, in milliseconds, the n-th in a row n times as long. */
  readonly baseEjectionMs: number;
  /** No ejection lasts longer, in milliseconds. */
  readonly maxEjectionMs: number;
  /** Ejections last whole multiples of it, in milliseconds; as long as the others say when absent. */
  readonly stepMs?: number;
  /** In what part of the cases an address that has failed so often is ejected: 0 to 1; always when absent. */
  readonly enforced?: number;
  /** Of the addresses judged here, as many may be ejected at a time as are this part of a route's backends, but always one: 0 to 1; all when absent. */
  readonly maxEjected?: number;
}

/** As Envoy's outlier detection has it, which operators of Consul are used to. */
export const DEFAULT_OUTLIERS: OutlierOptions = {
  consecutiveFailures: 5,
  baseEjectionMs: 30_000,
  maxEjectionMs: 300_000,
};

interface Record {
  readonly address: Endpoint;
  failures: number;
  ejections: number;
  lastFailureAt: number;
  returns: NodeJS.Timeout | undefined;
}

// Only addresses that have failed are kept. Addresses come and go while the process lives, so old records are dropped.
const PRUNE_ABOVE = 1_000;
const FORGET_AFTER_MS = 600_000;

/**
 * Passive health: counts failed dials by address and ejects an address after several in a row. Ejection changes the order of dials only: an
 * ejected address is dialled when nothing better is left, so a route always keeps a backend.
 */
export class Outliers implements Service {
  readonly name = 'ejections';
  readonly #options: OutlierOptions;
  readonly #observer: Observer;
  readonly #records = new Map<string, Record>();
  readonly #parts = new Set<Outliers>();
  #leaveWhole: () => void = () => undefined;
  #ejected = 0;

  constructor(observer: Observer, options: OutlierOptions = DEFAULT_OUTLIERS) {
    this.#observer = observer;
    this.#options = options;
  }

  /** Judges for itself, by settings of its own, until it {@link end | ends}. Whom it ejects counts as ejected here, too, and not the other way round. */
  apart(options: OutlierOptions = this.#options): Outliers {
    const part = new Outliers(this.#observer, options);
    this.#parts.add(part);
    part.#leaveWhole = () => void this.#parts.delete(part);
    return part;
  }

  /** Nobody is judged by it any more: addresses that it has ejected are so no longer. */
  end(): void {
    for (const record of this.#records.values()) if (record.returns !== undefined) this.#return(record);
    this.#records.clear();
    this.#leaveWhole();
  }

  /** How many addresses are ejected now. */
  get ejected(): number {
    let sum = this.#ejected;
    for (const part of this.#parts) sum += part.ejected;
    return sum;
  }

  /** Whether `address` is ejected now. */
  isEjected(address: Endpoint): boolean {
    if (this.#ejected > 0 && this.#records.get(formatEndpoint(address))?.returns !== undefined) return true;
    for (const part of this.#parts) if (part.isEjected(address)) return true;
    return false;
  }

  /** A dial to `address` succeeded: its failures are forgotten, and an ejection ends. */
  succeeded(address: Endpoint): void {
    if (this.#records.size === 0) return;
    const key = formatEndpoint(address);
    const record = this.#records.get(key);
    if (record === undefined) return;
    this.#records.delete(key);
    if (record.returns !== undefined) this.#return(record);
  }

  /**
   * A dial to `address` failed.
   *
   * @param among how many backends the route has to which it belongs
   */
  failed(address: Endpoint, among: number = Infinity): void {
    const record = this.#record(address);
    record.failures += 1;
    record.lastFailureAt = performance.now();
    if (record.returns !== undefined || record.failures < this.#options.consecutiveFailures) return;
    const { enforced = 1, maxEjected } = this.#options;
    // Without a bound, what is ejected of other routes does not count.
    const mayEject = maxEjected === undefined || this.#ejected < Math.max(1, Math.floor(among * maxEjected));
    if (mayEject && Math.random() < enforced) this.#eject(record);
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  /** As {@link clear}: ejections have timers. */
  stop(): Promise<void> {
    return Promise.resolve(this.clear());
  }

  /** Forgets all addresses and stops all timers. */
  clear(): void {
    for (const { returns } of this.#records.values()) clearTimeout(returns);
    this.#records.clear();
    this.#ejected = 0;
    for (const part of this.#parts) part.clear();
  }

  #record(address: Endpoint): Record {
    const key = formatEndpoint(address);
    const known = this.#records.get(key);
    if (known !== undefined) return known;
    if (this.#records.size >= PRUNE_ABOVE) this.#prune();
    const record: Record = { address, failures: 0, ejections: 0, lastFailureAt: 0, returns: undefined };
    this.#records.set(key, record);
    return record;
  }

  #eject(record: Record): void {
    record.ejections += 1;
    const { maxEjectionMs, baseEjectionMs, stepMs = 1 } = this.#options;
    const forMs = Math.ceil(Math.min(maxEjectionMs, baseEjectionMs * record.ejections) / stepMs) * stepMs;
    record.returns = setTimeout(() => this.#return(record), forMs);
    record.returns.unref();
    this.#ejected += 1;
    this.#observer.observe({ type: 'backend.ejected', address: record.address, forMs, failures: record.failures });
  }

  /** The next failure ejects it again, for longer. */
  #return(record: Record): void {
    clearTimeout(record.returns);
    record.returns = undefined;
    record.failures = this.#options.consecutiveFailures - 1;
    this.#ejected -= 1;
    this.#observer.observe({ type: 'backend.returned', address: record.address });
  }

  #prune(): void {
    const oldest = performance.now() - FORGET_AFTER_MS;
    for (const [key, { returns, lastFailureAt }] of this.#records) {
      if (returns === undefined && lastFailureAt < oldest) this.#records.delete(key);
    }
  }
}
