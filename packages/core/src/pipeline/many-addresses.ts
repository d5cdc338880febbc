import type { Backend } from '../routes/route.ts';
import type { Endpoint } from '../transport/endpoint.ts';
import type { Dials } from './dials.ts';
import type { Outliers } from './outliers.ts';
import { Probes } from './probes.ts';
import { SlowFamilies, StaggeredDials } from './staggered-dials.ts';
import type { Reached } from './staggered-dials.ts';

/** Dials and time for one backend. */
export interface BackendBudget {
  readonly dials: Dials;
  /** Deadline of the last dial, in milliseconds of the monotonic clock. */
  readonly endsAt: number;
}

/** Connects to backends with several addresses, or with an ejected one. */
export class ManyAddresses {
  readonly #outliers: Outliers;
  readonly #slowFamilies = new SlowFamilies();
  readonly #probes: Probes;

  constructor(outliers: Outliers) {
    this.#outliers = outliers;
    this.#probes = new Probes(outliers);
  }

  /**
   * Dials the addresses that are not ejected first, staggered; then the others, one after the other.
   *
   * @returns `undefined` if no address was reached. Rejects if the session no longer needs a backend
   */
  async reach(backend: Backend, addresses: readonly Endpoint[], budget: BackendBudget): Promise<Reached | undefined> {
    const { dials, endsAt } = budget;
    const trusted = addresses.filter((address) => !this.#outliers.isEjected(address));
    const reached = await this.#reachTrusted(backend, trusted, budget);
    if (reached !== undefined) return reached;
    for (const address of addresses) {
      if (trusted.includes(address) || dials.remaining <= 0 || performance.now() >= endsAt) continue;
      const connection = await this.#probes.reach({ backend, address, dials, endsAt });
      if (connection !== undefined) return { connection, address };
    }
    return undefined;
  }

  async #reachTrusted(
    backend: Backend,
    trusted: readonly Endpoint[],
    budget: BackendBudget,
  ): Promise<Reached | undefined> {
    if (trusted.length === 0) return undefined;
    const slowFamilies = this.#slowFamilies;
    const addresses = slowFamilies.ordered(backend, trusted);
    const reached = await new StaggeredDials({ ...budget, backend, addresses, slowFamilies }).done;
    if (reached !== undefined) this.#outliers.succeeded(reached.address);
    return reached;
  }
}
