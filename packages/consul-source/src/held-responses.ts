import type { Hold } from './state-loss-guard.ts';

/** When a response is evaluated. */
export interface HoldTime {
  /** The hold in force, see `LossDetector`. */
  readonly hold: Hold | undefined;
  /** Whether a loss was checked for since the last response became empty. */
  readonly isChecked: boolean;
  /** Monotonic milliseconds. */
  readonly now: number;
}

/** The sign of a loss may come a moment after the empty response. A removal is still believed within a second. */
const BELIEVED_AFTER_MS = 600;

// A blocking query that is filtered from now on shows it when its wait ends.
const SHOWS_WITHIN_MS = 35_000;

/**
 * Responses by key. One that becomes empty is not believed at once: for a moment in any case, and for as long as Consul may have lost
 * its state.
 */
export class HeldResponses<T> {
  readonly #last = new Map<string, LastResponse<T>>();
  #dueAt = 0;
  #reason = '';
  #hasChange = false;

  /** When the next empty response will be believed, in monotonic milliseconds; 0 when there is none. */
  get dueAt(): number {
    return this.#dueAt;
  }

  /** In the last call a response became empty, or a held one came back: time to check for a loss, or for its end. */
  get hasChange(): boolean {
    return this.#hasChange;
  }

  /**
   * `responses`, with earlier ones in place of empty ones that are not believed yet. A missing key counts as empty.
   *
   * @param isEmpty whether a response is empty
   */
  apply(responses: ReadonlyMap<string, T>, isEmpty: (response: T) => boolean, time: HoldTime): ReadonlyMap<string, T> {
    this.#dueAt = 0;
    this.#hasChange = false;
    this.#reason = time.hold?.reason ?? '';
    const shown = new Map(responses);
    for (const [key, last] of this.#last) {
      const response = responses.get(key);
      if (response !== undefined && !isEmpty(response)) {
        this.#hasChange ||= last.isHeld;
        if (last.isHeld) last.cameBackFrom = time.hold?.since;
        Object.assign(last, NOT_EMPTY);
        continue;
      }
      if (this.#isBelieved(last, time)) this.#last.delete(key);
      else shown.set(key, last.value);
    }
    return shown;
  }

  /** Makes `responses` the known state: call it once all of them have arrived, since until then they only complete each other. */
  keep(responses: ReadonlyMap<string, T>, isEmpty: (response: T) => boolean, now: number): void {
    for (const [key, value] of responses) {
      const last = this.#last.get(key);
      const cameAt = last?.value === value ? last.cameAt : now;
      const cameBackFrom = last?.cameBackFrom;
      if (!isEmpty(value)) this.#last.set(key, { value, cameAt, cameBackFrom, ...NOT_EMPTY });
    }
  }

  /** What is held because of a loss, in words. @param what what the responses are, in the plural */
  warnings(what: string): readonly string[] {
    const count = [...this.#last.values()].filter(({ isHeld }) => isHeld).length;
    return count === 0 ? [] : [`${this.#reason}: ${what} of ${count} responses that are now empty are held back`];
  }

  #isBelieved(last: LastResponse<T>, { hold, isChecked, now }: HoldTime): boolean {
    if (last.believedAt === 0) {
      this.#hasChange = true;
      last.believedAt = now + BELIEVED_AFTER_MS;
    }
    // What a loss had taken is back, and goes when nothing is in doubt: that is no part of the loss.
    const isOver = hold !== undefined && last.cameBackFrom === hold.since && hold.isDoubted === false;
    if (!last.isHeld && !isOver && hold !== undefined && isAtRisk(last.cameAt, hold, now)) {
      last.isHeld = true;
      last.believedAt = hold.until;
    }
    if (now < last.believedAt) this.#dueAt = Math.min(this.#dueAt || Infinity, last.believedAt);
    return now >= last.believedAt && isChecked;
  }
}

/** Confirmed after the loss: its disappearance now is not part of it. */
function isAtRisk(cameAt: number, { since, isOngoing }: Hold, now: number): boolean {
  return isOngoing || (cameAt <= since && now <= since + SHOWS_WITHIN_MS);
}

const NOT_EMPTY = { believedAt: 0, isHeld: false };

interface LastResponse<T> {
  readonly value: T;
  /** When it arrived, in monotonic milliseconds. */
  readonly cameAt: number;
  /** When the loss began from which it has come back, if it has; see {@link Hold.since}. */
  cameBackFrom: number | undefined;
  /** When it will be believed to be empty, in monotonic milliseconds; 0 while it is not empty. */
  believedAt: number;
  /** It is held because of a loss. */
  isHeld: boolean;
}
