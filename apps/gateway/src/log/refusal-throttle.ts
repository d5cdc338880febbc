import { formatEndpoint } from '@meshgate/core';
import type { ClosedConnection } from '@meshgate/core';
import { FailureLog } from './failure-log.ts';

/**
 * Keeps clients that are refused repeatedly (health checks over HTTP, scanners, floods) from filling the log: each has
 * one line a minute per reason, for a few reasons, and the total is bounded.
 */
export class RefusalThrottle {
  readonly #failures: FailureLog;
  readonly #now: () => number;
  #minuteBegan = -Infinity;
  #linesInMinute = 0;
  #omitted = 0;

  /** @param now monotonic milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#failures = new FailureLog(now, MAX_REASONS);
  }

  /** Number of suppressed lines before this one; `undefined`: this one is suppressed, too. */
  repeatsOf(closed: ClosedConnection): number | undefined {
    const { connection, error } = closed;
    const report = this.#failures.failed(`${error?.code} ${clientOf(connection.remote)}`, error?.message ?? '');
    if (report.kind === 'silent') return undefined;
    if (!this.#hasRoom()) {
      this.#omitted += 1 + report.repeats;
      return undefined;
    }
    const repeats = report.repeats + this.#omitted;
    this.#omitted = 0;
    return repeats;
  }

  #hasRoom(): boolean {
    const now = this.#now();
    if (now - this.#minuteBegan >= MINUTE_MS) {
      this.#minuteBegan = now;
      this.#linesInMinute = 0;
    }
    this.#linesInMinute += 1;
    return this.#linesInMinute <= MAX_LINES_A_MINUTE;
  }
}

/** Whether a client was refused before any dial. */
export function isRefusal({ attempts, error }: ClosedConnection): boolean {
  return attempts === 0 && error?.side === 'downstream';
}

/** All connections of one host count as one client. */
function clientOf({ host, port }: ClosedConnection['connection']['remote']): string {
  return host === '' ? formatEndpoint({ host, port }) : host;
}

// The address of a gateway or NAT stands for many clients, each with its own reason.
const MAX_REASONS = 20;
const MINUTE_MS = 60_000;
/** Ten a second: more lines do not help, and a scan from many addresses would write megabytes. */
const MAX_LINES_A_MINUTE = 600;
