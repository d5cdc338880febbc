import { isIP } from 'node:net';
import { ProxyError } from '../errors.ts';
import type { Observer } from '../observe.ts';
import { unixPath } from '../transport/endpoint.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import { ResolutionError } from './resolution.ts';
import type { NameSystem, Resolution } from './resolution.ts';
import { systemNames } from './system-names.ts';
import { backoff } from '../watch/backoff.ts';
import type { BackoffOptions } from '../watch/backoff.ts';
import { answered, failed, NO_READING } from '../watch/reading.ts';
import type { Reading } from '../watch/reading.ts';
import { RecentlyUsed } from '../watch/recently-used.ts';
import { settlesWithin } from '../watch/scope.ts';

// A TTL of 0 would cause a query per connection; one of days would hide that a service has moved.
const MIN_TTL_SECONDS = 1;
const MAX_TTL_SECONDS = 300;
// After a failure, no query per connection; while there is an address to use, the pauses grow.
const RETRY_PAUSES: BackoffOptions = { firstMs: 1_000, maxMs: 30_000 };
// How long a client waits for a slow name server before expired addresses are used.
const STALE_PATIENCE_MS = 250;
// NXDOMAIN may occur in the middle of a zone change: the last addresses stay in use for this long.
const ABSENCE_DOUBTED_MS = 30_000;
// Addresses of a name for one connection: more than it can dial, and than a response over UDP has.
const MAX_CANDIDATES = 256;
// Minimum interval of checks of the system's files.
const CHECK_EVERY_MS = 1_000;

interface KnownName {
  /** Its addresses: at least one if there is a value. */
  reading: Reading<readonly string[]>;
  freshUntil: number;
  /** Rotation offset of the next connection. */
  turn: number;
  resolving: Promise<void> | undefined;
  /** Back-off of consecutive failing queries. */
  pauses: Generator<number, never>;
  /** Time since which name servers answer NXDOMAIN; absent otherwise. */
  absentSince: number | undefined;
}

const UNKNOWN = { reading: NO_READING, freshUntil: 0, turn: 0, resolving: undefined, absentSince: undefined };

/** Without jitter: names are not retried together. */
function pauses(): Generator<number, never> {
  return backoff(RETRY_PAUSES, () => 0);
}

/**
 * Resolves the host names of backends. All addresses of a name are used, in rotation. A name is resolved again when its
 * TTL has expired, or when the system's files have changed. While resolution fails, the last good answer stays in use;
 * if the name no longer exists, for half a minute.
 */
export class AddressBook {
  readonly #names: NameSystem;
  readonly #observer: Observer;
  readonly #entries: RecentlyUsed<KnownName>;
  #checkedAt = 0;

  /**
   * @param maxNames maximum number of names: the oldest is evicted for a new one
   */
  constructor(observer: Observer, names: NameSystem = systemNames(), maxNames: number = Infinity) {
    this.#observer = observer;
    this.#names = names;
    this.#entries = new RecentlyUsed({ max: maxNames });
  }

  /** Number of known names. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Returns the addresses to dial for `endpoint`, in order: synchronously a single one for an IP address, with or
   * without brackets, or a unix socket; otherwise those of the name, rotated, at most 256. Rejects with
   * `CONNECT_FAILED` if no address of the name is known.
   */
  find(endpoint: Endpoint): readonly Endpoint[] | Promise<readonly Endpoint[]> {
    if (isIP(endpoint.host) !== 0 || unixPath(endpoint) !== undefined) return [endpoint];
    const literal = unbracketed(endpoint.host);
    if (literal !== undefined) return [{ host: literal, port: endpoint.port }];
    const now = performance.now();
    this.#checkForChanges(now);
    const entry = this.#entry(endpoint.host);
    if (now < entry.freshUntil) return this.#known(entry, endpoint);
    if (entry.reading.value === undefined)
      return this.#firstAnswer(endpoint.host, entry).then(() => this.#known(entry, endpoint));
    const resolving = this.#refresh(endpoint.host, entry);
    // Resolution has failed before, or is slow: later connections do not wait for it.
    if (entry.reading.state === 'failing') return this.#known(entry, endpoint);
    return this.#answeredSoon(entry, resolving).then(() => this.#known(entry, endpoint));
  }

