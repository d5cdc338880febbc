import type { Observer } from '../observe.ts';
import type { Session } from './session.ts';

/** Long enough for four retransmissions by the kernel, short enough that a waiting client is still there. */
const SILENT_MS = 3_000;

/** Each scan visits all sessions: 5 ms for 100,000. */
const LOOK_EVERY_MS = 5_000;

/**
 * Detects connections that wait for a network which silently drops their segments: nothing fails then, and nothing else
 * would report it. Each silence is checked once; connections that are active, or have been silent for long, are
 * skipped.
 */
export class StallWatch {
  readonly #sessions: Iterable<Session>;
  readonly #observer: () => Observer;
  #timer: NodeJS.Timeout | undefined;
  #lookedAt = 0;

  /**
   * @param observer receives `path.impaired`
   */
  constructor(sessions: Iterable<Session>, observer: () => Observer) {
    this.#sessions = sessions;
    this.#observer = observer;
  }

  /** Starts the scans. Idempotent. */
  begin(): void {
    if (this.#timer !== undefined) return;
    this.#lookedAt = performance.now();
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS).unref();
  }

  /** Stops the scans. Idempotent. */
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
