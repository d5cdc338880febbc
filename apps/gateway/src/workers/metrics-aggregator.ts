import { setImmediate as nextTurn } from 'node:timers/promises';
import { Registry } from 'prom-client';
import type { Metric, MetricValue } from 'prom-client';
import type { MetricFamily } from './messages.ts';

/**
 * Sums the metrics of all processes. The last values of a worker count until newer ones arrive, even while it does not
 * respond and after it has exited, so that counters never decrease.
 *
 * With thousands of routes there are hundreds of thousands of values: families arrive in parts, several of which may
 * have the same name, and each turn of the event loop sums at most one part.
 */
export class MetricsAggregator<Worker> {
  readonly #last = new Map<Worker, readonly MetricFamily[]>();
  #retired: readonly MetricFamily[] = [];
  /** Runs changes one after the other. */
  #changing: Promise<void> = Promise.resolve();

  /** Replaces the values of `worker`. */
  update(worker: Worker, families: readonly MetricFamily[]): void {
    this.#last.set(
      worker,
      families.filter(({ name }) => !name.startsWith(OF_THE_PRIMARY)),
    );
  }

  /** Keeps the counters of a worker that has exited, and removes its gauges. */
  retire(worker: Worker): Promise<void> {
    return this.#next(async () => {
      const counted = (this.#last.get(worker) ?? []).filter(({ type }) => COUNTING.has(String(type)));
      const retired = await summed([...this.#retired, ...counted]);
      this.#last.delete(worker);
      this.#retired = retired;
    });
  }

  /** Removes the series of routes that are no longer in any source, as the workers do. */
  removed(routes: readonly string[]): Promise<void> {
    return this.#next(async () => {
      if (routes.length === 0) return;
      const gone = new Set(routes);
      this.#retired = await without(gone, this.#retired);
      for (const [worker, families] of this.#last) this.#last.set(worker, await without(gone, families));
    });
  }

  /** Returns the sums. @param own the primary's metrics */
  async total(own: readonly MetricFamily[]): Promise<Registry> {
    const registry = new Registry();
    const families = [...own, ...Array.from(this.#last.values()).flat(), ...this.#retired];
    for (const family of await summed(families)) registry.registerMetric(asMetric(family));
    return registry;
  }

  #next(change: () => Promise<void>): Promise<void> {
    this.#changing = this.#changing.then(change);
    return this.#changing;
  }
}

async function without(gone: ReadonlySet<string>, families: readonly MetricFamily[]): Promise<readonly MetricFamily[]> {
  const remaining: MetricFamily[] = [];
  for (const family of families) {
    remaining.push({
      ...family,
      values: family.values.filter(({ labels }) => !gone.has(String(labels['route'] ?? ''))),
    });
    await nextTurn();
  }
  return remaining;
}

/** Metrics for which only the primary's values count; those of workers are copies. */
const OF_THE_PRIMARY = 'meshgate_source_';

const COUNTING: ReadonlySet<string> = new Set(['counter', 'histogram']);

/**
 * Rounds values to a fixed step. Such sums are exact in any order, up to 2^33 seconds. Otherwise the last digits would
 * depend on the order, which changes when a worker exits: a scraper takes a sum that decreases by its last digit for a
 * restart.
 */
function exactlyAddable(value: number, isCounting: boolean): number {
  return isCounting ? Math.floor(value * STEPS) / STEPS : value;
}

/** About a microsecond, for values in seconds. */
const STEPS = 2 ** 20;

/** Aggregation of gauges for which a sum is meaningless. For all others, prom-client's own or the sum is right. */
const AGGREGATORS: Readonly<Record<string, string>> = {
  meshgate_build_info: 'first',
  // A single worker with an unbound or paused listener must cause an alert.
  meshgate_listener_up: 'min',
  meshgate_listener_paused: 'max',
  meshgate_draining: 'max',
  meshgate_backends_ejected: 'max',
  process_start_time_seconds: 'min',
};

/**
 * Combines the values of a series, by prom-client's name of the aggregation. `count` values are already in `before`.
 */
const JOINED: Readonly<Record<string, (before: number, value: number, count: number) => number>> = {
  sum: (before, value) => before + value,
  first: (before) => before,
  min: (before, value) => Math.min(before, value),
  max: (before, value) => Math.max(before, value),
  average: (before, value, count) => before + (value - before) / (count + 1),
};

/** An aggregated family. */
interface Sum {
  readonly family: MetricFamily;
  readonly join: ((before: number, value: number, count: number) => number) | undefined;
  readonly series: Map<string, { readonly first: MetricValue<string>; value: number; count: number }>;
}

async function summed(parts: readonly MetricFamily[]): Promise<readonly MetricFamily[]> {
  const sums = new Map<string, Sum>();
  for (const part of parts) {
    add(part, sums);
    await nextTurn();
  }
  return Array.from(sums.values())
    .filter(({ join }) => join !== undefined)
    .map(({ family, series }) => ({
      ...family,
      values: Array.from(series.values(), ({ first, value }) => ({ ...first, value })),
    }));
}

function add(part: MetricFamily, sums: Map<string, Sum>): void {
  const { name, type, aggregator } = part;
  const isCounting = COUNTING.has(String(type));
  const sum: Sum = sums.get(name) ?? { family: part, join: JOINED[AGGREGATORS[name] ?? aggregator], series: new Map() };
  sums.set(name, sum);
  for (const one of part.values) {
    const key = keyOf(one);
    const value = exactlyAddable(one.value, isCounting);
    const before = sum.series.get(key);
    if (before === undefined) sum.series.set(key, { first: one, value, count: 1 });
    else {
      before.value = sum.join?.(before.value, value, before.count) ?? before.value;
      before.count += 1;
    }
  }
}

/** Processes of one version have their labels in the same order. */
function keyOf({ metricName = '', labels }: MetricValue<string> & { readonly metricName?: string }): string {
  return `${metricName} ${JSON.stringify(labels)}`;
}

/** Number of lines that are written per entry of {@link asMetric}. */
const VALUES_PER_ENTRY = 10;

/**
 * Returns the form that a registry serialises. It may rename the metric, and reads its values, also in a copy with some
 * of the entries.
 */
function asMetric({ values, ...family }: MetricFamily): Metric {
  const entries = Array.from({ length: Math.ceil(values.length / VALUES_PER_ENTRY) }, (_, index) =>
    values.slice(index * VALUES_PER_ENTRY, (index + 1) * VALUES_PER_ENTRY),
  );
  const metric = {
    ...family,
    hashMap: Object.fromEntries(entries.entries()),
    get(this: { readonly name: string; readonly hashMap: Readonly<Record<string, MetricFamily['values']>> }) {
      return Promise.resolve({ ...family, name: this.name, values: Object.values(this.hashMap).flat() });
    },
  };
  // The registry uses no other members of a metric; its type has the four metric classes.
  return metric as unknown as Metric;
}
