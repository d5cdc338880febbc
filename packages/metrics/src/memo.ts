/** Caches the result of `make` by key. */
export class Memo<K, V> {
  readonly #made = new Map<K, V>();
  readonly #make: (key: K) => V;

  constructor(make: (key: K) => V) {
    this.#make = make;
  }

  get(key: K): V {
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = this.#make(key);
    this.#made.set(key, made);
    return made;
  }

  /** Removes and returns the value of `key`, if there is one: the next `get` creates a new one. */
  take(key: K): V | undefined {
    const made = this.#made.get(key);
    this.#made.delete(key);
    return made;
  }

  /** All values with their keys. */
  [Symbol.iterator](): IterableIterator<[K, V]> {
    return this.#made.entries();
  }
}
