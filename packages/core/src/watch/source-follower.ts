import type { Observer } from '../observe.ts';
import type { RouteSnapshot, RouteSource } from '../routes/route.ts';
import { indexing } from '../routes/route-table.ts';
import type { RouteIndex } from '../routes/route-table.ts';
import { judgingSnapshot, shownProblems } from '../routes/snapshot-problems.ts';
import { Cell } from './cell.ts';
import { follow } from './follow.ts';
import { errorOf, withCause } from '../errors.ts';
import { answered, failed, NO_READING } from './reading.ts';
import type { Freshness, Reading } from './reading.ts';
import { pause } from './scope.ts';
import { TokenBucket } from '../token-bucket.ts';
import { inTurns } from './turns.ts';

/** State of a source's routes, see {@link Freshness}. Also `failing` if its last snapshot was refused. */
export type SourceState = Freshness;

/** Status of a source. */
export interface SourceStatus {
  /** Name of the source. */
  readonly name: string;
  /** State of its routes. */
  readonly state: SourceState;
  /** Number of its routes in use. */
  readonly routes: number;
  /** Time at which the routes in use were last known to be correct; absent if there has been no valid snapshot. */
  readonly lastSuccess?: Date;
  /** The last failure, or the reason for refusing the last snapshot; absent after the next valid snapshot. */
  readonly error?: Error;
  /** The source's own warnings: problems although it serves. */
  readonly warnings: readonly string[];
}

// More changes than an operator makes, and a bound for a source that changes constantly: each change builds a table,
// emits an event and logs a line. A burst of 20, then five per second.
const PACE = new TokenBucket({ count: 20, perMs: 4_000 });

/**
 * Follows one source: validates and indexes its newest snapshot, skipping older ones, and reports its state. If a
 * snapshot is refused, the last good one stays in use, as after a failure.
 */
export class SourceFollower {
  readonly source: RouteSource;
  /** Resolves when the source's first snapshot is in use, or when the source has failed for the first time. */
  readonly firstSnapshot: Promise<void>;
  readonly #observer: Observer;
  readonly #onIndexed: (follower: SourceFollower) => void;
  readonly #latest = new Cell<Yielded>();
  /** Time at which the bucket of {@link PACE} will be full again. */
  #fullAt = 0;
  #onFirst: () => void = () => undefined;
  #reading: Reading<RouteIndex> = NO_READING;
  /** The last failure, and the last value yielded before it. */
  #failure: { readonly error: Error; readonly after: Yielded | undefined } | undefined;
  #indexMs = 0;

  /**
   * @param onIndexed called with this follower when a new index is ready
   */
  constructor(source: RouteSource, observer: Observer, onIndexed: (follower: SourceFollower) => void) {
    this.source = source;
    this.#observer = observer;
    this.#onIndexed = onIndexed;
    this.firstSnapshot = new Promise((resolve) => {
      this.#onFirst = resolve;
    });
  }

  /** The index in use; absent before the first valid snapshot. */
  get index(): RouteIndex | undefined {
    return this.#reading.value;
  }

  /** Duration of the last indexing, including its yields to the event loop, in milliseconds. */
  get indexMs(): number {
    return this.#indexMs;
  }

  get status(): SourceStatus {
    const { state, value, asOf, error } = this.#reading;
    return {
      name: this.source.name,
      state,
      routes: value?.routes.size ?? 0,
      ...(asOf === undefined ? {} : { lastSuccess: asOf }),
      ...(error === undefined ? {} : { error }),
      warnings: value?.snapshot.warnings ?? [],
    };
  }

  /**
   * Follows the source until `signal` aborts; nothing is left behind then.
   *
   * @throws Error that names the source if it does not stop after the signal has aborted
   */
  async follow(signal: AbortSignal): Promise<void> {
    const { name } = this.source;
    const using = this.#useSnapshots(signal);
    const end = await follow((inner) => this.source.watch(inner), signal, {
      onValue: (snapshot) => this.#latest.set({ snapshot }),
      onFailure: (thrown, retryInMs) => {
        const error = withCause(thrown);
        const after = this.#latest.value;
        this.#failure = { error, after };
        this.#reading = failed(this.#reading, error);
        // A snapshot yielded before the failure is about to be used, and counts as first.
        if (after === undefined) this.#onFirst();
        this.#observer.observe({ type: 'source.failed', source: name, error, retryInMs });
      },
    });
    await using;
    if (end === 'left-behind') throw new Error(`source ${name} did not stop when its signal aborted, left behind`);
  }

