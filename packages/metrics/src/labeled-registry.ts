import type { Metric, Registry } from 'prom-client';
import { LABELS } from './metrics.ts';
import type { MetricDefinition } from './metrics.ts';

/** Labels of one proxy, on everything that it counts, where several share a registry: `{ proxy: 'edge' }`. */
export type ConstantLabels = Readonly<Record<string, string>>;

/** Series in the form in which prom-client keeps them; not declared there, like what the text of a scrape is made of. */
type SeriesByKey = Readonly<Record<string, unknown>>;

/** What a class of prom-client takes. */
export interface MetricSettings {
  readonly name: string;
  readonly help: string;
  readonly labelNames: string[];
  readonly registers: Registry[];
  /** Brings the series up to date. */
  collect(): void;
}

interface SharedMetric {
  readonly metric: Metric;
  readonly series: Map<LabeledRegistry, () => SeriesByKey>;
}

const SHARED = new WeakMap<Registry, Map<string, SharedMetric>>();

/** A registry as one proxy has it: a metric that another proxy has registered there gets the series of both, told apart by labels. */
export class LabeledRegistry {
  readonly #registry: Registry;
  readonly labels: ConstantLabels;
  readonly #shared: Map<string, SharedMetric>;

  /** @throws TypeError when a label has the name of one that metrics have themselves */
  constructor(registry: Registry, labels: ConstantLabels = {}) {
    const taken = Object.keys(labels).find((name) => name in LABELS);
    if (taken !== undefined)
      throw new TypeError(`labels: expected names that no metric has for a label of its own, found ${taken}`);
    this.#registry = registry;
    this.labels = labels;
    this.#shared = SHARED.get(registry) ?? new Map<string, SharedMetric>();
    SHARED.set(registry, this.#shared);
  }

  /**
   * Registers a metric, or adds series to the one that is there.
   *
   * @param make constructs it
   * @param series called at each scrape; their labels include {@link labels}
   * @throws Error when the labels do not tell this proxy from another one in the registry, or the metric is somebody else's
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

  /** Takes this proxy's series out again, and metrics of which nothing is left. */
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

/** Those of one proxy as they are: a scrape copies nothing then. */
function together([first = {}, ...rest]: readonly SeriesByKey[]): SeriesByKey {
  if (rest.length === 0) return first;
  return Object.fromEntries(
    [first, ...rest].flatMap((each, proxy) => Object.entries(each).map(([key, series]) => [`${proxy} ${key}`, series])),
  );
}
