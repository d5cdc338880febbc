import { formatEndpoint } from '@meshgate/core';
import type { ClosedConnection } from '@meshgate/core';
import { FailureLog } from './failure-log.ts';

/**
 * Keeps clients that are rejected repeatedly (health checks over HTTP, scanners, floods) from filling the log: logs one
 * line per minute, client and reason, for a few reasons, and limits the total.
 */
export class RefusalThrottle {
  readonly #failures: FailureLog;
  readonly #now: () => number;
  #minuteBegan = -Infinity;
  #linesInMinute = 0;
  #omitted = 0;

  /** @param now returns monotonic milliseconds */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#failures = new FailureLog(now, MAX_REASONS);
  }

  /** Returns the number of suppressed lines before this one; `undefined` when this line is to be suppressed as well. */
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

/** Whether a client was rejected before any dial. */
export function isRefusal({ attempts, error }: ClosedConnection): boolean {
  return attempts === 0 && error?.side === 'downstream';
}

/** Returns the client's host: all connections of one host count as one client. */
function clientOf({ host, port }: ClosedConnection['connection']['remote']): string {
  return host === '' ? formatEndpoint({ host, port }) : host;
}

// A gateway's or NAT's address has many clients, each with its own reason.
const MAX_REASONS = 20;
const MINUTE_MS = 60_000;
/** Ten per second: more lines do not help, and a scan from many addresses would write megabytes. */
const MAX_LINES_A_MINUTE = 600;
