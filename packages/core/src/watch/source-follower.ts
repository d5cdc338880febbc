import { setImmediate as nextTurn } from 'node:timers/promises';
import { follow } from './follow.ts';
import type { Observer } from '../observe.ts';
import type { RouteSnapshot, RouteSource } from '../routes/route.ts';
import { indexing } from '../routes/route-table.ts';
import type { RouteIndex } from '../routes/route-table.ts';

/**
 * `waiting`: it has not spoken yet. `current`: its last word is in use. `restored`: it has not spoken, what it said before this
 * process started is in use. `stale`: what it says now is of no use, what it said before is in use. `failing`: it threw; its last
 * snapshot, if any, stays in use.
 */
export type SourceState = 'waiting' | 'current' | 'restored' | 'stale' | 'failing';

/** How a source is doing. */
export interface SourceStatus {
  readonly name: string;
  readonly state: SourceState;
  /** Routes of it in use. */
  readonly routes: number;
  /** When it last spoke, or what is in use of it was right; absent when it never has. */
  readonly lastSuccess?: Date;
  /** Its last failure; absent once it has spoken again. */
  readonly error?: Error;
  /** What is wrong with it although it serves, in its own words. */
  readonly warnings: readonly string[];
}

/** Follows one source and indexes what it says, the newest word only: those that come meanwhile are skipped. */
export class SourceFollower {
  /** Resolves when the source's first snapshot is in use, or it has failed for the first time. */
  readonly firstSnapshot: Promise<void>;
  readonly #source: RouteSource;
  readonly #observer: Observer;
  readonly #onIndexed: (track: SourceFollower) => void;
  #spoke: () => void = () => undefined;
  #state: SourceState = 'waiting';
  #lastSuccess: Date | undefined;
  /** It has said something in this run of the process that was right then. */
  #wasCurrent = false;
  #error: Error | undefined;
  #index: RouteIndex | undefined;
  #indexMs = 0;
  #next: RouteSnapshot | undefined;
  #indexing: Promise<void> | undefined;

  /** @param onIndexed called with this track each time a new index is ready */
  constructor(source: RouteSource, observer: Observer, onIndexed: (track: SourceFollower) => void) {
    this.#source = source;
    this.#observer = observer;
    this.#onIndexed = onIndexed;
    this.firstSnapshot = new Promise((resolve) => {
      this.#spoke = resolve;
    });
  }

  /** What of the source is in use; absent until it has spoken. */
  get index(): RouteIndex | undefined {
    return this.#index;
  }

  /** How long the last indexing took, its pauses included, in milliseconds. */
  get indexMs(): number {
    return this.#indexMs;
  }

  get status(): SourceStatus {
    return {
      name: this.#source.name,
      state: this.#state,
      routes: this.#index?.routes.size ?? 0,
      ...(this.#lastSuccess === undefined ? {} : { lastSuccess: this.#lastSuccess }),
      ...(this.#error === undefined ? {} : { error: this.#error }),
      warnings: this.#index?.snapshot.warnings ?? [],
    };
  }

  /** Until `signal` aborts; then nothing is left behind. */
  async follow(signal: AbortSignal): Promise<void> {
    await follow((inner) => this.#source.watch(inner), signal, {
      onValue: (snapshot) => this.#onSnapshot(snapshot),
      onFailure: (error, retryInMs) => this.#onFailure(error, retryInMs),
    });
    await this.#indexing;
  }

  #onSnapshot(snapshot: RouteSnapshot): void {
    this.#state = this.#stateBy(snapshot);
    this.#wasCurrent ||= this.#state === 'current';
    const asOf = snapshot.asOf ?? new Date();
    this.#lastSuccess = asOf;
    this.#error = undefined;
    const changed = snapshot.version !== (this.#next ?? this.#index?.snapshot)?.version;
    this.#observer.observe({ type: 'source.updated', source: this.#source.name, changed, asOf });
    if (!changed) return;
    this.#next = snapshot;
    this.#indexing ??= this.#indexAll();
  }

  #stateBy({ asOf }: RouteSnapshot): SourceState {
    if (asOf === undefined) return 'current';
    return this.#wasCurrent ? 'stale' : 'restored';
  }

  #onFailure(error: Error, retryInMs: number): void {
    this.#state = 'failing';
    this.#error = error;
    this.#observer.observe({ type: 'source.failed', source: this.#source.name, error, retryInMs });
    this.#spoke();
  }

  async #indexAll(): Promise<void> {
    for (let snapshot = this.#next; snapshot !== undefined; snapshot = this.#next) {
      const start = performance.now();
      const index = await inTurns(indexing(this.#source.name, snapshot));
      if (this.#next === snapshot) this.#next = undefined;
      this.#indexMs = performance.now() - start;
      this.#index = index;
      this.#onIndexed(this);
      this.#spoke();
    }
    this.#indexing = undefined;
  }
}

// A connection that arrives meanwhile waits no longer than this: a tenth of what people notice.
const TURN_MS = 5;

/** Runs `steps` to their end, giving way to everything else after each `TURN_MS`. */
async function inTurns<T>(steps: Generator<void, T>): Promise<T> {
  let turnEndsAt = performance.now() + TURN_MS;
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    if (performance.now() < turnEndsAt) continue;
    await nextTurn();
    turnEndsAt = performance.now() + TURN_MS;
  }
}
