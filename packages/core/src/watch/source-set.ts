import { errorOf } from '../errors.ts';
import { openScope } from './scope.ts';
import type { Scope } from './scope.ts';

/** The result of {@link SourceSet.replace}. */
export interface Replaced<Source> {
  /** New sources: not followed yet, unless they were started before. */
  readonly added: readonly Source[];
  /** Removed sources: still followed, until they are stopped. */
  readonly gone: readonly Source[];
}

/**
 * Sources in order of precedence, replaceable while they are followed. The caller decides when new ones are started and
 * when removed ones are stopped.
 */
export class SourceSet<Source> {
  readonly #follow: (source: Source, signal: AbortSignal) => Promise<unknown>;
  readonly #outer: AbortSignal | undefined;
  readonly #followed = new Map<Source, { readonly scope: Scope; readonly done: Promise<unknown> }>();
  #current: readonly Source[];

  /**
   * @param follow follows one source until the signal aborts, and settles soon after; a rejection is passed on by
   * `stop`
   * @param outer ends all sources when it aborts
   */
  constructor(
    sources: readonly Source[],
    follow: (source: Source, signal: AbortSignal) => Promise<unknown>,
    outer?: AbortSignal,
  ) {
    this.#current = sources;
    this.#follow = follow;
    this.#outer = outer;
  }

  /** The current sources, in order of precedence. */
  get current(): readonly Source[] {
    return this.#current;
  }

  /** Starts those of `sources` that are not followed yet. */
  start(sources: readonly Source[] = this.#current): void {
    for (const source of sources) {
      if (this.#followed.has(source)) continue;
      const scope = openScope(this.#outer);
      const done = this.#follow(source, scope.signal);
      done.catch(() => undefined);
      this.#followed.set(source, { scope, done });
    }
  }

  /** Replaces the current sources. Starts and stops nothing. */
  replace(sources: readonly Source[]): Replaced<Source> {
    const before = this.#current;
    this.#current = sources;
    return {
      added: sources.filter((source) => !before.includes(source)),
      gone: before.filter((source) => !sources.includes(source)),
    };
  }

  /**
   * Stops those of `sources` that are followed. Resolves or rejects after all have ended; rejects with the errors of
   * those that failed.
   */
  async stop(sources: readonly Source[] = this.#current): Promise<void> {
    const followed = sources.flatMap((source) => this.#followed.get(source) ?? []);
    for (const { scope } of followed) scope.end(new Error('the source has been removed'));
    const ends = await Promise.allSettled(followed.map(({ done }) => done));
    for (const source of sources) this.#followed.delete(source);
    const failures = ends.flatMap((end) => (end.status === 'rejected' ? [errorOf(end.reason)] : []));
    if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join('; '));
  }
}
