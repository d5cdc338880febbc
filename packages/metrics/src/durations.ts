import { Histogram } from 'prom-client';
import type { ConstantLabels, LabeledRegistry } from './labeled-registry.ts';
import type { Label, MetricDefinition } from './metrics.ts';
import { SeriesByLabels } from './series-by-labels.ts';
import type { LabelValues } from './series-by-labels.ts';

/** A histogram with the labels `L` in the table of metrics. */
interface HistogramDefinition<L extends Label> extends MetricDefinition {
  readonly type: 'histogram';
  readonly labels: readonly L[];
  readonly buckets: readonly number[];
}

/**
 * One series of a histogram. The hot path only touches plain fields, since prom-client builds a key of all labels in
 * every call.
 */
export interface DurationCell {
  /**
   * @param ms duration in milliseconds
   */
  observe(ms: number): void;
}

/** A histogram of durations: recorded in milliseconds, exported in seconds. */
export class Durations<L extends Label> {
  readonly #series = new SeriesByLabels<L, HistogramSeries>();
  readonly #buckets: Buckets;
  readonly #constant: ConstantLabels;

  constructor(definition: HistogramDefinition<L>, registry: LabeledRegistry) {
    const { buckets } = definition;
    this.#buckets = { bounds: buckets, keys: buckets.map(String) };
    this.#constant = registry.labels;
    registry.add(
      definition,
      (settings) => new Histogram({ ...settings, buckets: [...buckets] }),
      () => this.#series.all,
    );
  }

  /** Returns the series with these labels: the same object until it is dropped. */
  cell(labels: LabelValues<L>): DurationCell {
    return this.#series.of(labels, () => new HistogramSeries({ ...labels, ...this.#constant }, this.#buckets));
  }

  /** Drops the series with these labels. A cell that is still referenced is no longer exported. */
  drop(labels: LabelValues<L>): void {
    this.#series.dropOf(labels);
  }
}

/** Upper bounds in seconds, ascending, and the same as property names. */
interface Buckets {
  readonly bounds: readonly number[];
  readonly keys: readonly string[];
}

/** One series, in prom-client's export format. */
class HistogramSeries implements DurationCell {
  readonly labels: Readonly<Record<string, string>>;
  /** Counts per bucket, not cumulative. */
  readonly bucketValues: Record<string, number>;
  /** Sum in seconds. */
  sum = 0;
  count = 0;
  readonly #buckets: Buckets;

  constructor(labels: Readonly<Record<string, string>>, buckets: Buckets) {
    this.labels = labels;
    this.#buckets = buckets;
    this.bucketValues = Object.fromEntries(buckets.keys.map((key) => [key, 0]));
  }

  observe(ms: number): void {
    const { bounds, keys } = this.#buckets;
    const seconds = ms / 1000;
    const key = keys[bounds.findIndex((bound) => seconds <= bound)];
    if (key !== undefined) this.bucketValues[key] = (this.bucketValues[key] ?? 0) + 1;
    this.sum += seconds;
    this.count += 1;
  }
}
