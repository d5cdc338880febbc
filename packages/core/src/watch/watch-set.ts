import type { BackoffOptions } from './backoff.ts';
import { follow } from './follow.ts';
import { answered, failed, NO_READING } from './reading.ts';
import type { Reading } from './reading.ts';
import { openScope } from './scope.ts';

/** Options of {@link Watched} and {@link WatchSet}. */
export interface WatchOptions {
  /** Called when a reading changes. */
  readonly changed: () => void;
  /** Ends all watches. */
  readonly signal: AbortSignal;
  /** Back-off of a failing watch; 250 ms to 30 s when absent. */
  readonly pauses?: BackoffOptions;
}

/** Starts one watch. Like a source, it returns when the signal aborts, and throws to be restarted. */
export type Watch<T> = (signal: AbortSignal) => AsyncIterable<T>;

/** A watch that runs from its construction on. If it fails, it is restarted with back-off, and its last value stays. */
export class Watched<T> {
  readonly #scope: ReturnType<typeof openScope>;
  readonly #following: Promise<unknown>;
  #reading: Reading<T>;

  /**
   * @param kept last value of an earlier watch of the same thing: in use until this one has a value
   */
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

  /** Ends the watch. Resolves soon, even if the watch does not stop. */
  async end(): Promise<void> {
    this.#scope.end();
    await this.#following;
  }
}

/** Watches by key, each running while its key is in the set. A failing watch does not affect the others. */
export class WatchSet<T> {
  readonly #options: WatchOptions;
  readonly #watched = new Map<string, Watched<T>>();

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Replaces the watches. A key that stays keeps its running watch. */
  set(wanted: ReadonlyMap<string, Watch<T>>): void {
    for (const [key, watched] of this.#watched) {
      if (wanted.has(key)) continue;
      void watched.end();
      this.#watched.delete(key);
    }
    for (const [key, watch] of wanted)
      if (!this.#watched.has(key)) this.#watched.set(key, new Watched(watch, this.#options));
  }

  /** Returns the reading of `key`, or `undefined` if the key is not in the set. */
  get(key: string): Reading<T> | undefined {
    return this.#watched.get(key)?.reading;
  }

  /** All readings, in the order in which their keys were added. */
  get readings(): readonly Reading<T>[] {
    return Array.from(this.#watched.values(), ({ reading }) => reading);
  }

  /** Ends all watches. Resolves soon, even if a watch does not stop. */
  async end(): Promise<void> {
    await Promise.all(Array.from(this.#watched.values(), (watched) => watched.end()));
    this.#watched.clear();
  }
}
