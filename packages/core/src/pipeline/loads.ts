import { memoized } from '../memo.ts';
import type { Backend } from '../routes/route.ts';
import { formatEndpoint } from '../transport/endpoint.ts';

/** Returns the key of a backend: its address. Formatting one takes longer than the lookup of the last result. */
export const addressKey: (backend: Backend) => string = memoized(({ address }: Backend) => formatEndpoint(address));

/** Counts connections by a key of their backend, including those being dialled. */
export class Loads {
  readonly #counts = new Map<string, number>();

  /** Number of backends with connections. */
  get size(): number {
    return this.#counts.size;
  }

  of(key: string): number {
    return this.#counts.get(key) ?? 0;
  }

  /** Creates the count of one connection, at no backend yet. */
  open(): Load {
    let at: string | undefined;
    const release = (): void => {
      if (at !== undefined) this.#add(at, -1);
      at = undefined;
    };
    const moveTo = (key: string): void => {
      release();
      at = key;
      this.#add(key, 1);
    };
    return { moveTo, release };
  }

  #add(key: string, change: 1 | -1): void {
    const count = this.of(key) + change;
    if (count > 0) this.#counts.set(key, count);
    else this.#counts.delete(key);
  }
}

/** The count of one connection. */
export interface Load {
  /** Moves the count to the backend with this key. */
  moveTo(key: string): void;
  /** Removes the count. Idempotent. */
  release(): void;
}
