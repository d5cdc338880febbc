import { METRICS } from '@meshgate/metrics';
import { AggregatorRegistry, Registry } from 'prom-client';
import type { Metric } from 'prom-client';
import type { MetricFamily } from './messages.ts';

/**
 * Adds up the metrics of all processes. The last values of a worker count until newer ones come, also while it does not respond and
 * after it has died, so that no counter ever goes down.
 */
export class MetricsAggregator<Worker> {
  readonly #last = new Map<Worker, readonly MetricFamily[]>();
  #retired: readonly MetricFamily[] = [];
  /** Changes run one after the other. */
  #changing: Promise<void> = Promise.resolve();

  /** All current values of `worker`. */
  update(worker: Worker, families: readonly MetricFamily[]): void {
    this.#last.set(worker, families.filter(({ name }) => !name.startsWith(OF_THE_PRIMARY)).map(exactlyAddable));
  }

  /** `worker` has exited: its counters stay, its gauges go. */
  retire(worker: Worker): Promise<void> {
    return this.#next(async () => {
      const counted = (this.#last.get(worker) ?? []).filter(({ type }) => COUNTING.has(String(type)));
      const retired = await summed([this.#retired, counted]);
      this.#last.delete(worker);
      this.#retired = retired;
    });
  }

  /** No source has these routes any more: their series go, as they do in the workers. */
  removed(routes: readonly string[]): Promise<void> {
    return this.#next(() => {
      if (routes.length === 0) return;
      const gone = new Set(routes);
      this.#retired = without(gone, this.#retired);
      for (const [worker, families] of this.#last) this.#last.set(worker, without(gone, families));
    });
  }

  /** @param own of the primary */
  async total(own: readonly MetricFamily[]): Promise<Registry> {
    const registry = new Registry();
    const alone = own.filter(({ name }) => PER_ROUTE.has(name));
    const others = own.filter((family) => !alone.includes(family)).map(exactlyAddable);
    for (const family of [...(await summed([others, ...this.#last.values(), this.#retired])), ...alone])
      registry.registerMetric(asMetric(family));
    return registry;
  }

  #next(change: () => Promise<void> | void): Promise<void> {
    this.#changing = this.#changing.then(change);
    return this.#changing;
  }
}

function without(gone: ReadonlySet<string>, families: readonly MetricFamily[]): readonly MetricFamily[] {
  return families.map((family) => ({
    ...family,
    values: family.values.filter(({ labels }) => !gone.has(String(labels['route'] ?? ''))),
  }));
}

/** Of these the primary alone knows the truth; workers only repeat it. */
const OF_THE_PRIMARY = 'meshgate_source_';

/** Of these nobody else has any: with thousands of routes, adding them up would take longer than everything else. */
const PER_ROUTE: ReadonlySet<string> = new Set([METRICS.routeBackends.name, METRICS.routeBackendsHealthy.name]);

const COUNTING: ReadonlySet<string> = new Set(['counter', 'histogram']);

/**
 * With every value of what counts as a whole number of steps. Sums of those are exact in any order, up to 2^33 seconds; of others the
 * last digits depend on the order, which changes when a worker ends: a sum that goes down by its last digit is, to whoever scrapes, a
 * process that started anew.
 */
function exactlyAddable(family: MetricFamily): MetricFamily {
  if (!COUNTING.has(String(family.type))) return family;
  return {
    ...family,
    values: family.values.map((series) => ({ ...series, value: Math.floor(series.value * STEPS) / STEPS })),
  };
}

/** To a second: each is about a microsecond. */
const STEPS = 2 ** 20;

/** How gauges of which a sum says nothing come together; of all others, prom-client knows, or the sum is right. */
const AGGREGATORS: Readonly<Record<string, string>> = {
  meshgate_build_info: 'first',
  // One that is not bound is worth an alarm, one that pauses too.
  meshgate_listener_up: 'min',
  meshgate_listener_paused: 'max',
  meshgate_draining: 'max',
  meshgate_backends_ejected: 'max',
  process_start_time_seconds: 'min',
};

async function summed(lists: readonly (readonly MetricFamily[])[]): Promise<readonly MetricFamily[]> {
  const named = lists.map((families) =>
    families.map((family) => ({ ...family, aggregator: AGGREGATORS[family.name] ?? family.aggregator })),
  );
  return AggregatorRegistry.aggregate(named).getMetricsAsJSON();
}

/** In the form that a registry writes out: it may call the metric by another name, and asks it for its values. */
function asMetric(family: MetricFamily): Metric {
  const metric = {
    ...family,
    hashMap: Object.fromEntries(family.values.map((series, index) => [index, series])),
    get(this: Pick<MetricFamily, 'name'> & { readonly hashMap: Readonly<Record<string, unknown>> }) {
      return Promise.resolve({ ...family, name: this.name, values: Object.values(this.hashMap) });
    },
  };
  // The registry uses nothing else of a metric; its type is that of the four classes.
  return metric as unknown as Metric;
}
