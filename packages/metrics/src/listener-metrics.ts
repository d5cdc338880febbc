import type { Registry } from 'prom-client';
import { Family } from './family.ts';
import type { Cell } from './family.ts';
import { Memo } from './memo.ts';
import { METRICS } from './metrics.ts';

/** Whether the listeners listen. */
export class ListenerMetrics {
  readonly #series: Memo<string, ListenerSeries>;

  constructor(registry: Registry) {
    const up = new Family(METRICS.listenerUp, registry);
    const paused = new Family(METRICS.listenerPaused, registry);
    const failures = new Family(METRICS.listenerFailures, registry);
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

interface ListenerSeries {
  readonly up: Cell;
  readonly paused: Cell;
  readonly failures: Cell;
}
