import type { Hold } from './state-loss-guard.ts';

/** When answers are looked at. */
export interface HoldTime {
  /** The hold in force, see `LossDetector`. */
  readonly hold: Hold | undefined;
  /** Whether it has been looked for a loss since the last answer became empty. */
  readonly isChecked: boolean;
  /** Monotonic milliseconds. */
  readonly now: number;
}

/** The signs of a loss may come a moment after the empty answer itself. A removal is believed within a second all the same. */
const BELIEVED_AFTER_MS = 600;

// A blocking query that is filtered from now on shows it when its wait is over.
const SHOWS_WITHIN_MS = 35_000;

/**
 * Answers by key, of which one that has become empty is not believed at once: for a moment in any case, and for as long as Consul may have
 * forgotten rather than removed.
 */
export class HeldAnswers<T> {
  readonly #last = new Map<string, LastAnswer<T>>();
  #dueAt = 0;
  #reason = '';
  #hasChange = false;

  /** When one more is to be believed empty, in monotonic milliseconds; 0 when none is. */
  get dueAt(): number {
    return this.#dueAt;
  }

  /** With the last call an answer has become empty, or one that was held is there again: time to look for a loss, or for its end. */
  get hasChange(): boolean {
    return this.#hasChange;
  }

  /**
   * `answers`, with those from before in place of the empty ones that are not believed yet. A key that is missing counts as empty.
   *
   * @param isEmpty whether an answer has nothing in it
   */
  apply(answers: ReadonlyMap<string, T>, isEmpty: (answer: T) => boolean, time: HoldTime): ReadonlyMap<string, T> {
    this.#dueAt = 0;
    this.#hasChange = false;
    this.#reason = time.hold?.reason ?? '';
    const shown = new Map(answers);
    for (const [key, last] of this.#last) {
      const answer = answers.get(key);
      if (answer !== undefined && !isEmpty(answer)) {
        this.#hasChange ||= last.isHeld;
        Object.assign(last, NOT_EMPTY);
        continue;
      }
      if (this.#isBelieved(last, time)) this.#last.delete(key);
      else shown.set(key, last.value);
    }
    return shown;
  }

  /** From now on `answers` are what was known: to be called once all of them have come, since before that they only complete each other. */
  keep(answers: ReadonlyMap<string, T>, isEmpty: (answer: T) => boolean, now: number): void {
    for (const [key, value] of answers) {
      const last = this.#last.get(key);
      const cameAt = last?.value === value ? last.cameAt : now;
      if (!isEmpty(value)) this.#last.set(key, { value, cameAt, ...NOT_EMPTY });
    }
  }

  /** What is held because of a loss, in words. @param what the answers are, in the plural */
  warnings(what: string): readonly string[] {
    const count = [...this.#last.values()].filter(({ isHeld }) => isHeld).length;
    return count === 0 ? [] : [`${this.#reason}: ${what} of ${count} answers that are empty now are held`];
  }

  #isBelieved(last: LastAnswer<T>, { hold, isChecked, now }: HoldTime): boolean {
    if (last.believedAt === 0) {
      this.#hasChange = true;
      last.believedAt = now + BELIEVED_AFTER_MS;
    }
    if (!last.isHeld && hold !== undefined && isAtRisk(last.cameAt, hold, now)) {
      last.isHeld = true;
      last.believedAt = hold.until;
    }
    if (now < last.believedAt) this.#dueAt = Math.min(this.#dueAt || Infinity, last.believedAt);
    return now >= last.believedAt && isChecked;
  }
}

/** What came after the loss has been confirmed since: that it is gone now is another matter. */
function isAtRisk(cameAt: number, { since, isOngoing }: Hold, now: number): boolean {
  return isOngoing || (cameAt <= since && now <= since + SHOWS_WITHIN_MS);
}

const NOT_EMPTY = { believedAt: 0, isHeld: false };

interface LastAnswer<T> {
  readonly value: T;
  /** When it came, in monotonic milliseconds. */
  readonly cameAt: number;
  /** When its emptiness is believed, in monotonic milliseconds; 0 while it is not empty. */
  believedAt: number;
  /** It is held because of a loss. */
  isHeld: boolean;
}
