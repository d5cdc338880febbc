import { formatDuration } from '../duration.ts';
import { ProxyError } from '../errors.ts';
import { Deadline, DeadlinesByLength } from './deadlines.ts';

/** A session, as far as it matters here. */
interface Aging {
  cut(reason: ProxyError): boolean;
}

/** Up to so much less than the whole age: clients that came together do not come back together. */
const JITTER = 0.1;
/** So many different ages, and timers, for each that is set. */
const STEPS = 32;

/** Ends sessions that have lasted for their maximum age: a few timers for all of them, and nothing for those without one. */
export class MaxAges {
  readonly #deadlines = new DeadlinesByLength<Aging>((session) => this.#onExpired(session));
  readonly #live = new Map<Aging, { readonly deadline: Deadline<Aging>; readonly maxAgeMs: number }>();

  /** Without effect when it has begun. @param maxAgeMs `Infinity`: none */
  begin(session: Aging, maxAgeMs: number): void {
    if (!Number.isFinite(maxAgeMs) || this.#live.has(session)) return;
    const step = Math.floor(Math.random() * STEPS) / STEPS;
    const deadline = new Deadline<Aging>(session);
    deadline.begin(this.#deadlines.of(Math.ceil(maxAgeMs * (1 - JITTER * step))), performance.now());
    this.#live.set(session, { deadline, maxAgeMs });
  }

  /** The session is over. */
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
