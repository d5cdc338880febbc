import { formatEndpoint } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Observer } from '../observe.ts';
import type { Service } from '../lifecycle/service.ts';
import { timerMs } from '../watch/scope.ts';

/** Settings of ejections. */
export interface OutlierOptions {
  /** Consecutive failures that eject an address. */
  readonly consecutiveFailures: number;
  /** Duration of the first ejection, in milliseconds; the n-th consecutive one lasts n times as long. */
  readonly baseEjectionMs: number;
  /** Maximum duration of an ejection, in milliseconds. */
  readonly maxEjectionMs: number;
  /** Durations are rounded up to multiples of this, in milliseconds; not rounded when absent. */
  readonly stepMs?: number;
  /** Probability that an address with enough failures is ejected: 0 to 1; 1 when absent. */
  readonly enforced?: number;
  /**
   * Maximum share of a route's backends that may be ejected at a time, but always at least one: 0 to 1; 1 when absent.
   * Counts all addresses of this instance.
   */
  readonly maxEjected?: number;
}

/** The defaults of Envoy's outlier detection, which operators of Consul know. */
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

// Only addresses with failures are kept. Addresses come and go during the life of the process, so that old records are
// dropped.
const PRUNE_ABOVE = 1_000;
const FORGET_AFTER_MS = 600_000;

/**
 * Passive health checks: counts failed dials by address and ejects an address after several consecutive failures.
 * Ejection only changes the order of dials: an ejected address is dialled when nothing better is left, so that a route
 * always keeps a backend.
 */
export class Outliers implements Service {
  readonly name = 'ejections';
  readonly #options: OutlierOptions;
  readonly #observer: Observer;
  readonly #records = new Map<string, Record>();
  readonly #parts = new Set<Outliers>();
  #detach: () => void = () => undefined;
  #ejected = 0;

  constructor(observer: Observer, options: OutlierOptions = DEFAULT_OUTLIERS) {
    this.#observer = observer;
    this.#options = options;
  }

  /**
   * Creates a separate instance with its own settings, until it {@link end | ends}. Addresses that it ejects count as
   * ejected here too, but not the other way round.
   */
  apart(options: OutlierOptions = this.#options): Outliers {
    const part = new Outliers(this.#observer, options);
    this.#parts.add(part);
    part.#detach = () => void this.#parts.delete(part);
    return part;
  }

  /** Ends a separate instance: the addresses that it ejected return. */
  end(): void {
    for (const record of this.#records.values()) if (record.returns !== undefined) this.#return(record);
    this.#records.clear();
    this.#detach();
  }

  /** Number of ejected addresses. */
  get ejected(): number {
    let sum = this.#ejected;
    for (const part of this.#parts) sum += part.ejected;
    return sum;
  }

  /** Whether `address` is ejected. */
  isEjected(address: Endpoint): boolean {
    if (this.#ejected > 0 && this.#records.get(formatEndpoint(address))?.returns !== undefined) return true;
    for (const part of this.#parts) if (part.isEjected(address)) return true;
    return false;
  }

  /** Records a successful dial: resets the failures of `address` and ends its ejection. */
  succeeded(address: Endpoint): void {
    if (this.#records.size === 0) return;
    const key = formatEndpoint(address);
    const record = this.#records.get(key);
    if (record === undefined) return;
    this.#records.delete(key);
    if (record.returns !== undefined) this.#return(record);
  }

  /**
   * Records a failed dial to `address`.
   *
   * @param among number of backends of the route
   */
  failed(address: Endpoint, among: number = Infinity): void {
    const record = this.#record(address);
    record.failures += 1;
    record.lastFailureAt = performance.now();
    if (record.returns !== undefined || record.failures < this.#options.consecutiveFailures) return;
    const { enforced = 1, maxEjected } = this.#options;
    // Without a maximum, ejections of other routes do not matter.
    const mayEject = maxEjected === undefined || this.#ejected < Math.max(1, Math.floor(among * maxEjected));
    if (mayEject && Math.random() < enforced) this.#eject(record);
  }

  start(): Promise<void> {
    return Promise.resolve();
  }

  /** Calls {@link clear}, since ejections have timers. */
  stop(): Promise<void> {
    return Promise.resolve(this.clear());
  }

  /** Drops all records and stops all timers. */
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
    record.returns = setTimeout(() => this.#return(record), timerMs(forMs));
    record.returns.unref();
    this.#ejected += 1;
    this.#observer.observe({ type: 'backend.ejected', address: record.address, forMs, failures: record.failures });
  }

  /** Ends an ejection. The next failure ejects the address again, for longer. */
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
