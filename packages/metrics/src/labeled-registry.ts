import type { Metric, Registry } from 'prom-client';
import { LABELS } from './metrics.ts';
import type { MetricDefinition } from './metrics.ts';

/** Labels on all metrics of one proxy, for several proxies in one registry: `{ proxy: 'edge' }`. */
export type ConstantLabels = Readonly<Record<string, string>>;

/** Series in prom-client's internal form, which its types do not declare. */
type SeriesByKey = Readonly<Record<string, unknown>>;

/** Constructor settings of prom-client's metric classes. */
export interface MetricSettings {
  readonly name: string;
  readonly help: string;
  readonly labelNames: string[];
  readonly registers: Registry[];
  /** Updates the series before a scrape. */
  collect(): void;
}

interface SharedMetric {
  readonly metric: Metric;
  readonly series: Map<LabeledRegistry, () => SeriesByKey>;
}

const SHARED = new WeakMap<Registry, Map<string, SharedMetric>>();

/**
 * One proxy's view of a registry. If several proxies register the same metric, it contains the series of all of them,
 * distinguished by their constant labels.
 */
export class LabeledRegistry {
  readonly #registry: Registry;
  readonly labels: ConstantLabels;
  readonly #shared: Map<string, SharedMetric>;

  /**
   * @throws TypeError if a label has the name of a label in {@link LABELS}
   */
  constructor(registry: Registry, labels: ConstantLabels = {}) {
    const reserved = Object.keys(labels).find((name) => name in LABELS);
    if (reserved !== undefined)
      throw new TypeError(`labels: expected names that no metric has for a label of its own, found ${reserved}`);
    this.#registry = registry;
    this.labels = labels;
    this.#shared = SHARED.get(registry) ?? new Map<string, SharedMetric>();
    SHARED.set(registry, this.#shared);
  }

  /**
   * Registers a metric, or adds series to an existing one.
   *
   * @param make constructs the metric
   * @param series called at each scrape; their labels include {@link labels}
   * @throws Error if the labels do not distinguish this proxy from another one in the registry, or the metric was
   * registered by other code
   */
  add(
    { name, help, labels }: MetricDefinition,
    make: (settings: MetricSettings) => Metric,
    series: () => SeriesByKey,
  ): void {
    const known = this.#shared.get(name);
    if (known !== undefined) {
      for (const other of known.series.keys()) this.#mustDiffer(name, other);
      known.series.set(this, series);
      return;
    }
    const all = new Map([[this as LabeledRegistry, series]]);
    const collect = (): void =>
      void Object.assign(metric, { hashMap: together(Array.from(all.values(), (each) => each())) });
    const labelNames = [...labels, ...Object.keys(this.labels)];
    const metric = make({ name, help, labelNames, registers: [this.#registry], collect });
    this.#shared.set(name, { metric, series: all });
  }

  /** Removes this proxy's series, and metrics without series. */
  close(): void {
    for (const [name, { series }] of this.#shared) {
      if (!series.delete(this) || series.size > 0) continue;
      this.#shared.delete(name);
      this.#registry.removeSingleMetric(name);
    }
  }

  #mustDiffer(name: string, { labels: theirs }: LabeledRegistry): void {
    const [own, others] = [Object.entries(this.labels), Object.keys(theirs)];
    const hasSameNames = own.length === others.length && own.every(([label]) => label in theirs);
    if (hasSameNames && own.some(([label, value]) => theirs[label] !== value)) return;
    const expected = `expected labels with the names of the proxy there and other values, such as { proxy: 'a' } and { proxy: 'b' }`;
    throw new Error(
      `${name} has already been registered: ${expected}, found ${JSON.stringify(this.labels)} beside ${JSON.stringify(theirs)}`,
    );
  }
}

/** Merges series. Those of a single proxy are returned without a copy. */
function together([first = {}, ...rest]: readonly SeriesByKey[]): SeriesByKey {
  if (rest.length === 0) return first;
  return Object.fromEntries(
    [first, ...rest].flatMap((each, proxy) => Object.entries(each).map(([key, series]) => [`${proxy} ${key}`, series])),
  );
}
