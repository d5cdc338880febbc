import type { Backend } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';

/**
 * Connections by backend address, those that are being dialled among them, of the routes whose balance counts them: backends of equal address are one, over all of these routes
 * and over snapshots.
 */
export class Loads {
  readonly #counts = new Map<string, number>();
  /** To write an address down takes longer than to look it up. */
  readonly #keys = new WeakMap<Backend, string>();

  of(backend: Backend): number {
    return this.#counts.get(this.#keyOf(backend)) ?? 0;
  }

  /** What one connection counts for, which is nothing yet. */
  open(): Load {
    let key: string | undefined;
    const release = (): void => {
      if (key !== undefined) this.#add(key, -1);
      key = undefined;
    };
    const moveTo = (backend: Backend): void => {
      release();
      key = this.#keyOf(backend);
      this.#add(key, 1);
    };
    return { moveTo, release };
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

/** What one connection counts for. */
export interface Load {
  /** It is a connection of this backend now, and of no other. */
  moveTo(backend: Backend): void;
  /** It is a connection of none. Idempotent. */
  release(): void;
}
