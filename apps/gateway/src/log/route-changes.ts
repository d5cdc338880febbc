import type { Route, RouteSnapshot } from '@meshgate/core';

/** The differences between a snapshot and the previous one of its source. */
export interface RouteChanges {
  readonly appeared: BoundedList<string>;
  readonly vanished: BoundedList<string>;
  /** Routes in both snapshots with another number of backends or healthy backends. */
  readonly health: BoundedList<HealthChange>;
}

/** The total number, and the first {@link MAX_LISTED} elements. */
export interface BoundedList<T> {
  readonly count: number;
  readonly first: readonly T[];
}

/** Health of a route in both snapshots. */
export interface HealthChange {
  readonly route: string;
  readonly was: RouteHealth;
  readonly is: RouteHealth;
}

/** Numbers of backends. */
interface RouteHealth {
  readonly healthy: number;
  readonly total: number;
}

/** Enough for an overview; a replaced catalog has thousands. */
export const MAX_LISTED = 20;

/** Compares two snapshots of a source. Pure. */
export function routeChanges(previous: RouteSnapshot, snapshot: RouteSnapshot): RouteChanges {
  const known = KNOWN.get(snapshot);
  if (known?.previous === previous) return known.changes;
  const changes = compared(previous.routes, snapshot.routes);
  KNOWN.set(snapshot, { previous, changes });
  return changes;
}

/** Whether two snapshots have the very same routes, so that only their warnings can differ. Pure. */
export function haveSameRoutes(previous: RouteSnapshot, { routes }: RouteSnapshot): boolean {
  return previous.routes.length === routes.length && previous.routes.every((route, index) => route === routes[index]);
}

/** Cached, because several readers request the same comparison. */
const KNOWN = new WeakMap<RouteSnapshot, { readonly previous: RouteSnapshot; readonly changes: RouteChanges }>();

function compared(previous: readonly Route[], current: readonly Route[]): RouteChanges {
  const before = new Map(previous.map((route) => [route.name, route]));
  const appeared = new List<string>();
  const health = new List<HealthChange>();
  for (const route of current) {
    const old = before.get(route.name);
    before.delete(route.name);
    if (old === undefined) appeared.add(() => route.name);
    else if (old !== route) addHealth(health, old, route);
  }
  const vanished = new List<string>();
  for (const name of before.keys()) vanished.add(() => name);
  return { appeared, vanished, health };
}

function addHealth(list: List<HealthChange>, old: Route, route: Route): void {
  const [was, is] = [healthOf(old), healthOf(route)];
  if (was.healthy !== is.healthy || was.total !== is.total) list.add(() => ({ route: route.name, was, is }));
}

function healthOf({ backends }: Route): RouteHealth {
  return { healthy: backends.reduce((sum, { healthy }) => sum + (healthy ? 1 : 0), 0), total: backends.length };
}

class List<T> implements BoundedList<T> {
  count = 0;
  readonly first: T[] = [];

  add(item: () => T): void {
    this.count += 1;
    if (this.first.length < MAX_LISTED) this.first.push(item());
  }
}
