import { errorOf } from '../errors.ts';
import { answered, failed, NO_READING } from './reading.ts';
import type { Reading } from './reading.ts';

/** What a value is loaded from, as it is at one moment, with a stamp that tells whether it has changed. */
export interface Stamped<T> {
  /** Equal stamps mean an equal value: there is nothing to load. */
  readonly stamp: string;
  /** Throws or rejects when there is no value in it. */
  load(): T | Promise<T>;
}

/** A value that is loaded again, whenever it is asked for, once its origin has changed. One that cannot be loaded leaves the one before. */
export class Refreshed<T> {
  readonly #look: () => Stamped<T> | Promise<Stamped<T>>;
  /** Of what was loaded last. */
  #stamp: string | undefined;
  #reading: Reading<T> = NO_READING;
  #version = 0;
  #refreshing: Promise<Reading<T>> | undefined;

  /** @param look called by {@link refresh}; throws or rejects when the origin cannot be seen */
  constructor(look: () => Stamped<T> | Promise<Stamped<T>>) {
    this.#look = look;
  }

  /** As it was refreshed last. */
  get reading(): Reading<T> {
    return this.#reading;
  }

  /** Grows with each value. */
  get version(): number {
    return this.#version;
  }

  /** Looks at the origin, once for all who ask meanwhile. Never rejects. */
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
      // Tried again at the next look: a shortage of descriptors, for one, says nothing of the origin.
      this.#reading = failed(this.#reading, errorOf(reason));
    }
    return this.#reading;
  }
}
