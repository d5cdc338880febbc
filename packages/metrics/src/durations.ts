import { Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { LabelValues } from './family.ts';
import type { Label, MetricDefinition } from './metrics.ts';

/** A row of the table that is a histogram with the labels `L`. */
interface HistogramDefinition<L extends Label> extends MetricDefinition {
  readonly type: 'histogram';
  readonly labels: readonly L[];
  readonly buckets: readonly number[];
}

/** A histogram as the table describes it, of durations that are handed over in milliseconds. */
export class Durations<L extends Label> {
  readonly #histogram: Histogram<L>;

  constructor({ name, help, labels, buckets }: HistogramDefinition<L>, registry: Registry) {
    this.#histogram = new Histogram({ name, help, labelNames: labels, buckets: [...buckets], registers: [registry] });
  }

  observe(labels: LabelValues<L>, ms: number): void {
    this.#histogram.observe(labels, ms / 1000);
  }

  drop(labels: LabelValues<L>): void {
    this.#histogram.remove(labels);
  }
}