  async #useSnapshots(signal: AbortSignal): Promise<void> {
    for await (const yielded of this.#latest.watch(signal)) {
      // Sources may be plain JavaScript: any error in a snapshot, such as a getter that throws, only affects that
      // snapshot.
      await this.#use(yielded).catch((reason: unknown) => this.#refuse(errorOf(reason)));
      await this.#slowDown(signal);
    }
  }

  async #slowDown(signal: AbortSignal): Promise<void> {
    const now = performance.now();
    this.#fullAt = PACE.fullAtAfterOwing(this.#fullAt, now);
    const waitMs = PACE.waitMs(this.#fullAt, now);
    if (waitMs > 0) await pause(waitMs, signal);
  }

  async #use(yielded: Yielded): Promise<void> {
    const { name } = this.source;
    const start = performance.now();
    const before = this.index;
    const snapshot = await inTurns(judged(yielded.snapshot, before?.snapshot.version));
    const changed = snapshot.version !== before?.snapshot.version;
    this.#observer.observe({ type: 'source.updated', source: name, changed, asOf: snapshot.asOf ?? new Date() });
    const index = changed ? await inTurns(indexing(name, snapshot)) : before;
    this.#indexMs = performance.now() - start;
    const reading = answered(this.#reading, index, snapshot.asOf);
    // If the source has failed since, its last snapshot is in use, and the failure is the newer state.
    this.#reading = this.#failure?.after === yielded ? failed(reading, this.#failure.error) : reading;
    if (changed) this.#onIndexed(this);
    this.#onFirst();
  }

  /** Reports each reason once: a source may yield the same snapshot again. */
  #refuse(reason: Error): void {
    const error = new Error(`snapshot refused: ${reason.message}`, { cause: reason });
    const hasChanged = this.#reading.error?.message !== error.message;
    this.#reading = failed(this.#reading, error);
    this.#onFirst();
    if (hasChanged) this.#observer.observe({ type: 'source.refused', source: this.source.name, error });
  }
}

/** A value that a source has yielded, not yet validated. */
interface Yielded {
  readonly snapshot: unknown;
}

/**
 * Validates a snapshot and adds the problems found to its warnings. The routes of a snapshot with the version in use
 * are not checked: equal versions mean equal routes.
 *
 * @throws Error with the reason for refusing it
 */
function* judged(yielded: unknown, versionInUse: string | undefined): Generator<void, RouteSnapshot> {
  const problems = yield* judgingSnapshot(yielded, versionInUse);
  const errors = problems.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new Error(shownProblems(errors).join('; '));
  const { version, routes, asOf, warnings: reported = [] } = yielded as RouteSnapshot;
  const warnings = [...bounded(reported), ...shownProblems(problems)];
  // A copy, so that a source that modifies and yields the same object again is recognised as changed.
  return {
    version,
    routes: routes.slice(),
    ...(asOf !== undefined && { asOf }),
    ...(warnings.length > 0 && { warnings }),
  };
}

/** Keeps the first warnings and the last, which summarises problems in many places. */
function bounded(warnings: readonly string[]): readonly string[] {
  const more = warnings.length - MAX_WARNINGS;
  if (more <= 0) return warnings;
  return [...warnings.slice(0, MAX_WARNINGS - 2), `and ${more + 1} more warnings`, ...warnings.slice(-1)];
}

/** Each warning is a log line, and is part of every response of `/ready`. */
const MAX_WARNINGS = 100;

/** Returns the version of a snapshot that has not been validated. */
export function versionOf(yielded: unknown): unknown {
  return typeof yielded === 'object' && yielded !== null && 'version' in yielded ? yielded.version : undefined;
}
