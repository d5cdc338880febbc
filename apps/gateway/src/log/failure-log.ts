/** Whether a failure is logged, and the number of suppressed lines before it. */
export type FailureReport =
  | { readonly kind: 'silent' }
  /** Both are 0 for the first of consecutive failures. */
  | { readonly kind: 'line'; readonly failingForMs: number; readonly repeats: number };

interface Failing {
  /** Start of the failures. */
  since: number;
  /** False after a recovery. */
  isFailing: boolean;
  /** Reasons logged within the last minute. */
  readonly reasons: Set<string>;
  lastLineAt: number;
  repeats: number;
}

/**
 * Limits repeated failures to one line per minute and subject. Logs the first failure and each new reason at once (up
 * to a limit), and counts the others in the next line. A flapping subject counts as failing.
 */
export class FailureLog {
  readonly #things = new Map<string, Failing>();
  readonly #now: () => number;
  readonly #maxReasons: number;

  /**
   * @param now returns monotonic milliseconds
   * @param maxReasons number of reasons of one subject that may be logged within a minute
   */
  constructor(now: () => number = () => performance.now(), maxReasons: number = MAX_REASONS) {
    this.#now = now;
    this.#maxReasons = maxReasons;
  }

  /**
   * Records a failure.
   *
   * @param thing the failing subject, such as a source; subjects must be bounded in number, or must recover
   */
  failed(thing: string, reason: string): FailureReport {
    const now = this.#now();
    const known = this.#things.get(thing);
    if (known === undefined) this.#forgetOld(now);
    const failing = known ?? { since: now, isFailing: true, reasons: new Set(), lastLineAt: -Infinity, repeats: 0 };
    if (!failing.isFailing) Object.assign(failing, { since: now, isFailing: true });
    this.#things.set(thing, failing);
    const isDue = now - failing.lastLineAt >= EVERY_MS;
    if (isDue) failing.reasons.clear();
    if (!isDue && (failing.reasons.has(reason) || failing.reasons.size >= this.#maxReasons)) {
      failing.repeats += 1;
      return { kind: 'silent' };
    }
    const { since, repeats } = failing;
    failing.reasons.add(reason);
    Object.assign(failing, { repeats: 0, lastLineAt: now });
    return { kind: 'line', failingForMs: now - since, repeats };
  }

  /**
   * Records a recovery. Returns the duration of the failure in milliseconds; `undefined` when `thing` was not failing,
   * or nothing was logged.
   */
  recovered(thing: string): number | undefined {
    const failing = this.#things.get(thing);
    if (failing === undefined || !failing.isFailing) return undefined;
    failing.isFailing = false;
    const wasReported = failing.lastLineAt >= failing.since;
    return wasReported ? this.#now() - failing.since : undefined;
  }

  /** Bounds the memory in a flood of subjects: drops those without a failure in the last minute. */
  #forgetOld(now: number): void {
    if (this.#things.size < MAX_THINGS) return;
    for (const [thing, { lastLineAt }] of this.#things) if (now - lastLineAt >= EVERY_MS) this.#things.delete(thing);
    const [oldest] = this.#things.keys();
    if (this.#things.size >= MAX_THINGS && oldest !== undefined) this.#things.delete(oldest);
  }
}

const EVERY_MS = 60_000;
const MAX_REASONS = 3;
/** More than any configuration names; backends and their names may be more. */
const MAX_THINGS = 1_000;
