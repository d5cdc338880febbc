import { pause } from '../watch/backoff.ts';
import { ProxyError } from '../errors.ts';
import type { Sessions } from '../pipeline/sessions.ts';
import type { Observer } from '../observe.ts';
import type { Service } from './service.ts';

/** How a drain takes its time, in milliseconds. */
export interface DrainOptions {
  /** Between "not ready" and the end of accepting: for load balancers to notice. */
  readonly delayMs: number;
  /** How long connections may go on by themselves after that. */
  readonly graceMs: number;
  /** Over how long those that are left are then closed: not in one instant, so that their clients do not all come back at once. */
  readonly spreadMs: number;
}

/** No delay: only who stands in front knows how long it needs to notice. An orchestrator must wait for the sum of the three. */
export const DEFAULT_DRAIN: DrainOptions = { delayMs: 0, graceMs: 30_000, spreadMs: 5_000 };

/** `announcing`: not ready, still accepting. `finishing`: not accepting, connections go on. `closing`: those left are closed. */
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

/** What {@link Drain} works on. */
export interface DrainTargets {
  readonly sessions: Sessions;
  readonly listeners: Pick<Service, 'stop'>;
  /** Told first, all at once: see `Service.drain`. */
  readonly services: readonly Service[];
  readonly observer: Observer;
}

/** Takes a proxy out of service without hurting anybody who can finish in time. */
export class Drain {
  readonly #options: DrainOptions;
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

  /** How far it has come. */
  get progress(): DrainProgress {
    const { delayMs, graceMs, spreadMs } = this.#options;
    const remaining = this.#targets.sessions.size;
    const draining = this.#state !== 'serving' && remaining > 0;
    const remainingMs = draining ? Math.max(0, this.#began + delayMs + graceMs + spreadMs - performance.now()) : 0;
    const finished = this.#ending === undefined ? 0 : this.#targets.sessions.ended - this.#seen - this.#cut;
    return { state: this.#state, remaining, finished, cut: this.#cut, remainingMs };
  }

  /** Begins, or joins the drain that has begun. Resolves when no connection is left. */
  begin(): Promise<DrainProgress> {
    this.#ending ??= this.#run();
    return this.#ending;
  }

  /** Stop being polite: whatever is left is closed now. */
  force(): void {
    this.#force.abort();
  }

  async #run(): Promise<DrainProgress> {
    const { sessions, listeners, observer } = this.#targets;
    const { signal } = this.#force;
    this.#began = performance.now();
    this.#seen = sessions.ended;
    this.#state = 'announcing';
    observer.observe({ type: 'drain.started', connections: sessions.size });
    await this.#announce(signal);
    await pause(this.#options.delayMs, signal);
    this.#state = 'finishing';
    await listeners.stop(signal);
    await this.#emptyWithin(this.#options.graceMs, signal);
    this.#state = 'closing';
    await this.#closeRest(signal);
    await sessions.empty();
    this.#state = 'drained';
    const { progress } = this;
    observer.observe({ type: 'drain.ended', finished: progress.finished, cut: progress.cut });
    return progress;
  }

  /** A service that cannot say farewell must not keep the others from leaving. */
  async #announce(signal: AbortSignal): Promise<void> {
    const { services, observer } = this.#targets;
    const rejections = await Promise.allSettled(services.map((service) => service.drain?.(signal)));
    for (const [index, farewell] of rejections.entries()) {
      if (farewell.status === 'fulfilled') continue;
      const error = farewell.reason instanceof Error ? farewell.reason : new Error(String(farewell.reason));
      observer.observe({ type: 'service.failed', service: services[index]?.name ?? 'unnamed', error });
    }
  }

  async #emptyWithin(ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const stop = (): void => over.abort();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    await Promise.race([this.#targets.sessions.empty(), pause(ms, over.signal)]);
    stop();
    signal.removeEventListener('abort', stop);
  }

  /** Those silent for longest go first, since they lose least; each gets its slot of the spread. */
  async #closeRest(signal: AbortSignal): Promise<void> {
    const { sessions } = this.#targets;
    const rest = [...sessions.live()].sort((one, other) => one.lastByteAt - other.lastByteAt);
    const slotMs = this.#options.spreadMs / Math.max(1, rest.length);
    const start = performance.now();
    for (const [index, { connection }] of rest.entries()) {
      const waitMs = start + index * slotMs - performance.now();
      // Below a timer's resolution several share a turn.
      if (waitMs > 1) await this.#emptyWithin(waitMs, signal);
      if (sessions.cut(connection.id, new ProxyError('CLOSED_BY_DRAIN', 'the grace of the drain was over')))
        this.#cut += 1;
    }
  }
}
