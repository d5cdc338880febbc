import type { BackoffOptions } from './backoff.ts';
import { follow } from './follow.ts';
import { answered, failed, NO_READING } from './reading.ts';
import type { Reading } from './reading.ts';
import { openScope } from './scope.ts';
import type { Scope } from './scope.ts';

/** What a {@link WatchSet} runs by. */
export interface WatchSetOptions {
  /** Called whenever the reading of any key changes. */
  readonly changed: () => void;
  /** Ends all watches. */
  readonly signal: AbortSignal;
  /** Pauses of a watch that fails; 250 ms to 30 s when absent. */
  readonly pauses?: BackoffOptions;
}

/** Starts the watch of one key. The obligations of a source: it returns when the signal aborts, and throwing means "again". */
export type Watch<T> = (signal: AbortSignal) => AsyncIterable<T>;

/**
 * Watches that come and go by key, each followed for as long as it is wanted. One that fails leaves the others alone: its last answer
 * stays, its reading says why there is no newer one, and it is started again after growing pauses.
 */
export class WatchSet<T> {
  readonly #options: WatchSetOptions;
  readonly #entries = new Map<string, Entry<T>>();

  constructor(options: WatchSetOptions) {
    this.#options = options;
  }

  /** From now on exactly these keys. A key that is watched already goes on with the watch that it has. */
  set(wanted: ReadonlyMap<string, Watch<T>>): void {
    for (const [key, { scope }] of this.#entries) {
      if (wanted.has(key)) continue;
      scope.end();
      this.#entries.delete(key);
    }
    for (const [key, watch] of wanted) if (!this.#entries.has(key)) this.#entries.set(key, this.#begin(watch));
  }

  /** What is known of `key`; `undefined` when it is not wanted. */
  get(key: string): Reading<T> | undefined {
    return this.#entries.get(key)?.reading;
  }

  /** All readings by key, in the order in which the keys were wanted first. */
  *readings(): Generator<readonly [key: string, reading: Reading<T>], void, void> {
    for (const [key, { reading }] of this.#entries) yield [key, reading];
  }

  /** Whether each key has answered or failed. */
  get converged(): boolean {
    return Array.from(this.#entries.values()).every(({ reading }) => reading.state !== 'waiting');
  }

  /** Resolves when nothing is watched any more: soon, also when a watch does not stop. */
  async end(): Promise<void> {
    const following = Array.from(this.#entries.values(), ({ following: each }) => each);
    this.set(new Map());
    await Promise.all(following);
  }

  #begin(watch: Watch<T>): Entry<T> {
    const { changed, signal, pauses } = this.#options;
    const entry: Entry<T> = { scope: openScope(signal), reading: NO_READING, following: Promise.resolve() };
    const take = (reading: Reading<T>): void => {
      entry.reading = reading;
      changed();
    };
    entry.following = follow(watch, entry.scope.signal, {
      onValue: (value) => take(answered(entry.reading, value)),
      onFailure: (error) => take(failed(entry.reading, error)),
      ...(pauses === undefined ? {} : { pauses }),
    });
    return entry;
  }
}

interface Entry<T> {
  readonly scope: Scope;
  reading: Reading<T>;
  following: Promise<unknown>;
}
