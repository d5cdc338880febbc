import { backoff, RETRY_PAUSES } from './backoff.ts';
import type { BackoffOptions } from './backoff.ts';
import { errorOf } from '../errors.ts';
import { answered, failed, NO_READING } from './reading.ts';
import type { Reading } from './reading.ts';

/** One query of a {@link QuerySet}. */
export interface Query<T> {
  /**
   * Identifies everything that the response depends on: the query is sent again when it changes. `undefined`: sent
   * again at each `set`.
   */
  readonly stamp: string | undefined;
  /** Sends the query once. Rejects if there is no response. */
  send(signal: AbortSignal): Promise<T>;
}

/** Options of a {@link QuerySet}. */
export interface QuerySetOptions {
  /** Called when any reading changes, and when all have converged. */
  readonly changed: () => void;
  /** Maximum number of queries in flight. */
  readonly atATime: number;
  /** Whether a failure is due to a rate limit: all queries then pause, and this one counts as not sent. */
  readonly isOverload: (error: Error) => boolean;
  /** Back-off of a failing query; 250 ms to 30 s when absent. */
  readonly pauses?: BackoffOptions;
}

/**
 * Queries by key, each sent once per stamp, with bounded concurrency: thousands converge over a handful of sockets,
 * even if the server limits their rate. A failing query does not affect the others: its last response stays in use, its
 * reading has the error, and it is retried with back-off.
 *
 * Queries are only sent during {@link run}; readings are kept between runs.
 */
export class QuerySet<T> {
  readonly #options: QuerySetOptions;
  readonly #entries = new Map<string, QueryEntry<T>>();
  /** Keys to query, in order of arrival. */
  readonly #due = new Set<string>();
  #signal: AbortSignal | undefined;
  #inFlight = 0;
  #overload = backoff(OVERLOAD_PAUSES);
  #pausedUntil: NodeJS.Timeout | undefined;

  constructor(options: QuerySetOptions) {
    this.#options = options;
  }

  /** Replaces the queries. Those with a new stamp are sent again. */
  set(wanted: ReadonlyMap<string, Query<T>>): void {
    for (const [key, entry] of this.#entries) {
      if (wanted.has(key)) continue;
      clearTimeout(entry.retry);
      this.#entries.delete(key);
      this.#due.delete(key);
    }
    for (const [key, query] of wanted) {
      const entry = this.#entries.get(key) ?? this.#add(key, query);
      const isCurrent = entry.sentStamp !== undefined && entry.sentStamp === query.stamp;
      entry.query = query;
      if (!isCurrent) this.#enqueue(key, entry);
    }
    this.#sendDue();
  }

  /** Returns the reading of `key`, or `undefined` if the key is not in the set. */
  get(key: string): Reading<T> | undefined {
    return this.#entries.get(key)?.reading;
  }

  /** All readings. */
  get readings(): readonly Reading<T>[] {
    return Array.from(this.#entries.values(), ({ reading }) => reading);
  }

  /** Whether each query has a response or a failure since its stamp last changed. */
  get converged(): boolean {
    return this.#inFlight === 0 && this.#due.size === 0;
  }

  /** Sends queries until `signal` aborts. Only one run at a time. */
  run(signal: AbortSignal): void {
    this.#signal = signal;
    this.#overload = backoff(OVERLOAD_PAUSES);
    // Queries that failed in an earlier run are retried at once.
    for (const [key, entry] of this.#entries) if (entry.reading.state === 'failing') this.#enqueue(key, entry);
    this.#sendDue();
  }

  /** Stops all timers. Readings are kept, and due queries are sent in the next run. */
  rest(): void {
    this.#signal = undefined;
    clearTimeout(this.#pausedUntil);
    this.#pausedUntil = undefined;
    for (const [key, entry] of this.#entries) {
      if (entry.retry === undefined) continue;
      clearTimeout(entry.retry);
      entry.retry = undefined;
      this.#due.add(key);
    }
  }

  #add(key: string, query: Query<T>): QueryEntry<T> {
    const { pauses = RETRY_PAUSES } = this.#options;
    const entry: QueryEntry<T> = {
      query,
      pauses: backoff(pauses),
      reading: NO_READING,
      sentStamp: undefined,
      isInFlight: false,
      retry: undefined,
    };
    this.#entries.set(key, entry);
    return entry;
  }

  #enqueue(key: string, entry: QueryEntry<T>): void {
    clearTimeout(entry.retry);
    entry.retry = undefined;
    this.#due.add(key);
  }

  #sendDue(): void {
    const signal = this.#signal;
    if (signal === undefined || signal.aborted || this.#pausedUntil !== undefined) return;
    for (const key of this.#due) {
      if (this.#inFlight >= this.#options.atATime) return;
      const entry = this.#entries.get(key);
      // One query at a time per key: otherwise an older response could arrive last.
      if (entry?.isInFlight === true) continue;
      this.#due.delete(key);
      if (entry !== undefined) void this.#send(key, entry, signal);
    }
  }

  async #send(key: string, entry: QueryEntry<T>, signal: AbortSignal): Promise<void> {
    const { query } = entry;
    this.#inFlight += 1;
    entry.isInFlight = true;
    entry.sentStamp = query.stamp;
    const outcome: QueryOutcome<T> = await query.send(signal).then(
      (value) => ({ value }),
      (reason: unknown) => ({ error: errorOf(reason) }),
    );
    this.#inFlight -= 1;
    entry.isInFlight = false;
    if (this.#entries.get(key) === entry) this.#onOutcome(key, entry, outcome, signal);
    this.#sendDue();
  }

  #onOutcome(key: string, entry: QueryEntry<T>, outcome: QueryOutcome<T>, signal: AbortSignal): void {
    if ('value' in outcome) this.#onResponse(entry, outcome.value);
    // The query failed because the run has ended.
    else if (signal.aborted) return void this.#due.add(key);
    else if (this.#options.isOverload(outcome.error)) this.#onOverload(key);
    else this.#onFailure(key, entry, outcome.error);
    this.#options.changed();
  }

  #onResponse(entry: QueryEntry<T>, value: T): void {
    const { pauses = RETRY_PAUSES } = this.#options;
    if (entry.reading.state === 'failing') entry.pauses = backoff(pauses);
    entry.reading = answered(entry.reading, value);
  }

  #onFailure(key: string, entry: QueryEntry<T>, error: Error): void {
    entry.reading = failed(entry.reading, error);
    if (this.#due.has(key)) return;
    entry.retry = setTimeout(() => {
      this.#enqueue(key, entry);
      this.#sendDue();
    }, entry.pauses.next().value);
  }

  #onOverload(key: string): void {
    this.#due.add(key);
    if (this.#pausedUntil !== undefined) return;
    this.#pausedUntil = setTimeout(() => {
      this.#pausedUntil = undefined;
      this.#sendDue();
    }, this.#overload.next().value);
  }
}

// Rate limits count per second: there is capacity again soon, and queries sent in the meantime only prolong the wait.
const OVERLOAD_PAUSES: BackoffOptions = { firstMs: 100, maxMs: 1_000 };

type QueryOutcome<T> = { readonly value: T } | { readonly error: Error };

interface QueryEntry<T> {
  query: Query<T>;
  pauses: Generator<number, never>;
  reading: Reading<T>;
  /** The stamp of the last query. */
  sentStamp: string | undefined;
  isInFlight: boolean;
  retry: NodeJS.Timeout | undefined;
}
