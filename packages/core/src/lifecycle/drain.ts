import { pause, settlesWithin } from '../watch/scope.ts';
import { ProxyError } from '../errors.ts';
import type { Sessions } from '../pipeline/sessions.ts';
import type { Observer } from '../observe.ts';
import { runBounded, runDrainHooks } from './drain-hooks.ts';
import type { Service } from './service.ts';
import { closeSpread } from './spread-close.ts';
import type { Closable } from './spread-close.ts';

/** How a drain takes its time, in milliseconds. */
export interface DrainOptions {
  /** Between "not ready" and the end of accepting: for load balancers to notice. */
  readonly delayMs: number;
  /** How long connections may continue after that. */
  readonly graceMs: number;
  /** Period over which the remaining ones are then closed: not at once, so that their clients do not all reconnect at once. */
  readonly spreadMs: number;
}

/** No delay: only the load balancer in front knows how long it needs to notice. An orchestrator must wait for the sum of the three. */
export const DEFAULT_DRAIN: DrainOptions = { delayMs: 0, graceMs: 30_000, spreadMs: 5_000 };

/** Why a proxy goes out of service: it shuts down, or a successor has taken over already. */
export type DrainReason = 'leaving' | 'handover';

/** `announcing`: not ready, still accepting. `finishing`: not accepting, connections continue. `closing`: those left are closed. */
export type DrainState = 'serving' | 'announcing' | 'finishing' | 'closing' | 'drained';

/** How far a drain has come. */
export interface DrainProgress {
  /** Where it is. */
  readonly state: DrainState;
  /** Connections live now. */
  readonly remaining: number;
  /** Connections that were live when it began, or came after, and have ended by themselves. */
  readonly finished: number;
  /** Connections that the drain closed. */
  readonly cut: number;
  /** Until the last connection is closed at the latest; 0 when none is left. */
  readonly remainingMs: number;
}

/** What a drain asks of sessions. */
export type DrainedSessions = Pick<Sessions, 'size' | 'ended' | 'empty' | 'stopAccepting'> & Iterable<Closable>;

/** What {@link Drain} works on. */
export interface DrainTargets {
  readonly sessions: DrainedSessions;
  /** `release` in place of `stop` when a successor takes over their sockets. */
  readonly listeners: Pick<Service, 'stop'> & { release?(): Promise<void> };
  /** Told first, all at once: see `Service.drain`. */
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

  /** From now on it takes its time so. */
  use(options: DrainOptions): void {
    this.#options = options;
  }

  /** How far it has come. */
  get progress(): DrainProgress {
    const { delayMs, graceMs, spreadMs } = this.#options;
    const remaining = this.#targets.sessions.size;
    const draining = this.#state !== 'serving' && remaining > 0;
    const remainingMs = draining ? Math.max(0, this.#began + delayMs + graceMs + spreadMs - performance.now()) : 0;
    const finished = this.#ending === undefined ? 0 : this.#targets.sessions.ended - this.#seen - this.#cut;
    return { state: this.#state, remaining, finished, cut: this.#cut, remainingMs };
  }

  /**
   * Begins, or joins the drain that has begun. Resolves when no connection is left.
   *
   * @param why `handover`: a successor accepts in its place already, so that nobody is told of it, and nobody needs time to notice
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
    // Bounded, whatever the transport does: a session that was cut is closed by then.
    await sessions.empty();
    this.#state = 'drained';
    const { progress } = this;
    observer.observe({ type: 'drain.ended', finished: progress.finished, cut: progress.cut });
    return progress;
  }
}
