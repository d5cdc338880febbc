import type { BackendHealth } from '../health/backend-health.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { FailoverGroups } from './failover-groups.ts';
import type { Outliers } from './outliers.ts';

/** Preferred labels of backends, the most important first: `{ zone: 'a' }`. */
export type Preference = Readonly<Record<string, string>>;

/** Dependencies of {@link Candidates}. */
export interface CandidatesOptions {
  readonly outliers: Outliers;
  readonly health: BackendHealth;
  /** Read at each choice among labelled backends: a reload may change it. */
  readonly preference: Preference;
  readonly failover: FailoverGroups;
  /** Returns a random number in [0, 1). */
  random(): number;
}

/**
 * Selects the candidates for the next dial: backends that are healthy, up by their checks and not ejected; otherwise
 * those that are healthy and up; otherwise all. Of these the lowest priority group, and of these the nearest. This only
 * orders the dials; it excludes backends only if all are down and the route says `refuse`.
 */
export class Candidates {
  readonly #options: CandidatesOptions;
  #preferred: { readonly preference: Preference; readonly labels: readonly (readonly [string, string])[] };

  constructor(options: CandidatesOptions) {
    this.#options = options;
    this.#preferred = labelsOf(options.preference);
  }

  get #preference(): readonly (readonly [string, string])[] {
    const { preference } = this.#options;
    if (preference !== this.#preferred.preference) this.#preferred = labelsOf(preference);
    return this.#preferred.labels;
  }

  /**
   * @param backends at least one: the backends of the route that have not been tried
   * @returns an empty list if the route refuses backends that are down
   */
  among(route: Route, backends: readonly Backend[]): readonly Backend[] {
    const isUsual = route.healthCheck === undefined && route.failover === undefined;
    // Returned without an allocation.
    if (isUsual && backends.every((backend) => this.#isPlain(backend))) return backends;
    const up = backends.filter((backend) => backend.healthy && !this.#isDown(route, backend));
    const trusted = up.filter(({ address }) => !this.#options.outliers.isEjected(address));
    if (trusted.length > 0) return this.#warm(route, this.#first(trusted, this.#priorities(route)));
    if (up.length > 0) return this.#first(up);
    if (route.healthCheck?.whenAllDown === 'refuse')
      return this.#first(backends.filter((backend) => !this.#isDown(route, backend)));
    const healthy = backends.filter((backend) => backend.healthy);
    return this.#first(healthy.length > 0 ? healthy : backends);
  }

  /** Priorities in order of use; lowest first when absent. Considers all backends of the route, tried ones too. */
  #priorities(route: Route): readonly number[] | undefined {
    if (route.failover === undefined) return undefined;
    return this.#options.failover.order(route, (backend) => {
      return backend.healthy && !this.#isDown(route, backend) && !this.#options.outliers.isEjected(backend.address);
    });
  }

  #isPlain(backend: Backend): boolean {
    const { healthy, address, priority, labels } = backend;
    const isNear = labels === undefined || this.#preference.length === 0;
    return healthy && priority === undefined && isNear && !this.#options.outliers.isEjected(address);
  }

  #isDown({ healthCheck }: Route, { address }: Backend): boolean {
    return healthCheck !== undefined && this.#options.health.isDown(healthCheck, address);
  }

  /** Skips backends in slow start for a share of the connections. */
  #warm({ healthCheck }: Route, backends: readonly Backend[]): readonly Backend[] {
    if (healthCheck?.slowStartMs === undefined) return backends;
    const { health, random } = this.#options;
    const warm = backends.filter(({ address }) => {
      const share = health.share(healthCheck, address);
      return share >= 1 || random() < share;
    });
    return warm.length > 0 ? warm : backends;
  }

  #first(backends: readonly Backend[], priorities?: readonly number[]): readonly Backend[] {
    const used =
      priorities?.find((one) => backends.some(({ priority = 0 }) => priority === one)) ??
      backends.reduce((least, { priority = 0 }) => Math.min(least, priority), Infinity);
    const first = backends.filter(({ priority = 0 }) => priority === used);
    return nearestOf(first, this.#preference);
  }
}

/** Returns the backends with the first label, if there are any; of these the ones with the second, and so on. Pure. */
export function nearestOf<One extends Pick<Backend, 'labels'>>(
  backends: readonly One[],
  preferred: readonly (readonly [label: string, value: string])[],
): readonly One[] {
  let nearest = backends;
  for (const [label, value] of preferred) {
    const matching = nearest.filter(({ labels }) => labels?.[label] === value);
    if (matching.length > 0) nearest = matching;
  }
  return nearest;
}

function labelsOf(preference: Preference) {
  return { preference, labels: Object.entries(preference) };
}
