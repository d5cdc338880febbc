import type { Label } from './metrics.ts';

/** One value for each of a metric's labels. */
export type LabelValues<L extends Label> = Readonly<Record<L, string>>;

/** The series of one metric, in prom-client's internal form, so that a scrape copies nothing. */
export class SeriesByLabels<L extends Label, Series> {
  readonly #series: Record<string, Series> = {};

  /** Returns the series with these labels: the same object until it is dropped. */
  of(labels: LabelValues<L>, make: () => Series): Series {
    return (this.#series[JSON.stringify(labels)] ??= make());
  }

  /** Drops the series that satisfy `gone`. A series that is still referenced is no longer exported. */
  drop(gone: (series: Series) => boolean): void {
    for (const [key, series] of Object.entries(this.#series)) if (gone(series)) delete this.#series[key];
  }

  /** Drops the series with these labels. */
  dropOf(labels: LabelValues<L>): void {
    delete this.#series[JSON.stringify(labels)];
  }

  /** All series. */
  get all(): Readonly<Record<string, Series>> {
    return this.#series;
  }
}
