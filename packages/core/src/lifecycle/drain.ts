import { pause, settlesWithin } from '../watch/scope.ts';
import { ProxyError } from '../errors.ts';
import type { Session } from '../pipeline/session.ts';
import type { Sessions } from '../pipeline/sessions.ts';
import type { Observer } from '../observe.ts';
import { runBounded, runDrainHooks } from './drain-hooks.ts';
import type { Service } from './service.ts';

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
export type DrainedSessions = Pick<Sessions, 'size' | 'ended' | 'empty' | 'stopAccepting'> &
  Iterable<Pick<Session, 'cut' | 'lastByteAt'>>;

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
    await this.#closeRest(signal);
    // Bounded, whatever the transport does: a session that was cut is closed by then.
    await sessions.empty();
    this.#state = 'drained';
    const { progress } = this;
    observer.observe({ type: 'drain.ended', finished: progress.finished, cut: progress.cut });
    return progress;
  }

  /** Those silent for longest go first, since they lose least; each gets its slot of the spread. */
  async #closeRest(signal: AbortSignal): Promise<void> {
    const rest = silentLongestFirst(this.#targets.sessions);
    const reason = new ProxyError('CLOSED_BY_DRAIN', 'the grace of the drain is over');
    const start = performance.now();
    const { spreadMs } = this.#options;
    let next = 0;
    while (next < rest.length) {
      const due = signal.aborted ? rest.length : dueAfter(performance.now() - start, spreadMs, rest.length);
      const turnEndsAt = performance.now() + TURN_MS;
      for (; next < due && performance.now() < turnEndsAt; next += 1)
        if (rest[next]?.cut(reason) === true) this.#cut += 1;
      if (next < due) await nextTurn();
      else if (next < rest.length) await pause(TICK_MS, signal);
    }
  }
}

// Short enough that the remaining connections do not notice, long enough that 50,000 are closed within seconds.
const TURN_MS = 10;
const TICK_MS = 5;

/** How many of `count` are to be closed by then: the first at once, the last when the spread is over. */
function dueAfter(elapsedMs: number, spreadMs: number, count: number): number {
  return elapsedMs >= spreadMs ? count : Math.min(count, 1 + Math.floor((elapsedMs / spreadMs) * count));
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

/**
 * In an order that takes linear work as near as makes no difference: numbers sort many times faster than objects do, so each is the
 * time and the place in one. A turn of the loop is what sorting objects would take for 50,000.
 */
function silentLongestFirst<S extends Pick<Session, 'lastByteAt'>>(sessions: Iterable<S>): readonly S[] {
  const all = Array.from(sessions);
  const lastByteAt = all.map((session) => session.lastByteAt);
  const first = lastByteAt.reduce((least, at) => Math.min(least, at), Infinity);
  const last = lastByteAt.reduce((most, at) => Math.max(most, at), -Infinity);
  // As fine as numbers are exact: microseconds, or less fine where there are very many sessions over very many days.
  const stepsPerMs = Math.min(1_000, Number.MAX_SAFE_INTEGER / (all.length * (last - first + 1)));
  const keys = Float64Array.from(
    lastByteAt,
    (at, index) => Math.floor((at - first) * stepsPerMs) * all.length + index,
  ).sort();
  return Array.from(keys, (key) => all[key % all.length]).filter((session) => session !== undefined);
}
