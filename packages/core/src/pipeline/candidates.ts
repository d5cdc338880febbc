import type { BackendHealth } from '../health/backend-health.ts';
import type { Backend, Route } from '../routes/route.ts';
import type { FailoverGroups } from './failover-groups.ts';
import type { Outliers } from './outliers.ts';

/** Labels of backends, in the order of their importance: `{ zone: 'a' }`. */
export type Preference = Readonly<Record<string, string>>;

/** What {@link Candidates} go by. */
export interface CandidatesOptions {
  readonly outliers: Outliers;
  readonly health: BackendHealth;
  /** Asked at each choice among labelled backends: a reload may change it. */
  readonly preference: Preference;
  readonly failover: FailoverGroups;
  /** In [0, 1). */
  random(): number;
}

/**
 * Among which backends the next one is chosen: those that are healthy, up by their checks and not ejected; else those that are healthy and
 * up; else all. Of these the lowest priority, and of these the nearest. All of this orders the dials; it forbids one only where a route
 * says so, when all of its backends are down.
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
   * @param backends at least one: those of the route that were not tried yet
   * @returns none when the route refuses to use what is down
   */
  among(route: Route, backends: readonly Backend[]): readonly Backend[] {
    const isUsual = route.healthCheck === undefined && route.failover === undefined;
    // And nothing is made for it.
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

  /** In the order of use; lower first when absent. All backends of the route count, those tried before too. */
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

  /** A backend that starts slowly is passed over for a part of the connections. */
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

/** Of `backends` those with the first of the labels, where there are any; of these those with the second, and so on. Pure. */
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
