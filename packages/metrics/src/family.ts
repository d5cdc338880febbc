import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Label, MetricDefinition } from './metrics.ts';

/** One value for each of a metric's labels. */
export type LabelValues<L extends Label> = Readonly<Record<L, string>>;

/** The number of one series: plain on the hot path, since prom-client builds a key out of all labels at every single call. */
export interface MetricCell {
  value: number;
}

interface LabeledCell<L extends Label> extends MetricCell {
  readonly labels: LabelValues<L>;
}

/** A row of the table that is a counter or a gauge with the labels `L`. */
interface CellDefinition<L extends Label> extends MetricDefinition {
  readonly type: 'counter' | 'gauge';
  readonly labels: readonly L[];
}

/** A counter or gauge whose series are {@link MetricCell}s; prom-client learns of their values when it is scraped. */
export class CellFamily<L extends Label> {
  readonly #series = new Set<LabeledCell<L>>();

  /**
   * @param definition a row of the table
   * @param registry where the metric is registered
   * @param sample brings the cells up to date before each scrape; absent when they always are
   */
  constructor({ type, name, help, labels }: CellDefinition<L>, registry: Registry, sample?: () => void) {
    const collect = (): void => {
      sample?.();
      this.#copyTo(metric);
    };
    const settings = { name, help, labelNames: labels, registers: [registry], collect };
    const metric = type === 'counter' ? new Counter(settings) : new Gauge(settings);
  }

  /** A new series, 0 at first. The caller keeps it: asking twice for the same labels makes two that are added up. */
  cell(labels: LabelValues<L>): MetricCell {
    const series = { labels, value: 0 };
    this.#series.add(series);
    return series;
  }

  /** Forgets the series whose labels satisfy `gone`. A cell of them that is still held is no longer exported. */
  drop(gone: (labels: LabelValues<L>) => boolean): void {
    for (const series of this.#series) {
      if (gone(series.labels)) this.#series.delete(series);
    }
  }

  #copyTo(metric: Counter<L> | Gauge<L>): void {
    metric.reset();
    for (const { labels, value } of this.#series) metric.inc(labels, value);
  }
}
