import { Counter, Gauge } from 'prom-client';
import type { ConstantLabels, LabeledRegistry } from './labeled-registry.ts';
import type { Label, MetricDefinition } from './metrics.ts';
import { SeriesByLabels } from './series-by-labels.ts';
import type { LabelValues } from './series-by-labels.ts';

/**
 * One series of a counter or gauge. The hot path only touches a plain field, since prom-client builds a key of all
 * labels in every call.
 */
export interface MetricCell {
  value: number;
}

interface LabeledCell<L extends Label> extends MetricCell {
  readonly labels: LabelValues<L>;
}

/** A counter or gauge with the labels `L` in the table of metrics. */
interface CellDefinition<L extends Label> extends MetricDefinition {
  readonly type: 'counter' | 'gauge';
  readonly labels: readonly L[];
}

/** A counter or gauge whose series are {@link MetricCell}s. */
export class CellFamily<L extends Label> {
  readonly #series = new SeriesByLabels<L, LabeledCell<L>>();
  readonly #constant: ConstantLabels;

  /**
   * @param definition a row of the table
   * @param registry where the metric is registered
   * @param sample updates the cells before each scrape; not needed if they are always current
   */
  constructor(definition: CellDefinition<L>, registry: LabeledRegistry, sample?: () => void) {
    this.#constant = registry.labels;
    const Kind = definition.type === 'counter' ? Counter : Gauge;
    registry.add(
      definition,
      (settings) => new Kind(settings),
      () => {
        sample?.();
        return this.#series.all;
      },
    );
  }

  /** Returns the series with these labels, initially 0: the same object until it is dropped. */
  cell(labels: LabelValues<L>): MetricCell {
    return this.#series.of(labels, () => ({ labels: { ...labels, ...this.#constant }, value: 0 }));
  }

  /** Drops the series whose labels satisfy `gone`. A cell that is still referenced is no longer exported. */
  drop(gone: (labels: LabelValues<L>) => boolean): void {
    this.#series.drop(({ labels }) => gone(labels));
  }
}
