import type { Observer } from '../observe.ts';
import type { Session } from './session.ts';

/** Long enough for four retransmissions of the kernel, as long as a client that waits is still there. */
const SILENT_MS = 3_000;

/** A look goes through all sessions: a hundred thousand take five milliseconds. */
const LOOK_EVERY_MS = 5_000;

/**
 * Looks, once in each silence, whether a connection waits for a network that loses what it sends: nothing fails then, and nobody else would tell.
 * Asks nothing of connections that go on, or have been silent for long.
 */
export class StallWatch {
  readonly #sessions: Iterable<Session>;
  readonly #observer: () => Observer;
  #timer: NodeJS.Timeout | undefined;
  #lookedAt = 0;

  /** @param observer told of what is found */
  constructor(sessions: Iterable<Session>, observer: () => Observer) {
    this.#sessions = sessions;
    this.#observer = observer;
  }

  /** There are sessions. Idempotent. */
  begin(): void {
    if (this.#timer !== undefined) return;
    this.#lookedAt = performance.now();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
  }

  /** There are none any more. Idempotent. */
  end(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    const now = performance.now();
    const [from, until] = [this.#lookedAt - SILENT_MS, now - SILENT_MS];
    this.#lookedAt = now;
    for (const session of this.#sessions) {
      const { lastByteAt } = session;
      if (lastByteAt <= from || lastByteAt > until) continue;
      const stall = session.stalled();
      if (stall !== undefined) this.#observer().observe({ type: 'path.impaired', problem: 'large-segments', ...stall });
    }
  }
}
