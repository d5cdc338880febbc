import { CellFamily } from './family.ts';
import type { MetricCell } from './family.ts';
import type { LabeledRegistry } from './labeled-registry.ts';
import { Memo } from './memo.ts';
import { METRICS } from './metrics.ts';

/** Metrics of the daemon: drain, services, observers. */
export class DaemonMetrics {
  readonly #draining: MetricCell;
  readonly #failuresByService: Memo<string, MetricCell>;
  readonly #failuresByObserver: Memo<string, MetricCell>;

  constructor(registry: LabeledRegistry) {
    this.#draining = new CellFamily(METRICS.draining, registry).cell({});
    const ofServices = new CellFamily(METRICS.serviceFailures, registry);
    this.#failuresByService = new Memo((service) => ofServices.cell({ service }));
    const ofObservers = new CellFamily(METRICS.observerFailures, registry);
    this.#failuresByObserver = new Memo((observer) => ofObservers.cell({ observer }));
  }

  drainStarted(): void {
    this.#draining.value = 1;
  }

  serviceFailed(service: string): void {
    this.#failuresByService.get(service).value += 1;
  }

  observerThrew(observer: string): void {
    this.#failuresByObserver.get(observer).value += 1;
  }
}
