import { CellFamily } from './family.ts';
import type { MetricCell } from './family.ts';
import type { LabeledRegistry } from './labeled-registry.ts';
import { Memo } from './memo.ts';
import { METRICS } from './metrics.ts';

/** Metrics of the state of listeners. */
export class ListenerMetrics {
  readonly #series: Memo<string, ListenerStateCells>;

  constructor(registry: LabeledRegistry) {
    const up = new CellFamily(METRICS.listenerUp, registry);
    const paused = new CellFamily(METRICS.listenerPaused, registry);
    const failures = new CellFamily(METRICS.listenerFailures, registry);
    this.#series = new Memo((listener) => ({
      up: up.cell({ listener }),
      paused: paused.cell({ listener }),
      failures: failures.cell({ listener }),
    }));
  }

  opened(listener: string): void {
    this.#series.get(listener).up.value = 1;
  }

  failed(listener: string): void {
    const { up, failures } = this.#series.get(listener);
    up.value = 0;
    failures.value += 1;
  }

  paused(listener: string, paused: boolean): void {
    this.#series.get(listener).paused.value = paused ? 1 : 0;
  }

  closed(listener: string): void {
    const { up, paused } = this.#series.get(listener);
    up.value = 0;
    paused.value = 0;
  }
}

interface ListenerStateCells {
  readonly up: MetricCell;
  readonly paused: MetricCell;
  readonly failures: MetricCell;
}
