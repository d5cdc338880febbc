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

/** A counter or gauge whose series are {@link MetricCell}s, in the form in which prom-client keeps them: a scrape copies nothing. */
export class CellFamily<L extends Label> {
  readonly #series: Record<string, LabeledCell<L>> = {};

  /**
   * @param definition a row of the table
   * @param registry where the metric is registered
   * @param sample brings the cells up to date before each scrape; absent when they always are
   */
  constructor({ type, name, help, labels }: CellDefinition<L>, registry: Registry, sample?: () => void) {
    const collect = (): void => {
      sample?.();
      // It keeps its series there, by a key of their labels. Not declared, like what the text of a scrape is made of.
      Object.assign(metric, { hashMap: this.#series });
    };
    const settings = { name, help, labelNames: labels, registers: [registry], collect };
    const metric = type === 'counter' ? new Counter(settings) : new Gauge(settings);
  }

  /** The series of these labels, 0 at first: the same one until it is dropped. */
  cell(labels: LabelValues<L>): MetricCell {
    return (this.#series[JSON.stringify(labels)] ??= { labels, value: 0 });
  }

  /** Forgets the series whose labels satisfy `gone`. A cell of them that is still held is no longer exported. */
  drop(gone: (labels: LabelValues<L>) => boolean): void {
    for (const [key, { labels }] of Object.entries(this.#series)) if (gone(labels)) delete this.#series[key];
  }
}
