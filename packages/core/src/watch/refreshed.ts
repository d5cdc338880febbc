import { errorOf } from '../errors.ts';
import { answered, failed, NO_READING } from './reading.ts';
import type { Reading } from './reading.ts';

/** The origin of a value at one moment, with a stamp that changes with it. */
export interface Stamped<T> {
  /** Equal stamps mean equal values: there is nothing to load. */
  readonly stamp: string;
  /** Loads the value. Throws or rejects if the origin has none. */
  load(): T | Promise<T>;
}

/** A value that is loaded again, on request, if its origin has changed. If loading fails, the former value stays. */
export class Refreshed<T> {
  readonly #look: () => Stamped<T> | Promise<Stamped<T>>;
  /** Stamp of the last value. */
  #stamp: string | undefined;
  #reading: Reading<T> = NO_READING;
  #version = 0;
  #refreshing: Promise<Reading<T>> | undefined;

  /**
   * @param look called by {@link refresh}; throws or rejects if the origin cannot be inspected
   */
  constructor(look: () => Stamped<T> | Promise<Stamped<T>>) {
    this.#look = look;
  }

  /** The result of the last refresh. */
  get reading(): Reading<T> {
    return this.#reading;
  }

  /** Increases with each new value. */
  get version(): number {
    return this.#version;
  }

  /** Inspects the origin; concurrent calls share one inspection. Never rejects. */
  refresh(): Promise<Reading<T>> {
    this.#refreshing ??= this.#refresh().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  async #refresh(): Promise<Reading<T>> {
    try {
      const { stamp, load } = await this.#look();
      const { value: before } = this.#reading;
      const isUnchanged = stamp === this.#stamp && before !== undefined;
      this.#reading = answered(this.#reading, isUnchanged ? before : await load());
      if (!isUnchanged) this.#version += 1;
      this.#stamp = stamp;
    } catch (reason) {
      // Retried at the next refresh: a shortage of file descriptors, for example, says nothing about the origin.
      this.#reading = failed(this.#reading, errorOf(reason));
    }
    return this.#reading;
  }
}
