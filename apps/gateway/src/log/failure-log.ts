/** What a failure is worth in the log: nothing, or a line, and what it should say of those that had none. */
export type FailureReport =
  | { readonly kind: 'silent' }
  /** `failingForMs` is 0 for the first of a row, as `repeats` is. */
  | { readonly kind: 'line'; readonly failingForMs: number; readonly repeats: number };

interface Failing {
  /** When it began to fail. */
  since: number;
  /** Absent once it has recovered. */
  isFailing: boolean;
  /** Reasons that have had a line within the last minute. */
  readonly reasons: Set<string>;
  lastLineAt: number;
  repeats: number;
}

/**
 * Keeps what fails again and again to a line a minute for each thing: the first failure at once, a new reason at once (a few of them), the
 * rest as a number in the next line. One that flaps between good and bad is a thing that keeps failing.
 */
export class FailureLog {
  readonly #things = new Map<string, Failing>();
  readonly #now: () => number;
  readonly #maxReasons: number;

  /**
   * @param now monotonic milliseconds
   * @param maxReasons reasons of one thing that may have a line within a minute
   */
  constructor(now: () => number = () => performance.now(), maxReasons: number = MAX_REASONS) {
    this.#now = now;
    this.#maxReasons = maxReasons;
  }

  /** @param thing what fails, such as a source: the number of things must be bounded, or they must recover */
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

  /** For how long `thing` had failed, in milliseconds; `undefined` when it had not, or nobody was told. */
  recovered(thing: string): number | undefined {
    const failing = this.#things.get(thing);
    if (failing === undefined || !failing.isFailing) return undefined;
    failing.isFailing = false;
    const wasReported = failing.lastLineAt >= failing.since;
    return wasReported ? this.#now() - failing.since : undefined;
  }

  /** A flood of things must not fill the memory: what has said nothing for a minute is as new. */
  #forgetOld(now: number): void {
    if (this.#things.size < MAX_THINGS) return;
    for (const [thing, { lastLineAt }] of this.#things) if (now - lastLineAt >= EVERY_MS) this.#things.delete(thing);
    const [oldest] = this.#things.keys();
    if (this.#things.size >= MAX_THINGS && oldest !== undefined) this.#things.delete(oldest);
  }
}

const EVERY_MS = 60_000;
const MAX_REASONS = 3;
/** More than any configuration names; backends and names of backends may be more. */
const MAX_THINGS = 1_000;
