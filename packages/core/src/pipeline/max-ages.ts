import { formatDuration } from '../duration.ts';
import { ProxyError } from '../errors.ts';
import { Deadline, DeadlinesByLength } from './deadlines.ts';

/** The part of a session that {@link MaxAges} uses. */
interface Aging {
  cut(reason: ProxyError): boolean;
}

/** Shortens ages by up to this share: clients that connected together do not reconnect together. */
const JITTER = 0.1;
/** Number of different ages, and timers, per configured age. */
const STEPS = 32;

/** Ends sessions at their maximum age: a few timers serve all sessions, and sessions without a maximum cost nothing. */
export class MaxAges {
  readonly #deadlines = new DeadlinesByLength<Aging>((session) => this.#onExpired(session));
  readonly #live = new Map<Aging, { readonly deadline: Deadline<Aging>; readonly maxAgeMs: number }>();

  /** Starts the maximum age of `session`; no effect if it has started. @param maxAgeMs `Infinity`: no maximum */
  begin(session: Aging, maxAgeMs: number): void {
    if (!Number.isFinite(maxAgeMs) || this.#live.has(session)) return;
    const step = Math.floor(Math.random() * STEPS) / STEPS;
    const deadline = new Deadline<Aging>(session);
    deadline.begin(this.#deadlines.of(Math.ceil(maxAgeMs * (1 - JITTER * step))), performance.now());
    this.#live.set(session, { deadline, maxAgeMs });
  }

  /** Stops the maximum age of a session that has ended. */
  end(session: Aging): void {
    if (this.#live.size === 0) return;
    this.#live.get(session)?.deadline.end();
    this.#live.delete(session);
  }

  #onExpired(session: Aging): void {
    const maxAgeMs = this.#live.get(session)?.maxAgeMs ?? 0;
    this.#live.delete(session);
    session.cut(new ProxyError('MAX_AGE', `its maximum age of ${formatDuration(maxAgeMs)} is over`));
  }
}
