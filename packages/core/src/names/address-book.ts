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
import { settlesWithin } from '../watch/scope.ts';

// A TTL of 0 would mean a question for each connection, one of days that a service which has moved is never found again.
const MIN_TTL_SECONDS = 1;
const MAX_TTL_SECONDS = 300;
// After a failure: soon again, but not with each connection; while there is an address to use, in growing pauses.
const RETRY_PAUSES: BackoffOptions = { firstMs: 1_000, maxMs: 30_000 };
// Rather an address that was right until now than a client that waits for a slow name server.
const STALE_PATIENCE_MS = 250;
// A name that is said not to exist any more may be in the middle of a change of its zone: its addresses are used this much longer.
const ABSENCE_DOUBTED_MS = 30_000;
// No route has led to it for this long: its backend is gone.
const FORGET_AFTER_MS = 3_600_000;
const SWEEP_EVERY_MS = 60_000;
// The files of the system are looked at no more often.
const CHECK_EVERY_MS = 1_000;

interface KnownName {
  /** Its addresses: at least one, as soon as there is a value. */
  reading: Reading<readonly string[]>;
  freshUntil: number;
  usedAt: number;
  /** Which address comes first next time. */
  turn: number;
  asking: Promise<void> | undefined;
  /** Of questions that fail in a row. */
  pauses: Generator<number, never>;
  /** Since when the name is said not to exist; absent while it does, and when nobody could say. */
  absentSince: number | undefined;
}

const UNKNOWN = { reading: NO_READING, freshUntil: 0, turn: 0, asking: undefined, absentSince: undefined };

/** Not shortened at random, as they are for those who would come back together: each name has its own. */
function pauses(): Generator<number, never> {
  return backoff(RETRY_PAUSES, () => 0);
}

/**
 * The addresses behind backends' host names. All addresses of a name are used, each connection beginning with the next one. A name is
 * asked again when its time to live is over, or when the system's files have changed. When nobody can say, the last good answer goes on
 * being used; when the name is said not to exist, for half a minute more.
 */
export class AddressBook {
  readonly #names: NameSystem;
  readonly #observer: Observer;
  readonly #entries = new Map<string, KnownName>();
  readonly #maxNames: number;
  #sweptAt = 0;
  #checkedAt = 0;

  /** @param maxNames how many names are remembered: when one more comes, the oldest is forgotten */
  constructor(observer: Observer, names: NameSystem = systemNames(), maxNames: number = Infinity) {
    this.#observer = observer;
    this.#names = names;
    this.#maxNames = maxNames;
  }

  /** How many names are known. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Where to dial for `endpoint`, in the order to try: one address for an IP, with or without brackets, or a unix socket, at once; all of
   * a name's, rotated. Rejects with `CONNECT_FAILED` when no address of the name is known.
   */
  find(endpoint: Endpoint): readonly Endpoint[] | Promise<readonly Endpoint[]> {
    if (isIP(endpoint.host) !== 0 || unixPath(endpoint) !== undefined) return [endpoint];
    const literal = unbracketed(endpoint.host);
    if (literal !== undefined) return [{ host: literal, port: endpoint.port }];
    const now = performance.now();
    this.#checkForChanges(now);
    const entry = this.#entry(endpoint.host, now);
    if (now < entry.freshUntil) return this.#known(entry, endpoint);
    if (entry.reading.value === undefined)
      return this.#firstAnswer(endpoint.host, entry).then(() => this.#known(entry, endpoint));
    const asking = this.#refresh(endpoint.host, entry);
    // The name system has failed before, or is slow now: nobody else waits for it.
    if (entry.reading.state === 'failing') return this.#known(entry, endpoint);
    return this.#answeredSoon(entry, asking).then(() => this.#known(entry, endpoint));
  }

  #known(entry: KnownName, endpoint: Endpoint): readonly Endpoint[] | Promise<readonly Endpoint[]> {
    const { value, error } = entry.reading;
    return value === undefined ? Promise.reject(unresolved(endpoint.host, error)) : rotated(value, entry, endpoint);
  }

  async #firstAnswer(host: string, entry: KnownName): Promise<void> {
    // Again when the system's files have changed meanwhile: what the answer rested on does not hold any more.
    do await this.#refresh(host, entry);
    while (entry.reading.state === 'waiting');
  }

  async #answeredSoon(entry: KnownName, asking: Promise<void>): Promise<void> {
    if (await settlesWithin(asking, STALE_PATIENCE_MS)) return;
    // Those who come while the answer is still awaited take what is known.
    if (entry.asking === asking) entry.freshUntil = performance.now() + STALE_PATIENCE_MS;
  }

  /** One question at a time for each name, however many connections wait for its answer. */
  #refresh(host: string, entry: KnownName): Promise<void> {
    if (entry.asking !== undefined) return entry.asking;
    const asking: Promise<void> = this.#ask(host, entry, () => entry.asking === asking).finally(() => {
      if (entry.asking === asking) entry.asking = undefined;
    });
    entry.asking = asking;
    return asking;
  }

  #entry(host: string, now: number): KnownName {
    const known = this.#entries.get(host);
    if (known !== undefined) {
      known.usedAt = now;
      return known;
    }
    this.#sweep(now);
    const [oldest] = this.#entries.keys();
    if (oldest !== undefined && this.#entries.size >= this.#maxNames) this.#entries.delete(oldest);
    const entry: KnownName = { ...UNKNOWN, usedAt: now, pauses: pauses() };
    this.#entries.set(host, entry);
    return entry;
  }

  #sweep(now: number): void {
    if (now - this.#sweptAt < SWEEP_EVERY_MS) return;
    this.#sweptAt = now;
    for (const [host, { usedAt }] of this.#entries) if (now - usedAt > FORGET_AFTER_MS) this.#entries.delete(host);
  }

  /** @param isWanted whether nobody has asked anew meanwhile, of a system that has changed */
  async #ask(host: string, entry: KnownName, isWanted: () => boolean): Promise<void> {
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

  /** Does not wait: who comes next has the new answers. */
  #checkForChanges(now: number): void {
    if (this.#names.hasChanged === undefined || now - this.#checkedAt < CHECK_EVERY_MS) return;
    this.#checkedAt = now;
    void this.#names.hasChanged().then((hasChanged) => {
      if (hasChanged) this.#askAllAnew();
    });
  }

  #askAllAnew(): void {
    for (const entry of this.#entries.values()) {
      const { reading } = entry;
      entry.freshUntil = 0;
      // Why the last question failed does not hold any more; whoever has no address asks, and waits.
      entry.reading = reading.value === undefined ? NO_READING : answered(reading, reading.value, reading.asOf);
      entry.asking = undefined;
    }
  }
}

/** The address in `[::1]`: brackets belong round it in a URL, and are often copied with it. */
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
  return new ProxyError('CONNECT_FAILED', `no address for ${host}: ${cause?.message ?? 'not asked yet'}`, { cause });
}

function rotated(hosts: readonly string[], entry: KnownName, { port }: Endpoint): readonly Endpoint[] {
  const start = entry.turn % hosts.length;
  entry.turn += 1;
  return [...hosts.slice(start), ...hosts.slice(0, start)].map((host) => ({ host, port }));
}
