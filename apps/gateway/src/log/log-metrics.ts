import { Counter } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Log } from './logger.ts';

/** Adds a counter for the dropped lines of `log` to `registry`. */
export function countDroppedLines(log: Pick<Log, 'health'>, registry: Registry): void {
  const counter: Counter = new Counter({
    name: 'meshgate_log_lines_dropped_total',
    help: 'Log lines dropped because they could not be written',
    registers: [registry],
    collect() {
      counter.reset();
      counter.inc(log.health.dropped);
    },
  });
}
