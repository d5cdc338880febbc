/** Whether a failure gets a log line, and what the line says about suppressed ones. */
export type FailureReport =
  | { readonly kind: 'silent' }
  /** `failingForMs` and `repeats` are 0 for the first in a row. */
  | { readonly kind: 'line'; readonly failingForMs: number; readonly repeats: number };

interface Failing {
  /** When it started to fail. */
  since: number;
  /** Absent once it has recovered. */
  isFailing: boolean;
  /** Reasons with a line within the last minute. */
  readonly reasons: Set<string>;
  lastLineAt: number;
  repeats: number;
}

/**
 * Limits repeated failures to one line a minute per subject: the first failure at once, a new reason at once (up to a
 * limit), the rest as a count in the next line. A subject that flaps counts as failing.
 */
export class FailureLog {
  readonly #things = new Map<string, Failing>();
  readonly #now: () => number;
  readonly #maxReasons: number;

  /**
   * @param now monotonic milliseconds
   * @param maxReasons reasons of one subject that may have a line within a minute
   */
  constructor(now: () => number = () => performance.now(), maxReasons: number = MAX_REASONS) {
    this.#now = now;
    this.#maxReasons = maxReasons;
  }

  /** @param thing what fails, such as a source: the number of subjects must be bounded, or they must recover */
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

  /** How long `thing` had failed, in milliseconds; `undefined` when it had not, or nothing was logged. */
  recovered(thing: string): number | undefined {
    const failing = this.#things.get(thing);
    if (failing === undefined || !failing.isFailing) return undefined;
    failing.isFailing = false;
    const wasReported = failing.lastLineAt >= failing.since;
    return wasReported ? this.#now() - failing.since : undefined;
  }

  /** A flood of subjects must not exhaust memory: one without failures for a minute is forgotten. */
  #forgetOld(now: number): void {
    if (this.#things.size < MAX_THINGS) return;
    for (const [thing, { lastLineAt }] of this.#things) if (now - lastLineAt >= EVERY_MS) this.#things.delete(thing);
    const [oldest] = this.#things.keys();
    if (this.#things.size >= MAX_THINGS && oldest !== undefined) this.#things.delete(oldest);
  }
}

const EVERY_MS = 60_000;
const MAX_REASONS = 3;
/** More than any configuration names; there may be more backends and backend names. */
const MAX_THINGS = 1_000;
