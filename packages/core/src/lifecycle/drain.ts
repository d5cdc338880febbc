import { pause, settlesWithin } from '../watch/scope.ts';
import { ProxyError } from '../errors.ts';
import type { Sessions } from '../pipeline/sessions.ts';
import type { Observer } from '../observe.ts';
import { runBounded, runDrainHooks } from './drain-hooks.ts';
import type { Service } from './service.ts';
import { closeSpread } from './spread-close.ts';
import type { Closable } from './spread-close.ts';

/** Timing of a drain, in milliseconds. */
export interface DrainOptions {
  /** From "not ready" to the end of accepting, so that load balancers can notice. */
  readonly delayMs: number;
  /** Grace period: how long connections may continue afterwards. */
  readonly graceMs: number;
  /**
   * Period over which the remaining connections are then closed, so that their clients do not all reconnect at once.
   */
  readonly spreadMs: number;
}

/** No delay: it depends on the load balancer in front. An orchestrator must wait for the sum of the three. */
export const DEFAULT_DRAIN: DrainOptions = { delayMs: 0, graceMs: 30_000, spreadMs: 5_000 };

/** Reason for a drain: `leaving` is a shutdown; `handover` means that a successor already accepts. */
export type DrainReason = 'leaving' | 'handover';

/**
 * `announcing`: not ready, still accepting. `finishing`: not accepting, connections continue. `closing`: the remaining
 * connections are being closed.
 */
export type DrainState = 'serving' | 'announcing' | 'finishing' | 'closing' | 'drained';

/** Progress of a drain. */
export interface DrainProgress {
  /** Current phase. */
  readonly state: DrainState;
  /** Live connections. */
  readonly remaining: number;
  /** Connections that ended by themselves since the drain began, including those accepted during it. */
  readonly finished: number;
  /** Connections closed by the drain. */
  readonly cut: number;
  /** Upper bound of the time until the last connection is closed, in milliseconds; 0 when none is left. */
  readonly remainingMs: number;
}

/** The part of {@link Sessions} that a drain uses. */
export type DrainedSessions = Pick<Sessions, 'size' | 'ended' | 'empty' | 'stopAccepting'> & Iterable<Closable>;

/** Dependencies of {@link Drain}. */
export interface DrainTargets {
  readonly sessions: DrainedSessions;
  /** `release` is used instead of `stop` when a successor takes over the sockets. */
  readonly listeners: Pick<Service, 'stop'> & { release?(): Promise<void> };
  /** Their drain hooks run first, concurrently: see `Service.drain`. */
  readonly services: readonly Service[];
  readonly observer: Observer;
}

/** Takes a proxy out of service without cutting connections that can finish in time. */
export class Drain {
  #options: DrainOptions;
  readonly #targets: DrainTargets;
  readonly #force = new AbortController();
  #state: DrainState = 'serving';
  #ending: Promise<DrainProgress> | undefined;
  #began = 0;
  #seen = 0;
  #cut = 0;

  constructor(options: DrainOptions, targets: DrainTargets) {
    this.#options = options;
    this.#targets = targets;
  }

  /** Replaces the timing, also of a drain in progress. */
  use(options: DrainOptions): void {
    this.#options = options;
  }

  /** Current progress. */
  get progress(): DrainProgress {
    const { delayMs, graceMs, spreadMs } = this.#options;
    const remaining = this.#targets.sessions.size;
    const draining = this.#state !== 'serving' && remaining > 0;
    const remainingMs = draining ? Math.max(0, this.#began + delayMs + graceMs + spreadMs - performance.now()) : 0;
    const finished = this.#ending === undefined ? 0 : this.#targets.sessions.ended - this.#seen - this.#cut;
    return { state: this.#state, remaining, finished, cut: this.#cut, remainingMs };
  }

  /**
   * Begins a drain, or joins the one in progress. Resolves when no connection is left.
   *
   * @param why `handover` skips the drain hooks and the delay, since a successor already accepts
   */
  begin(why: DrainReason = 'leaving'): Promise<DrainProgress> {
    this.#ending ??= this.#run(why);
    return this.#ending;
  }

  /** Closes the remaining connections now. */
  force(): void {
    this.#force.abort();
  }

  async #run(why: DrainReason): Promise<DrainProgress> {
    const { sessions, listeners, observer } = this.#targets;
    const { signal } = this.#force;
    this.#began = performance.now();
    this.#seen = sessions.ended;
    this.#state = 'announcing';
    observer.observe({ type: 'drain.started', connections: sessions.size });
    const control = { force: signal, observer };
    if (why === 'leaving') {
      await runDrainHooks(this.#targets.services, control);
      await pause(this.#options.delayMs, signal);
    }
    this.#state = 'finishing';
    const released = why === 'handover' ? listeners.release?.bind(listeners) : undefined;
    await runBounded('listeners', () => released?.() ?? listeners.stop(signal), control);
    await settlesWithin(sessions.empty(), this.#options.graceMs, signal);
    this.#state = 'closing';
    sessions.stopAccepting();
    const reason = new ProxyError('CLOSED_BY_DRAIN', 'the grace of the drain is over');
    await closeSpread(sessions, {
      spreadMs: this.#options.spreadMs,
      signal,
      reasonOf: () => reason,
      onClosed: () => (this.#cut += 1),
    });
    // Bounded with any transport: sessions that were cut close within a deadline.
    await sessions.empty();
    this.#state = 'drained';
    const { progress } = this;
    observer.observe({ type: 'drain.ended', finished: progress.finished, cut: progress.cut });
    return progress;
  }
}
