import type { BackoffOptions } from './backoff.ts';
import { follow } from './follow.ts';
import { answered, failed, NO_READING } from './reading.ts';
import type { Reading } from './reading.ts';
import { openScope } from './scope.ts';

/** Options of a {@link Watched} and a {@link WatchSet}. */
export interface WatchOptions {
  /** Called whenever a reading changes. */
  readonly changed: () => void;
  /** Ends all watches. */
  readonly signal: AbortSignal;
  /** Pauses of a watch that fails; 250 ms to 30 s when absent. */
  readonly pauses?: BackoffOptions;
}

/** Starts one watch. As a source does, it returns when the signal aborts, and throws to be restarted. */
export type Watch<T> = (signal: AbortSignal) => AsyncIterable<T>;

/** One thing that is watched, from its construction on: what it gave last stays while it fails, and it is restarted by itself. */
export class Watched<T> {
  readonly #scope: ReturnType<typeof openScope>;
  readonly #following: Promise<unknown>;
  #reading: Reading<T>;

  /** @param kept what an earlier watch of the same gave: in use until this one gives something */
  constructor(watch: Watch<T>, { changed, signal, pauses }: WatchOptions, kept?: T) {
    this.#scope = openScope(signal);
    this.#reading = kept === undefined ? NO_READING : { ...NO_READING, value: kept };
    const take = (reading: Reading<T>): void => {
      this.#reading = reading;
      changed();
    };
    this.#following = follow(watch, this.#scope.signal, {
      onValue: (value) => take(answered(this.#reading, value)),
      onFailure: (error) => take(failed(this.#reading, error)),
      ...(pauses === undefined ? {} : { pauses }),
    });
  }

  get reading(): Reading<T> {
    return this.#reading;
  }

  /** Resolves when it is watched no more: soon, also when the watch does not stop. */
  async end(): Promise<void> {
    this.#scope.end();
    await this.#following;
  }
}

/** Watches that come and go by key, each followed for as long as it is wanted. One that fails leaves the others alone. */
export class WatchSet<T> {
  readonly #options: WatchOptions;
  readonly #watched = new Map<string, Watched<T>>();

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Sets the keys to watch. A key that is watched already keeps its watch. */
  set(wanted: ReadonlyMap<string, Watch<T>>): void {
    for (const [key, watched] of this.#watched) {
      if (wanted.has(key)) continue;
      void watched.end();
      this.#watched.delete(key);
    }
    for (const [key, watch] of wanted)
      if (!this.#watched.has(key)) this.#watched.set(key, new Watched(watch, this.#options));
  }

  /** What is known of `key`; `undefined` when it is not wanted. */
  get(key: string): Reading<T> | undefined {
    return this.#watched.get(key)?.reading;
  }

  /** All readings, in the order in which their keys were wanted first. */
  get readings(): readonly Reading<T>[] {
    return Array.from(this.#watched.values(), ({ reading }) => reading);
  }

  /** Resolves when nothing is watched any more: soon, also when a watch does not stop. */
  async end(): Promise<void> {
    await Promise.all(Array.from(this.#watched.values(), (watched) => watched.end()));
    this.#watched.clear();
  }
}
