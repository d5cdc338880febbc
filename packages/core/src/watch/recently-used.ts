/** Settings of {@link RecentlyUsed}. */
export interface RecentlyUsedOptions<T> {
  /** Called with each evicted value. */
  readonly onForgotten?: (value: T) => void;
  /** Maximum number of values: the oldest is evicted for a new one. No limit when absent. */
  readonly max?: number;
}

// Unused for this long, the backend or other owner of the value is gone.
const FORGET_AFTER_MS = 3_600_000;
const SWEEP_EVERY_MS = 60_000;

interface Kept<T> {
  readonly value: T;
  usedAt: number;
}

/** Values by key, evicted after an hour without use, so that keys that come and go do not accumulate. */
export class RecentlyUsed<T> {
  readonly #options: RecentlyUsedOptions<T>;
  readonly #kept = new Map<string, Kept<T>>();
  #sweptAt = performance.now();

  constructor(options: RecentlyUsedOptions<T> = {}) {
    this.#options = options;
  }

  /** Number of values. */
  get size(): number {
    return this.#kept.size;
  }

  /** All values. Reading them does not count as a use. */
  get values(): readonly T[] {
    return Array.from(this.#kept.values(), ({ value }) => value);
  }

  /** Returns the value of `key`, if there is one, and marks it as used. */
  use(key: string): T | undefined {
    const kept = this.#kept.get(key);
    if (kept !== undefined) kept.usedAt = performance.now();
    return kept?.value;
  }

  /** Adds `value` under `key`, which must be new. */
  add(key: string, value: T): T {
    const now = performance.now();
    this.#sweep(now);
    const [oldest] = this.#kept.keys();
    const { max = Infinity } = this.#options;
    if (oldest !== undefined && this.#kept.size >= max) this.#forget(oldest);
    this.#kept.set(key, { value, usedAt: now });
    return value;
  }

  #sweep(now: number): void {
    if (now - this.#sweptAt < SWEEP_EVERY_MS) return;
    this.#sweptAt = now;
    for (const [key, { usedAt }] of this.#kept) if (now - usedAt > FORGET_AFTER_MS) this.#forget(key);
  }

  #forget(key: string): void {
    const kept = this.#kept.get(key);
    this.#kept.delete(key);
    if (kept !== undefined) this.#options.onForgotten?.(kept.value);
  }
}
