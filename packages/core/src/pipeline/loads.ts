import type { Backend } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';

/**
 * Counts connections by backend address, including those being dialled, for routes whose balance uses the counts.
 * Backends with the same address share the count, over all of these routes and across snapshots.
 */
export class Loads {
  readonly #counts = new Map<string, number>();
  /** Formatting an address takes longer than this lookup. */
  readonly #keys = new WeakMap<Backend, string>();

  of(backend: Backend): number {
    return this.#counts.get(this.#keyOf(backend)) ?? 0;
  }

  /** Creates the count of one connection, at no backend yet. */
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

/** The count of one connection. */
export interface Load {
  /** Moves the count to `backend`. */
  moveTo(backend: Backend): void;
  /** Removes the count. Idempotent. */
  release(): void;
}
