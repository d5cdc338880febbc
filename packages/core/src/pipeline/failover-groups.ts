import type { Observer } from '../observe.ts';
import type { Backend, Failover, Route } from '../routes/route.ts';

/** More routes than this are failed over at once only where all of the world is down: then the oldest are forgotten. */
const MAX_REMEMBERED = 10_000;

/** One priority group of a route, as far as it was out of service. */
interface GroupState {
  /** When it had enough healthy backends again, in milliseconds of the monotonic clock; absent while it has not. */
  goodSince: number | undefined;
}

/** What is remembered of a route, by its name: a reload makes a new route, and ends no failover. */
interface RouteState {
  readonly groups: Map<number, GroupState>;
  /** The group that was last used. */
  used: number;
  /** How long a group that was out of service is held back, in milliseconds. */
  returnAfterMs: number;
}

/** A priority group that has failed, and is not used again before it has been well for long enough. */
export interface HeldGroup {
  /** Name of the route. */
  readonly route: string;
  /** Of its backends. */
  readonly priority: number;
  /** How much longer, in milliseconds; all of the time when no connection has found it well yet. */
  readonly forMs: number;
}

/**
 * Which priority group a route with `failover` uses: the lowest that has enough healthy backends, and has had them for long enough when it
 * was out of service before. When there is none, the order is as without `failover`.
 */
export class FailoverGroups {
  readonly #observer: Observer;
  readonly #routes = new Map<string, RouteState>();

  constructor(observer: Observer) {
    this.#observer = observer;
  }

  /** Groups that are held back, whether or not they are well at the moment. */
  get held(): readonly HeldGroup[] {
    const now = performance.now();
    return Array.from(this.#routes, ([route, { groups, returnAfterMs }]) =>
      Array.from(groups, ([priority, { goodSince = now }]) => {
        return { route, priority, forMs: returnAfterMs - (now - goodSince) };
      }).filter(({ forMs }) => forMs > 0),
    ).flat();
  }

  /**
   * Priorities in the order in which they are to be used.
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

  /** 0: to be used. 1: good, and held back since it was not. 2: too few healthy backends. */
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

/** The backends of one priority. */
export interface PriorityGroup {
  /** How many there are. */
  readonly size: number;
  /** How many of them can be trusted. */
  readonly healthy: number;
}

/** `backends` by their priority, 0 when absent, in the order of their first. Pure. */
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

/** Whether a group has as many healthy backends as its route wants, or all that it has. Pure. */
export function isInService({ healthy, size }: PriorityGroup, { minHealthy = 1 }: Partial<Failover> = {}): boolean {
  return healthy >= Math.min(minHealthy, size);
}
