import type { Metric, Registry } from 'prom-client';
import type { LabelValues } from './series-by-labels.ts';
import type { Label, MetricDefinition } from './metrics.ts';

/** One series at the moment of a scrape. */
export interface Sample<L extends Label> {
  /** One value for each label. */
  readonly labels: LabelValues<L>;
  /** What it is now. */
  readonly value: number;
}

/**
 * Registers a gauge whose series are asked for at each scrape and kept nowhere: prom-client would build a key for each of thousands, and
 * remember those that are gone.
 *
 * @param samples no two of them with the same labels
 */
export function sampledFamily<L extends Label>(
  { name, help, labels }: MetricDefinition & { readonly type: 'gauge'; readonly labels: readonly L[] },
  registry: Registry,
  samples: () => Iterable<Sample<L>>,
): void {
  const family = {
    name,
    help,
    type: 'gauge',
    aggregator: 'sum',
    labelNames: labels,
    hashMap: {} as Readonly<Record<string, Sample<L>>>,
    collect(this: { hashMap: Readonly<Record<string, Sample<L>>> }): void {
      this.hashMap = Object.fromEntries(Array.from(samples(), (sample, index) => [index, sample]));
    },
    get(this: Gathered<L>) {
      this.collect?.();
      return Promise.resolve({
        name: this.name,
        help,
        type: 'gauge',
        aggregator: 'sum',
        values: Object.values(this.hashMap),
      });
    },
    reset: () => undefined,
  };
  // The registry uses nothing else of a metric; its type is that of the four classes.
  registry.registerMetric(family as unknown as Metric);
}

/** What `get` is called on: the family, or a part of it whose series have been gathered. */
interface Gathered<L extends Label> {
  readonly name: string;
  readonly hashMap: Readonly<Record<string, Sample<L>>>;
  collect?(): void;
}
