/** Settings of {@link RecentlyUsed}. */
export interface RecentlyUsedOptions<T> {
  /** Called with what is forgotten. */
  readonly onForgotten?: (value: T) => void;
  /** How many are kept: when one more comes, the oldest is forgotten. No limit when absent. */
  readonly max?: number;
}

// Not used for this long: the backend, or whatever else it belongs to, is gone.
const FORGET_AFTER_MS = 3_600_000;
const SWEEP_EVERY_MS = 60_000;

interface Kept<T> {
  readonly value: T;
  usedAt: number;
}

/** Values by key, made when they are first used and forgotten when they were not used in an hour: what comes and goes leaves nothing behind. */
export class RecentlyUsed<T> {
  readonly #options: RecentlyUsedOptions<T>;
  readonly #kept = new Map<string, Kept<T>>();
  #sweptAt = performance.now();

  constructor(options: RecentlyUsedOptions<T> = {}) {
    this.#options = options;
  }

  /** How many are kept. */
  get size(): number {
    return this.#kept.size;
  }

  /** All of them, which are not used by that. */
  get values(): readonly T[] {
    return Array.from(this.#kept.values(), ({ value }) => value);
  }

  /** The value of `key`, if it is known. */
  use(key: string): T | undefined {
    const kept = this.#kept.get(key);
    if (kept !== undefined) kept.usedAt = performance.now();
    return kept?.value;
  }

  /** Keeps `value`, which `key` did not have yet. */
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
