import type { Hold } from './state-loss-guard.ts';

/** The circumstances in which responses are evaluated. */
export interface HoldTime {
  /** The hold in effect, see `LossDetector`. */
  readonly hold: Hold | undefined;
  /** Whether the state was checked for a loss after the last response became empty. */
  readonly isChecked: boolean;
  /** The current time, in monotonic milliseconds. */
  readonly now: number;
}

/** Signs of a state loss may arrive a moment after an empty response; a removal still takes effect within a second. */
const BELIEVED_AFTER_MS = 600;

// A blocking query reveals that its results are filtered only when its wait ends.
const SHOWS_WITHIN_MS = 35_000;

/**
 * Keeps responses by key, and delays those that become empty: always for a moment, and for the duration of the hold
 * while Consul may have lost its state.
 */
export class HeldResponses<T> {
  readonly #last = new Map<string, LastResponse<T>>();
  #dueAt = 0;
  #reason = '';
  #hasChange = false;

  /** When the next empty response takes effect, in monotonic milliseconds; 0 when none is pending. */
  get dueAt(): number {
    return this.#dueAt;
  }

  /**
   * Whether a response became empty in the last call, or a held one came back: the caller checks for a loss, or for its
   * end.
   */
  get hasChange(): boolean {
    return this.#hasChange;
  }

  /**
   * Returns `responses`, with the previous value in place of each empty one that does not take effect yet. A missing
   * key counts as empty.
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

  /**
   * Stores `responses` as the known state. To be called once all of them have arrived, since until then each call sees
   * only some.
   */
  keep(responses: ReadonlyMap<string, T>, isEmpty: (response: T) => boolean, now: number): void {
    for (const [key, value] of responses) {
      const last = this.#last.get(key);
      const cameAt = last?.value === value ? last.cameAt : now;
      const cameBackFrom = last?.cameBackFrom;
      if (!isEmpty(value)) this.#last.set(key, { value, cameAt, cameBackFrom, ...NOT_EMPTY });
    }
  }

  /**
   * Describes the responses held because of a loss.
   *
   * @param what plural noun for the contents of the responses, such as `instances`
   */
  warnings(what: string): readonly string[] {
    const count = [...this.#last.values()].filter(({ isHeld }) => isHeld).length;
    return count === 0 ? [] : [`${this.#reason}: ${what} of ${count} responses held back, now empty`];
  }

  #isBelieved(last: LastResponse<T>, { hold, isChecked, now }: HoldTime): boolean {
    if (last.believedAt === 0) {
      this.#hasChange = true;
      last.believedAt = now + BELIEVED_AFTER_MS;
    }
    // A response that came back after this loss, and becomes empty when nothing indicates incomplete responses, is a
    // removal.
    const isOver = hold !== undefined && last.cameBackFrom === hold.since && hold.isDoubted === false;
    if (!last.isHeld && !isOver && hold !== undefined && isAtRisk(last.cameAt, hold, now)) {
      last.isHeld = true;
    }
    if (last.isHeld && hold !== undefined) last.believedAt = hold.until;
    if (now < last.believedAt) this.#dueAt = Math.min(this.#dueAt || Infinity, last.believedAt);
    return now >= last.believedAt && isChecked;
  }
}

/** False for a response confirmed after the loss: its later disappearance is not part of it. */
function isAtRisk(cameAt: number, { since, isOngoing }: Hold, now: number): boolean {
  return isOngoing || (cameAt <= since && now <= since + SHOWS_WITHIN_MS);
}

const NOT_EMPTY = { believedAt: 0, isHeld: false };

interface LastResponse<T> {
  readonly value: T;
  /** Time of arrival, in monotonic milliseconds. */
  readonly cameAt: number;
  /** Start of the loss after which the response came back ({@link Hold.since}); `undefined` when it did not. */
  cameBackFrom: number | undefined;
  /** When the empty response takes effect, in monotonic milliseconds; 0 while the response is not empty. */
  believedAt: number;
  /** The previous value is held because of a loss. */
  isHeld: boolean;
}
