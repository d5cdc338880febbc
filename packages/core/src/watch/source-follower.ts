import type { Observer } from '../observe.ts';
import type { RouteSnapshot, RouteSource } from '../routes/route.ts';
import { indexing } from '../routes/route-table.ts';
import type { RouteIndex } from '../routes/route-table.ts';
import { judgingSnapshot } from '../routes/snapshot-problems.ts';
import { formatProblem } from '../lifecycle/plugin.ts';
import type { Problem } from '../lifecycle/plugin.ts';
import { Cell } from './cell.ts';
import { follow } from './follow.ts';
import { Pace } from './pace.ts';
import type { PaceOptions } from './pace.ts';
import { errorOf } from '../errors.ts';
import { answered, failed, NO_READING } from './reading.ts';
import type { Freshness, Reading } from './reading.ts';
import { inTurns } from './turns.ts';

/** How far a source's routes can be trusted; see {@link Freshness}. `failing` also when its last snapshot was refused. */
export type SourceState = Freshness;

/** How a source is doing. */
export interface SourceStatus {
  readonly name: string;
  /** Whether its routes are current. */
  readonly state: SourceState;
  /** Routes of it in use. */
  readonly routes: number;
  /** When what is in use of it was last known to be right; absent when it has yielded nothing of use. */
  readonly lastSuccess?: Date;
  /** Its last failure, or why its last snapshot was refused; absent once it has yielded a good one again. */
  readonly error?: Error;
  /** What is wrong with it although it serves, in its own words. */
  readonly warnings: readonly string[];
}

// More changes than an operator makes, and a bound for a source that changes without pause: each change is a new table, an event, a log line.
const PACE: PaceOptions = { burst: 20, perSecond: 5 };

// More warnings say no more: a log line should stay one.
const MAX_SHOWN = 10;

/**
 * Follows one source: validates and indexes what it yields, the newest snapshot only, and reports its state. A snapshot that is refused
 * leaves the last good one in use, as a failure does.
 */
export class SourceFollower {
  readonly source: RouteSource;
  /** Resolves when the source's first snapshot is in use, or it has failed for the first time. */
  readonly firstSnapshot: Promise<void>;
  readonly #observer: Observer;
  readonly #onIndexed: (follower: SourceFollower) => void;
  readonly #latest = new Cell<Yielded>();
  readonly #pace = new Pace(PACE);
  #onFirst: () => void = () => undefined;
  #reading: Reading<RouteIndex> = NO_READING;
  /** The last failure, and what had been yielded before it. */
  #failure: { readonly error: Error; readonly after: Yielded | undefined } | undefined;
  #indexMs = 0;

  /** @param onIndexed called with this follower each time a new index is ready */
  constructor(source: RouteSource, observer: Observer, onIndexed: (follower: SourceFollower) => void) {
    this.source = source;
    this.#observer = observer;
    this.#onIndexed = onIndexed;
    this.firstSnapshot = new Promise((resolve) => {
      this.#onFirst = resolve;
    });
  }

  /** What of the source is in use; absent until it has yielded something of use. */
  get index(): RouteIndex | undefined {
    return this.#reading.value;
  }

  /** How long the last indexing took, its pauses included, in milliseconds. */
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
   * Until `signal` aborts; then nothing is left behind.
   *
   * @throws Error that names the source, when it does not stop although the signal has aborted
   */
  async follow(signal: AbortSignal): Promise<void> {
    const { name } = this.source;
    const using = this.#useSnapshots(signal);
    const end = await follow((inner) => this.source.watch(inner), signal, {
      onValue: (snapshot) => this.#latest.set({ snapshot }),
      onFailure: (error, retryInMs) => {
        const after = this.#latest.value;
        this.#failure = { error, after };
        this.#reading = failed(this.#reading, error);
        // What was yielded before it is about to be used, and comes first.
        if (after === undefined) this.#onFirst();
        this.#observer.observe({ type: 'source.failed', source: name, error, retryInMs });
      },
    });
    await using;
    if (end === 'left-behind') throw new Error(`source ${name} did not stop when its signal aborted, left behind`);
  }

  async #useSnapshots(signal: AbortSignal): Promise<void> {
    for await (const yielded of this.#latest.watch(signal)) {
      // Plugins are JavaScript: whatever is wrong with a snapshot, a getter that throws included, is wrong with that snapshot alone.
      await this.#use(yielded).catch((reason: unknown) => this.#refuse(errorOf(reason)));
      await this.#pace.next(signal);
    }
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
    // A source that has failed since: its last snapshot is in use, and the failure is the newer fact.
    this.#reading = this.#failure?.after === yielded ? failed(reading, this.#failure.error) : reading;
    if (changed) this.#onIndexed(this);
    this.#onFirst();
  }

  /** Reported once for each reason: a source may repeat itself. */
  #refuse(reason: Error): void {
    const error = new Error(`snapshot refused: ${reason.message}`, { cause: reason });
    const hasChanged = this.#reading.error?.message !== error.message;
    this.#reading = failed(this.#reading, error);
    this.#onFirst();
    if (hasChanged) this.#observer.observe({ type: 'source.refused', source: this.source.name, error });
  }
}

/** What a source has yielded, whatever that is. */
interface Yielded {
  readonly snapshot: unknown;
}

/**
 * The snapshot, if connections can be routed by it; what is odd about it joins its own warnings. One of the version in use is not
 * looked at: equal versions mean equal routes.
 *
 * @throws Error that says why it is refused
 */
function* judged(yielded: unknown, versionInUse: string | undefined): Generator<void, RouteSnapshot> {
  const isRepeated = versionInUse !== undefined && versionOf(yielded) === versionInUse;
  const problems = isRepeated ? [] : yield* judgingSnapshot(yielded);
  const errors = problems.filter(({ severity }) => severity === 'error');
  if (errors.length > 0) throw new Error(shown(errors).join('; '));
  const snapshot = yielded as RouteSnapshot;
  const own = snapshot.warnings ?? [];
  if (problems.length === 0 && own.length <= MAX_WARNINGS) return snapshot;
  return { ...snapshot, warnings: [...bounded(own), ...shown(problems)] };
}

/** The first ones, and the last, which sums up what is wrong in many places. */
function bounded(warnings: readonly string[]): readonly string[] {
  const more = warnings.length - MAX_WARNINGS;
  if (more <= 0) return warnings;
  return [...warnings.slice(0, MAX_WARNINGS - 2), `and ${more + 1} more warnings`, ...warnings.slice(-1)];
}

/** Each is a line of the log, and stands in every response of `/ready`. */
const MAX_WARNINGS = 100;

/** Of a snapshot, whatever that is. */
export function versionOf(yielded: unknown): unknown {
  return typeof yielded === 'object' && yielded !== null && 'version' in yielded ? yielded.version : undefined;
}

function shown(problems: readonly Problem[]): readonly string[] {
  const first = problems.slice(0, MAX_SHOWN).map(formatProblem);
  return problems.length > first.length ? [...first, `and ${problems.length - first.length} more problems`] : first;
}
