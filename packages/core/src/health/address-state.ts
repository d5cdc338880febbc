import type { HealthCheck } from '../routes/route.ts';
import type { CheckOutcome } from './check-once.ts';

/** `unknown`: not checked yet; counts as up. */
export type CheckState = 'unknown' | 'up' | 'down';

/** Check results of one address. */
export class AddressState {
  state: CheckState = 'unknown';
  /** Time of the last change of state. */
  since: Date = new Date();
  /** The same in milliseconds of the monotonic clock. */
  sinceMs: number = performance.now();
  /** Time of the last check; absent before the first. */
  checkedAt: Date | undefined;
  /** Why the last check failed; absent if it passed. */
  failure: string | undefined;
  /** Whether the address is up after having been down. */
  hasRecovered = false;
  /** Number of consecutive results that contradict the state. */
  #against = 0;

  /** Records a check result. @returns the former state if the result changed it */
  took(outcome: Exclude<CheckOutcome, { kind: 'shortage' }>, { rise, fall }: HealthCheck): CheckState | undefined {
    const before = this.state;
    const isUp = outcome.kind === 'passed';
    this.checkedAt = new Date();
    this.failure = outcome.kind === 'failed' ? outcome.reason : undefined;
    const agrees = before === (isUp ? 'up' : 'down');
    this.#against = agrees ? 0 : this.#against + 1;
    // The first result decides alone.
    const needed = before === 'unknown' ? 1 : isUp ? rise : fall;
    if (agrees || this.#against < needed) return undefined;
    this.state = isUp ? 'up' : 'down';
    this.since = this.checkedAt;
    this.sinceMs = performance.now();
    this.hasRecovered = before === 'down';
    this.#against = 0;
    return before;
  }
}
