import type { Observer } from '../observe.ts';
import type { Backend, Failover, Route } from '../routes/route.ts';

/** So many routes fail over at once only in a complete outage; beyond it, the oldest state is dropped. */
const MAX_REMEMBERED = 10_000;

/** State of a priority group that was out of service. */
interface GroupState {
  /** Time of its recovery: enough healthy backends, in milliseconds of the monotonic clock; absent until then. */
  goodSince: number | undefined;
}

/** State of a route, by its name: a reload replaces the route, but does not end a failover. */
interface RouteState {
  readonly groups: Map<number, GroupState>;
  /** Priority of the group used last. */
  used: number;
  /** How long a group is held back after its recovery, in milliseconds. */
  returnAfterMs: number;
}

/** A priority group that was out of service and is still held back. */
export interface HeldGroup {
  /** Name of the route. */
  readonly route: string;
  /** Priority of the group. */
  readonly priority: number;
  /** Remaining time, in milliseconds; the full time if no connection has found the group recovered. */
  readonly forMs: number;
}

/**
 * Selects the priority group of a route with `failover`: the lowest with enough healthy backends, and with enough time
 * since its recovery if it was out of service. If no group qualifies, the order is the one without `failover`.
 */
export class FailoverGroups {
  readonly #observer: Observer;
  readonly #routes = new Map<string, RouteState>();

  constructor(observer: Observer) {
    this.#observer = observer;
  }

  /** Groups that are held back, whether recovered or not. */
  get held(): readonly HeldGroup[] {
    const now = performance.now();
    return Array.from(this.#routes, ([route, { groups, returnAfterMs }]) =>
      Array.from(groups, ([priority, { goodSince = now }]) => {
        return { route, priority, forMs: returnAfterMs - (now - goodSince) };
      }).filter(({ forMs }) => forMs > 0),
    ).flat();
  }

  /**
   * Returns the priorities of a route in order of use.
   *
   * @param isTrusted whether a backend is healthy, up and not ejected
   */
  order(route: Route, isTrusted: (backend: Backend) => boolean): readonly number[] {
    const groups = priorityGroups(route.backends, isTrusted);
    const state = this.#routes.get(route.name);
    const ranks = new Map(Array.from(groups, ([priority, group]) => [priority, this.#rank(route, priority, group)]));
    const ordered = [...groups.keys()].toSorted((a, b) => (ranks.get(a) ?? 0) - (ranks.get(b) ?? 0) || a - b);
    this.#remember(route, ordered[0] ?? 0, state);
    return ordered;
  }

  /** 0: usable. 1: recovered, but held back. 2: too few healthy backends. */
  #rank({ name, failover }: Route, priority: number, group: PriorityGroup): 0 | 1 | 2 {
    const { returnAfterMs = 0 } = failover ?? {};
    const known = this.#routes.get(name)?.groups.get(priority);
    if (!isInService(group, failover)) {
      this.#stateOf(name).groups.set(priority, { goodSince: undefined });
      return 2;
    }
    if (known === undefined) return 0;
    const now = performance.now();
    known.goodSince ??= now;
    if (now - known.goodSince < returnAfterMs) return 1;
    this.#routes.get(name)?.groups.delete(priority);
    return 0;
  }

  #remember(route: Route, used: number, before: RouteState | undefined): void {
    const lowest = Math.min(...route.backends.map(({ priority = 0 }) => priority));
    const previous = before?.used ?? lowest;
    const state = this.#routes.get(route.name);
    if (state !== undefined) {
      state.used = used;
      state.returnAfterMs = route.failover?.returnAfterMs ?? 0;
    }
    if (used !== previous) this.#observer.observe({ type: 'route.failover', route, priority: used, previous });
    if (state?.groups.size === 0) this.#routes.delete(route.name);
  }

  #stateOf(name: string): RouteState {
    const known = this.#routes.get(name);
    if (known !== undefined) return known;
    const [oldest] = this.#routes.keys();
    if (oldest !== undefined && this.#routes.size >= MAX_REMEMBERED) this.#routes.delete(oldest);
    const state: RouteState = { groups: new Map(), used: 0, returnAfterMs: 0 };
    this.#routes.set(name, state);
    return state;
  }
}

/** Size and health of one priority group. */
export interface PriorityGroup {
  /** Number of backends. */
  readonly size: number;
  /** Number of healthy backends. */
  readonly healthy: number;
}

/** Groups `backends` by priority (0 when absent), in order of first appearance. Pure. */
export function priorityGroups<One extends Pick<Backend, 'priority'>>(
  backends: readonly One[],
  isTrusted: (backend: One) => boolean,
): ReadonlyMap<number, PriorityGroup> {
  const groups = new Map<number, PriorityGroup>();
  for (const backend of backends) {
    const { priority = 0 } = backend;
    const { size, healthy } = groups.get(priority) ?? { size: 0, healthy: 0 };
    groups.set(priority, { size: size + 1, healthy: healthy + (isTrusted(backend) ? 1 : 0) });
  }
  return groups;
}

/** Whether a group has the required number of healthy backends, or all backends of a smaller group. Pure. */
export function isInService({ healthy, size }: PriorityGroup, { minHealthy = 1 }: Partial<Failover> = {}): boolean {
  return healthy >= Math.min(minHealthy, size);
}
