import { backoff, RETRY_PAUSES } from './backoff.ts';
import type { BackoffOptions } from './backoff.ts';
import { errorOf } from '../errors.ts';
import { answered, failed, NO_READING } from './reading.ts';
import type { Reading } from './reading.ts';

/** One query of a {@link QuerySet}. */
export interface Query<T> {
  /** Identifies everything that the response depends on: when it changes, the query is sent again. `undefined`: each time it is set. */
  readonly stamp: string | undefined;
  /** Sends the query once. Rejects when there is no response. */
  send(signal: AbortSignal): Promise<T>;
}

/** Options of a {@link QuerySet}. */
export interface QuerySetOptions {
  /** Called whenever the reading of any key changes, and when all have converged. */
  readonly changed: () => void;
  /** Queries in flight at a time. */
  readonly atATime: number;
  /**
   * Whether a failure means that there are too many queries (a rate limit): all queries then pause, and this one is repeated as if it
   * had not been sent.
   */
  readonly isOverload: (error: Error) => boolean;
  /** Pauses of a query that fails; 250 ms to 30 s when absent. */
  readonly pauses?: BackoffOptions;
}

/**
 * Queries by key, each sent once for each stamp, few at a time: thousands of them converge over a handful of sockets, also when the
 * server limits their rate. One that fails leaves the others alone: its last response stays in use, its reading says why there is no newer
 * one, and it is retried after growing pauses.
 *
 * Queries are sent only while it {@link run}s; readings are kept beyond that.
 */
export class QuerySet<T> {
  readonly #options: QuerySetOptions;
  readonly #entries = new Map<string, QueryEntry<T>>();
  /** Keys to query, first come, first served. */
  readonly #due = new Set<string>();
  #signal: AbortSignal | undefined;
  #inFlight = 0;
  #overload = backoff(OVERLOAD_PAUSES);
  #pausedUntil: NodeJS.Timeout | undefined;

  constructor(options: QuerySetOptions) {
    this.#options = options;
  }

  /** Sets the keys to query. Those whose stamp has changed are queried again. */
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

  /** What is known of `key`; `undefined` when it is not wanted. */
  get(key: string): Reading<T> | undefined {
    return this.#entries.get(key)?.reading;
  }

  /** All readings. */
  get readings(): readonly Reading<T>[] {
    return Array.from(this.#entries.values(), ({ reading }) => reading);
  }

  /** Whether each query has been answered, or has failed, since its stamp last changed. */
  get converged(): boolean {
    return this.#inFlight === 0 && this.#due.size === 0;
  }

  /** Sends queries until `signal` aborts. One run at a time. */
  run(signal: AbortSignal): void {
    this.#signal = signal;
    this.#overload = backoff(OVERLOAD_PAUSES);
    // What failed in an earlier run need not wait for its pause.
    for (const [key, entry] of this.#entries) if (entry.reading.state === 'failing') this.#enqueue(key, entry);
    this.#sendDue();
  }

  /** Stops all timers; readings are kept, and what is due is queried in the next run. */
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
      // One at a time for each key: of two answers the older could arrive last.
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
    // The run is over, and that is why it failed.
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

// Rate limits count by the second: soon after there is room again, and queries sent meanwhile only prolong the wait.
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
