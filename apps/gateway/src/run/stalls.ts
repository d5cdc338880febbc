import { formatDuration } from '@meshgate/core/parts';
import type { Logger } from '../log/logger.ts';
import { logMessage } from '../log/messages.ts';

/**
 * Logs stalls of this process: for seconds, every connection waited for it.
 *
 * @returns a function that stops the watch
 */
export function watchStalls(logger: Logger): () => void {
  let at = performance.now();
  let cpu = process.cpuUsage();
  const timer = setInterval(() => {
    const now = performance.now();
    const stalledMs = now - at - LOOK_EVERY_MS;
    const { user, system } = process.cpuUsage(cpu);
    if (stalledMs >= STALL_MS) {
      const isBusy = (user + system) / 1_000 > stalledMs / 2;
      const seconds = Math.round(stalledMs / 1_000);
      const values = { duration: formatDuration(seconds * 1_000), cause: isBusy ? BUSY : STOPPED };
      logMessage(logger, 'processStalled', values, { stalledMs: Math.round(stalledMs) });
    }
    at = now;
    cpu = process.cpuUsage();
  }, LOOK_EVERY_MS);
  timer.unref();
  return () => clearInterval(timer);
}

const LOOK_EVERY_MS = 1_000;
// Shorter stalls are normal on an overloaded machine, and visible in the metrics of the event loop.
const STALL_MS = 5_000;

const BUSY = 'busy with its own work';
const STOPPED = 'stopped, suspended or without CPU';
