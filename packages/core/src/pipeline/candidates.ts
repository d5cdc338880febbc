import type { Backend } from '../routes/route.ts';
import type { Outliers } from './outliers.ts';

/** Labels of backends, in the order of their importance: `{ zone: 'a' }`. */
export type Preference = Readonly<Record<string, string>>;

/**
 * Among which backends the next one is chosen: those that are healthy and not ejected; else those that are healthy; else all. Of these
 * the lowest priority, and of these the nearest. All of this orders the dials, and forbids none.
 */
export class Candidates {
  readonly #outliers: Outliers;
  readonly #preference: readonly (readonly [string, string])[];

  constructor(outliers: Outliers, preference: Preference = {}) {
    this.#outliers = outliers;
    this.#preference = Object.entries(preference);
  }

  /** @param backends at least one: those of the route that were not tried yet */
  among(backends: readonly Backend[]): readonly Backend[] {
    // The usual case, and nothing is made for it.
    if (backends.every((backend) => this.#isPlain(backend))) return backends;
    const trusted = backends.filter((backend) => this.#isTrusted(backend));
    if (trusted.length > 0) return this.#first(trusted);
    const healthy = backends.filter((backend) => backend.healthy);
    return this.#first(healthy.length > 0 ? healthy : backends);
  }

  #isPlain(backend: Backend): boolean {
    const { priority, labels } = backend;
    return (
      priority === undefined && (labels === undefined || this.#preference.length === 0) && this.#isTrusted(backend)
    );
  }

  #isTrusted({ healthy, address }: Backend): boolean {
    return healthy && !this.#outliers.isEjected(address);
  }

  #first(backends: readonly Backend[]): readonly Backend[] {
    const lowest = backends.reduce((least, { priority = 0 }) => Math.min(least, priority), Infinity);
    return this.#nearest(backends.filter(({ priority = 0 }) => priority === lowest));
  }

  /** Those with the first label of the preference, where there are any; of these those with the second, and so on. */
  #nearest(backends: readonly Backend[]): readonly Backend[] {
    let nearest = backends;
    for (const [key, value] of this.#preference) {
      const matching = nearest.filter(({ labels }) => labels?.[key] === value);
      if (matching.length > 0) nearest = matching;
    }
    return nearest;
  }
}
