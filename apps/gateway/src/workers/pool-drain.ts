import { HOOK_TIMEOUT_MS, runDrainHooks, settlesWithin } from '@meshgate/core/parts';
import type { DrainOptions, DrainProgress, DrainState, Observer, Service } from '@meshgate/core';
import type { DrainReason } from '@meshgate/core/parts';
import type { WorkerPool } from './pool.ts';

/** The parts that a {@link PoolDrain} drains. */
export interface PoolDrainTargets {
  readonly pool: WorkerPool;
  /** Services whose `drain` is called first, all at the same time. */
  readonly services: readonly Service[];
  /** Services whose `drain` runs in the workers, before the rest of their drain. */
  readonly carrierServices: readonly Service[];
  readonly observer: Observer;
}

/** Drains all workers at the same time. */
export class PoolDrain {
  #options: DrainOptions;
  readonly #targets: PoolDrainTargets;
  readonly #force = new AbortController();
  #progress: DrainProgress = { state: 'serving', remaining: 0, finished: 0, cut: 0, remainingMs: 0 };
  #ending: Promise<DrainProgress> | undefined;

  constructor(options: DrainOptions, targets: PoolDrainTargets) {
    this.#options = options;
    this.#targets = targets;
  }

  /** Applies new timings from now on. */
  use(options: DrainOptions): void {
    this.#options = options;
  }

  /** The current state, with the counts of the last query. */
  get progress(): DrainProgress {
    return this.#progress;
  }

  /** Queries the workers' progress. Skips workers that do not respond. */
  async count(): Promise<DrainProgress> {
    if (this.#progress.state === 'drained') return this.#progress;
    const all: DrainProgress[] = [];
    await this.#targets.pool.query('progress', (one) => void all.push(one));
    return { state: this.#state(all), ...together(all) };
  }

  /** Starts the drain, or joins the running one. Resolves when no worker has connections left. */
  begin(why: DrainReason = 'leaving'): Promise<DrainProgress> {
    this.#ending ??= this.#run(why);
    return this.#ending;
  }

  /** Closes the remaining connections now. A worker that does not comply is killed. */
  force(): void {
    this.#force.abort();
    this.#targets.pool.send({ kind: 'force' });
  }

  async #run(why: DrainReason): Promise<DrainProgress> {
    const { pool, services, observer } = this.#targets;
    pool.stopReplacing();
    this.#enter('announcing');
    const { remaining } = await this.count();
    observer.observe({ type: 'drain.started', connections: remaining });
    if (why === 'leaving') await runDrainHooks(services, { force: this.#force.signal, observer });
    this.#enter('finishing');
    pool.send({ kind: 'drain', why });
    pool.closeSockets(why);
    if (this.#force.signal.aborted) this.force();
    const ends = await this.#drained();
    this.#progress = { state: 'drained', ...together(ends) };
    const { finished, cut } = this.#progress;
    observer.observe({ type: 'drain.ended', finished, cut });
    return this.#progress;
  }

  /** Waits for the workers' drains. Skips workers that exited before they reported. */
  async #drained(): Promise<readonly DrainProgress[]> {
    const { workers } = this.#targets.pool;
    const pending = new Set(workers);
    const ends = Promise.all(workers.map((worker) => worker.drained.finally(() => pending.delete(worker))));
    const isDone =
      (await settlesWithin(ends, this.#longestMs(), this.#force.signal)) || (await settlesWithin(ends, KILL_AFTER_MS));
    if (!isDone) for (const worker of pending) worker.kill();
    return (await ends).filter((end) => end !== undefined);
  }

  /** Returns the longest time that the drain of a healthy worker may take. */
  #longestMs(): number {
    const { delayMs, graceMs, spreadMs } = this.#options;
    const hasHooks = this.#targets.carrierServices.some((service) => service.drain !== undefined);
    return (hasHooks ? HOOK_TIMEOUT_MS : 0) + delayMs + graceMs + spreadMs;
  }

  #enter(state: DrainState): void {
    this.#progress = { ...this.#progress, state };
  }

  #state(all: readonly DrainProgress[]): DrainState {
    const { state } = this.#progress;
    if (state !== 'finishing' || all.length === 0) return state;
    const least = STATES.find((one) => all.some((worker) => worker.state === one)) ?? state;
    // A worker may not have received the drain request yet.
    return STATES.indexOf(least) < STATES.indexOf(state) ? state : least;
  }
}

/** Least advanced first. */
const STATES: readonly DrainState[] = ['serving', 'announcing', 'finishing', 'closing', 'drained'];

/** A healthy worker closes its connections within milliseconds after the deadline. */
const KILL_AFTER_MS = 2_000;

function together(all: readonly DrainProgress[]): Omit<DrainProgress, 'state'> {
  const sum = (key: 'remaining' | 'finished' | 'cut'): number => all.reduce((total, one) => total + one[key], 0);
  const remainingMs = Math.max(0, ...all.map((one) => one.remainingMs));
  return { remaining: sum('remaining'), finished: sum('finished'), cut: sum('cut'), remainingMs };
}
