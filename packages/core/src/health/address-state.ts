import type { HealthCheck } from '../routes/route.ts';
import type { CheckOutcome } from './check-once.ts';

/** `unknown`: not checked yet, which counts as up. */
export type CheckState = 'unknown' | 'up' | 'down';

/** What checks have found out of one address. */
export class AddressState {
  state: CheckState = 'unknown';
  /** Since when. */
  since: Date = new Date();
  /** The same in milliseconds of the monotonic clock. */
  sinceMs: number = performance.now();
  /** When it was last checked; absent before the first check. */
  checkedAt: Date | undefined;
  /** Why the last check failed; absent when it passed. */
  failure: string | undefined;
  /** It is up, and was down before. */
  hasRecovered = false;
  /** Results in a row that speak against the state. */
  #against = 0;

  /** @returns the state before, when this result has changed it */
  took(outcome: Exclude<CheckOutcome, { kind: 'shortage' }>, { rise, fall }: HealthCheck): CheckState | undefined {
    const before = this.state;
    const isUp = outcome.kind === 'passed';
    this.checkedAt = new Date();
    this.failure = outcome.kind === 'failed' ? outcome.reason : undefined;
    const agrees = before === (isUp ? 'up' : 'down');
    this.#against = agrees ? 0 : this.#against + 1;
    // The first result decides: until then nothing is known.
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
