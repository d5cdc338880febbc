import type { Registry } from 'prom-client';
import { Family } from './family.ts';
import type { Cell } from './family.ts';
import { Memo } from './memo.ts';
import { METRICS } from './metrics.ts';

/** How the daemon around the connections is doing. */
export class DaemonMetrics {
  readonly #draining: Cell;
  readonly #failuresByService: Memo<string, Cell>;
  readonly #failuresByObserver: Memo<string, Cell>;

  constructor(registry: Registry) {
    this.#draining = new Family(METRICS.draining, registry).cell({});
    const ofServices = new Family(METRICS.serviceFailures, registry);
    this.#failuresByService = new Memo((service) => ofServices.cell({ service }));
    const ofObservers = new Family(METRICS.observerFailures, registry);
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
