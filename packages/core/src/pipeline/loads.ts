import type { Backend } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';

/**
 * Connections by backend address, of the routes whose balance counts them: backends of equal address are one, over all of these routes
 * and over snapshots.
 */
export class Loads {
  readonly #counts = new Map<string, number>();
  /** To write an address down takes longer than to look it up. */
  readonly #keys = new WeakMap<Backend, string>();

  of(backend: Backend): number {
    return this.#counts.get(this.#keyOf(backend)) ?? 0;
  }

  /** @returns gives the place back; to be called once */
  take(backend: Backend): () => void {
    const key = this.#keyOf(backend);
    this.#add(key, 1);
    return () => this.#add(key, -1);
  }

  #keyOf(backend: Backend): string {
    let key = this.#keys.get(backend);
    if (key === undefined) {
      key = formatEndpoint(backend.address);
      this.#keys.set(backend, key);
    }
    return key;
  }

  #add(key: string, change: 1 | -1): void {
    const count = (this.#counts.get(key) ?? 0) + change;
    if (count > 0) this.#counts.set(key, count);
    else this.#counts.delete(key);
  }
}
