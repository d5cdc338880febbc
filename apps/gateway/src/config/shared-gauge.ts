import type { MetricLabels } from '@meshgate/core';
import type { Gauge } from 'prom-client';

/**
 * A gauge that several uses of a plugin set. A series has the value that was set last by a remaining user, and is
 * removed with its last user.
 */
export class SharedGauge<User extends object> {
  readonly #gauge: Gauge;
  readonly #labelNames: readonly string[];
  /** By label values. */
  readonly #series = new Map<string, SharedSeries<User>>();

  /** @param labelNames label names of `gauge` */
  constructor(gauge: Gauge, labelNames: readonly string[]) {
    this.#gauge = gauge;
    this.#labelNames = labelNames;
  }

  /**
   * Sets the value of `user`.
   *
   * @throws Error when the labels are not those of the gauge, or the value is not a number
   */
  set(user: User, value: number, labels: MetricLabels): void {
    this.#gauge.set(labels, value);
    const key = this.#keyOf(labels);
    const series = this.#series.get(key) ?? { labels: { ...labels }, values: new Map<User, number>() };
    this.#series.set(key, series);
    // Keeps the latest value at the end of the map.
    series.values.delete(user);
    series.values.set(user, value);
  }

  /** Removes the value of `user` from the series of `labels`. */
  remove(user: User, labels: MetricLabels): void {
    this.#end(user, this.#keyOf(labels));
  }

  /** Removes all values of `user`. */
  release(user: User): void {
    for (const key of this.#series.keys()) this.#end(user, key);
  }

  #end(user: User, key: string): void {
    const series = this.#series.get(key);
    if (series?.values.delete(user) !== true) return;
    const value = Array.from(series.values.values()).at(-1);
    if (value !== undefined) return this.#gauge.set(series.labels, value);
    this.#series.delete(key);
    this.#gauge.remove(series.labels);
  }

  #keyOf(labels: MetricLabels): string {
    return JSON.stringify(this.#labelNames.map((name) => labels[name] ?? null));
  }
}

interface SharedSeries<User> {
  readonly labels: MetricLabels;
  readonly values: Map<User, number>;
}
