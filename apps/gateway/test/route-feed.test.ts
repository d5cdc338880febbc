import type { Route, RouteSnapshot } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { RouteFeed, RouteIntake } from '../src/workers/route-feed.ts';
import type { RoutesPart } from '../src/workers/route-feed.ts';

function snapshot(version: string, count: number): RouteSnapshot {
  const backends = [{ address: { host: 'b', port: 1 }, weight: 1, healthy: true }];
  const routes = Array.from({ length: count }, (_, index): Route => {
    return { name: `r${index}`, serverNames: [`s${index}.example`], backends };
  });
  return { version, routes, warnings: [`of ${version}`] };
}

/** A worker that accepts a part only when the test says so. */
function slowWorker() {
  const intake = new RouteIntake();
  const parts: RoutesPart[] = [];
  const got: RouteSnapshot[] = [];
  let acknowledge: () => void = () => undefined;
  const feed = new RouteFeed((part) => {
    parts.push(part);
    return new Promise((resolve) => (acknowledge = resolve));
  });
  /** Until no more parts arrive. */
  const takeAll = async (): Promise<void> => {
    for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
      const complete = intake.take(part);
      if (complete !== undefined) got.push(complete);
      acknowledge();
      await new Promise((resolve) => setImmediate(resolve));
    }
  };
  return { feed, parts, got, takeAll };
}

describe('snapshots in transit to a worker', () => {
  it('arrive unchanged, also without a route', async () => {
    const { feed, got, takeAll } = slowWorker();
    const logged = [snapshot('large', 1_000), snapshot('empty', 0)];
    for (const [index, one] of logged.entries()) feed.offer(`source ${index}`, one);
    await takeAll();
    expect(got).toEqual(logged);
  });

  it('arrive in small parts, each after the last is acknowledged', async () => {
    const { feed, parts, takeAll } = slowWorker();
    feed.offer('a', snapshot('1', 1_000));
    await new Promise((resolve) => setImmediate(resolve));
    expect(parts.map(({ routes }) => routes.length)).toEqual([200]);
    await takeAll();
  });

  it('of a source that keeps changing are the one in transit and the newest; intermediate ones are dropped', async () => {
    const { feed, got, takeAll } = slowWorker();
    for (const version of ['1', '2', '3', '4']) feed.offer('a', snapshot(version, 300));
    feed.offer('b', snapshot('of b', 1));
    await takeAll();
    expect(got.map(({ version }) => version)).toEqual(['1', '4', 'of b']);
    feed.offer('a', snapshot('5', 1));
    await takeAll();
    expect(got.at(-1)).toEqual(snapshot('5', 1));
  });
});