  #known(entry: KnownName, endpoint: Endpoint): readonly Endpoint[] | Promise<readonly Endpoint[]> {
    const { value, error } = entry.reading;
    return value === undefined ? Promise.reject(unresolved(endpoint.host, error)) : rotated(value, entry, endpoint);
  }

  async #firstAnswer(host: string, entry: KnownName): Promise<void> {
    // Repeated if the system's files have changed in the meantime: the answer was based on the old ones.
    do await this.#refresh(host, entry);
    while (entry.reading.state === 'waiting');
  }

  async #answeredSoon(entry: KnownName, resolving: Promise<void>): Promise<void> {
    if (await settlesWithin(resolving, STALE_PATIENCE_MS)) return;
    // Further connections use the known addresses while the answer is pending.
    if (entry.resolving === resolving) entry.freshUntil = performance.now() + STALE_PATIENCE_MS;
  }

  /** One query at a time per name, shared by all connections that wait for its answer. */
  #refresh(host: string, entry: KnownName): Promise<void> {
    if (entry.resolving !== undefined) return entry.resolving;
    const resolving: Promise<void> = this.#resolve(host, entry, () => entry.resolving === resolving).finally(() => {
      if (entry.resolving === resolving) entry.resolving = undefined;
    });
    entry.resolving = resolving;
    return resolving;
  }

  #entry(host: string): KnownName {
    return this.#entries.use(host) ?? this.#entries.add(host, { ...UNKNOWN, pauses: pauses() });
  }

  /**
   * @param isWanted false once a newer query has replaced this one because the system's files have changed
   */
  async #resolve(host: string, entry: KnownName, isWanted: () => boolean): Promise<void> {
    try {
      const resolution = await this.#names.resolve(host);
      if (isWanted()) this.#onAnswer(entry, resolution);
    } catch (reason) {
      if (isWanted()) this.#onFailure(host, entry, reason);
    }
  }

  #onAnswer(entry: KnownName, { hosts, ttlSeconds, rest }: Resolution): void {
    if (entry.reading.state === 'failing') entry.pauses = pauses();
    entry.reading = answered(entry.reading, hosts);
    entry.absentSince = undefined;
    entry.freshUntil = performance.now() + Math.min(MAX_TTL_SECONDS, Math.max(MIN_TTL_SECONDS, ttlSeconds)) * 1_000;
    void rest?.then((all) => {
      if (all !== undefined && entry.reading.value === hosts) entry.reading = answered(entry.reading, all.hosts);
    });
  }

  #onFailure(host: string, entry: KnownName, reason: unknown): void {
    const now = performance.now();
    const error = reason instanceof ResolutionError ? reason : unavailable(reason);
    entry.absentSince = error.kind === 'absent' ? (entry.absentSince ?? now) : undefined;
    const isGone = entry.absentSince !== undefined && now - entry.absentSince >= ABSENCE_DOUBTED_MS;
    entry.reading = failed(isGone ? NO_READING : entry.reading, error);
    const lastGood = entry.reading.value !== undefined;
    entry.freshUntil = now + (lastGood ? entry.pauses.next().value : RETRY_PAUSES.firstMs);
    this.#observer.observe({ type: 'resolution.failed', host, error, lastGood });
  }

  /** Does not wait: the next connection gets the new answers. */
  #checkForChanges(now: number): void {
    if (this.#names.hasChanged === undefined || now - this.#checkedAt < CHECK_EVERY_MS) return;
    this.#checkedAt = now;
    void this.#names.hasChanged().then((hasChanged) => {
      if (hasChanged) this.#resolveAllAgain();
    });
  }

  #resolveAllAgain(): void {
    for (const entry of this.#entries.values) {
      const { reading } = entry;
      entry.freshUntil = 0;
      // After a change of the system's files, the last failure means nothing: a name without an address is queried and
      // waited for.
      entry.reading = reading.value === undefined ? NO_READING : answered(reading, reading.value, reading.asOf);
      entry.resolving = undefined;
    }
  }
}

/** Returns the address in `[::1]`: the brackets belong to URLs, and are often copied along. */
function unbracketed(host: string): string | undefined {
  const literal = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : '';
  return isIP(literal) === 6 ? literal : undefined;
}

function unavailable(reason: unknown): ResolutionError {
  return new ResolutionError('unavailable', reason instanceof Error ? reason.message : String(reason), {
    cause: reason,
  });
}

function unresolved(host: string, cause: Error | undefined): ProxyError {
  return new ProxyError('CONNECT_FAILED', `no address for ${host}: ${cause?.message ?? 'not queried yet'}`, { cause });
}

function rotated(hosts: readonly string[], entry: KnownName, { port }: Endpoint): readonly Endpoint[] {
  const start = entry.turn % hosts.length;
  entry.turn += 1;
  const candidates = [
    ...hosts.slice(start, start + MAX_CANDIDATES),
    ...hosts.slice(0, Math.min(start, MAX_CANDIDATES)),
  ];
  return candidates.slice(0, MAX_CANDIDATES).map((host) => ({ host, port }));
}
