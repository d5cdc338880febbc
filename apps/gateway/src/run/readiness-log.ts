import { pause } from '@meshgate/core';
import { FailureLog } from '../log/failure-log.ts';
import type { Logger } from '../log/logger.ts';
import { logMessage } from '../log/messages.ts';
import type { Readiness } from '../admin/readiness.ts';
import type { Gateway } from './gateway.ts';

/** Options of a {@link ReadinessLog}. */
export interface ReadinessLogOptions {
  readonly gateway: Pick<Gateway, 'adminUrl' | 'listeners' | 'readiness' | 'routeCount'>;
  readonly logger: Logger;
  /** Facts about the process for the lines `started` and `ready`. */
  readonly facts: Readonly<Record<string, unknown>>;
  /** Called at each change of readiness, with the reasons against it. */
  onChange(readiness: Pick<Readiness, 'ready' | 'reasons'>): void;
  /** Aborts when the process exits: nothing is logged any more. */
  readonly signal: AbortSignal;
}

/** Logs `started`, then `ready` or the reasons against it: at the start, and at each change of `/ready`. */
export class ReadinessLog {
  readonly #options: ReadinessLogOptions;
  readonly #failures = new FailureLog();
  readonly #begunAt = performance.now();
  #hasLoggedStarted = false;
  #isStarting = true;
  #wasReady = false;

  constructor(options: ReadinessLogOptions) {
    this.#options = options;
    void this.#follow();
  }

  /** Records that all parts have started. */
  startFinished(): void {
    this.#isStarting = false;
    this.#check();
  }

  #check(): void {
    const { gateway, logger, facts, signal } = this.#options;
    if (signal.aborted) return;
    const { adminUrl: admin, listeners, routeCount: routes } = gateway;
    if (!this.#hasLoggedStarted && (admin !== undefined || !this.#isStarting)) {
      this.#hasLoggedStarted = true;
      logMessage(logger, 'started', {}, { admin, ...facts });
    }
    const { ready, reasons } = gateway.readiness;
    if (!ready) return this.#logNotReady(reasons.join('; '));
    if (this.#wasReady || this.#isStarting) return;
    this.#failures.recovered('readiness');
    this.#wasReady = true;
    this.#options.onChange({ ready, reasons });
    logMessage(logger, 'ready', {}, { listeners, admin, routes, ...facts });
  }

  #logNotReady(reasons: string): void {
    if (!this.#wasReady && performance.now() - this.#begunAt < STARTING_MS) return;
    this.#wasReady = false;
    this.#options.onChange({ ready: false, reasons: [reasons] });
    if (this.#failures.failed('readiness', reasons).kind === 'line')
      logMessage(this.#options.logger, 'notReady', { reasons });
  }

  async #follow(): Promise<void> {
    const { signal } = this.#options;
    for (await pause(POLL_MS, signal); !signal.aborted; await pause(POLL_MS, signal)) this.#check();
  }
}

/** Polls, because time alone changes some of the state, such as an expiring certificate. */
const POLL_MS = 250;
/** Time after the start in which not being ready is normal. */
const STARTING_MS = 2_000;
