import type { Metric } from 'prom-client';
import type { LabeledRegistry, MetricSettings } from './labeled-registry.ts';
import type { LabelValues } from './series-by-labels.ts';
import type { Label, MetricDefinition } from './metrics.ts';

/** One series at the moment of a scrape. */
export interface Sample<L extends Label> {
  /** One value for each label. */
  readonly labels: LabelValues<L>;
  /** Its current value. */
  readonly value: number;
}

/**
 * Registers a gauge whose series are computed at each scrape and not stored: prom-client would build a key for each of
 * thousands, and keep removed ones.
 *
 * @param samples must not return the same labels twice
 */
export function sampledFamily<L extends Label>(
  definition: MetricDefinition & { readonly type: 'gauge'; readonly labels: readonly L[] },
  registry: LabeledRegistry,
  samples: () => Iterable<Sample<L>>,
): void {
  registry.add(definition, sampledMetric, () =>
    Object.fromEntries(
      Array.from(samples(), ({ labels, value }, index) => [
        index,
        { labels: { ...labels, ...registry.labels }, value },
      ]),
    ),
  );
}

function sampledMetric({ registers, ...settings }: MetricSettings): Metric {
  const metric = {
    ...settings,
    type: 'gauge',
    aggregator: 'sum',
    hashMap: {},
    get(this: Gathered) {
      this.collect?.();
      const { name, help, type, aggregator, hashMap } = this;
      return Promise.resolve({ name, help, type, aggregator, values: Object.values(hashMap) });
    },
    reset: () => undefined,
    // The registry uses no other members of a metric; its type is that of the four classes.
  } as unknown as Metric;
  for (const registry of registers) registry.registerMetric(metric);
  return metric;
}

/** The receiver of `get`: the metric, or a part of it with some of its series. */
interface Gathered {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator: string;
  readonly hashMap: object;
  collect?(): void;
}
