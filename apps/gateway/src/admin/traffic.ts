import { setImmediate as nextTurn } from 'node:timers/promises';
import { METRICS } from '@meshgate/metrics';
import type { Registry } from 'prom-client';

/** Counters of connections since the start, read from the metrics. */
export interface Traffic {
  readonly accepted: number;
  readonly refused: number;
  /** Counters by route, for routes with connections. The empty name counts connections that reached no route. */
  readonly routes: Readonly<Record<string, RouteTraffic>>;
}

/** Counters of one route's connections. */
export interface RouteTraffic {
  /** Number of live connections. */
  readonly active: number;
  readonly closed: number;
  readonly bytesUp: number;
  readonly bytesDown: number;
  /** Numbers of connections that ended with an error, by code. */
  readonly errors: Readonly<Record<string, number>>;
}

interface MutableTraffic {
  active: number;
  closed: number;
  bytesUp: number;
  bytesDown: number;
  readonly errors: Record<string, number>;
}

/** Reads only the required metrics, since histograms of thousands of routes take long. */
export async function trafficOf(registry: Registry): Promise<Traffic> {
  const routes: Record<string, MutableTraffic> = Object.create(null) as Record<string, MutableTraffic>;
  const at = (name = ''): MutableTraffic =>
    (routes[name] ??= { active: 0, closed: 0, bytesUp: 0, bytesDown: 0, errors: {} });
  for (const { labels, value } of await seriesOf(registry, METRICS.active.name)) at(labels['route']).active += value;
  for (const { labels, value } of await seriesOf(registry, METRICS.closed.name)) {
    const { route, code = '' } = labels;
    const traffic = at(route);
    traffic.closed += value;
    if (code !== WELL_ENDED && value > 0) traffic.errors[code] = (traffic.errors[code] ?? 0) + value;
  }
  for (const { labels, value } of await seriesOf(registry, METRICS.bytes.name))
    at(labels['route'])[labels['direction'] === 'up' ? 'bytesUp' : 'bytesDown'] += value;
  return {
    accepted: total(await seriesOf(registry, METRICS.accepted.name)),
    refused: total(await seriesOf(registry, METRICS.refused.name)),
    routes,
  };
}

/** Sums the counters of several processes. Pure. */
export function addedUp(list: readonly Traffic[]): Traffic {
  const routes: Record<string, MutableTraffic> = Object.create(null) as Record<string, MutableTraffic>;
  for (const { routes: some } of list) {
    for (const [name, one] of Object.entries(some)) {
      const sum = (routes[name] ??= { active: 0, closed: 0, bytesUp: 0, bytesDown: 0, errors: {} });
      for (const key of ['active', 'closed', 'bytesUp', 'bytesDown'] as const) sum[key] += one[key];
      for (const [code, count] of Object.entries(one.errors)) sum.errors[code] = (sum.errors[code] ?? 0) + count;
    }
  }
  const sumOf = (key: 'accepted' | 'refused'): number => list.reduce((sum, one) => sum + one[key], 0);
  return { accepted: sumOf('accepted'), refused: sumOf('refused'), routes };
}

interface TrafficSeries {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** Reads a metric after a turn of the event loop, because one with ten thousand routes takes 10 ms. */
async function seriesOf(registry: Registry, name: string): Promise<readonly TrafficSeries[]> {
  await nextTurn();
  const metric = await registry.getSingleMetric(name)?.get();
  // The labels have the general type of all metrics.
  return (metric?.values ?? []) as readonly TrafficSeries[];
}

function total(series: readonly TrafficSeries[]): number {
  return series.reduce((sum, { value }) => sum + value, 0);
}

/** Code of a connection that ended without an error. */
const WELL_ENDED = 'OK';
