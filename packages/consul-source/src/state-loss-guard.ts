import type { Route } from '@meshgate/core';

/** What Consul shows at one moment, as far as it tells a loss from a removal. */
export interface Observation {
  readonly trustDomain: string;
  /** Raft index of the newest answer: only ever grows while the servers keep their state. */
  readonly index: number;
  /** The agent knows this proxy's own registration. */
  readonly registered: boolean;
  /** Why answers may lack what exists, in words; absent while nothing speaks for that. */
  readonly incompleteReason?: string;
}

/** While it lasts, what has vanished may have been forgotten rather than removed. */
export interface Hold {
  /** In words: «Consul has lost its state». */
  readonly reason: string;
  /** When the loss was noticed, in milliseconds of the monotonic clock. */
  readonly since: number;
  /** When it is over, likewise: ten minutes after. */
  readonly until: number;
  /** Something speaks for incomplete answers now, too. */
  readonly isOngoing: boolean;
}

// Agents register again what their servers have lost within a minute, up to seven in datacenters of thousands of nodes.
const HOLD_MS = 600_000;

/**
 * Tells a loss from a removal: servers that come back empty or from an older snapshot, an agent that has lost its registrations or has left
 * for a moment, a token that may see less than before. A service that is deregistered leaves index, trust domain, own registration and
 * visibility as they are. Gateway and sidecar ask the same detector.
 */
export class LossDetector {
  #last: Observation | undefined;
  #hold: Omit<Hold, 'isOngoing'> | undefined;

  /**
   * @param now monotonic milliseconds
   * @returns the hold that is in force
   */
  observe(observation: Observation, now: number): Hold | undefined {
    const reason = this.#last === undefined ? undefined : lossBetween(this.#last, observation);
    this.#last = observation;
    if (reason !== undefined) this.#hold = { reason, since: now, until: now + HOLD_MS };
    else if (this.#hold !== undefined && now >= this.#hold.until) this.#hold = undefined;
    return this.#hold && { ...this.#hold, isOngoing: observation.incompleteReason !== undefined };
  }
}

function lossBetween(last: Observation, now: Observation): string | undefined {
  const isRewound = now.index < last.index || now.trustDomain !== last.trustDomain;
  if (isRewound || (last.registered && !now.registered)) return 'Consul has lost its state';
  return last.incompleteReason === undefined ? now.incompleteReason : undefined;
}

// What else speaks for a loss is seen soon after its first sign; what has been gone for longer was removed.
const SHOWS_WITHIN_MS = 2_000;

/** What to route by. */
export interface Guarded {
  readonly routes: readonly Route[];
  /** Present while routes are held that Consul has not confirmed since. */
  readonly warning?: string;
}

/**
 * Holds on to routes that Consul has not removed but forgotten. The services themselves go on running and register again by and by; what
 * has not been confirmed by the end of the hold, ten minutes after the loss, is gone.
 */
export class StateLossGuard {
  readonly #detector = new LossDetector();
  #last: readonly Route[] = [];
  /** Not confirmed since the loss. */
  #held: readonly Route[] = [];
  /** What has vanished, and when: signs of a loss may come after the first answer that lacks something. */
  #vanished: readonly { readonly route: Route; readonly at: number }[] = [];

  /** @param now monotonic milliseconds */
  apply(routes: readonly Route[], observation: Observation, now: number): Guarded {
    const hold = this.#detector.observe(observation, now);
    const lately = this.#vanished.filter(({ at }) => now - at < SHOWS_WITHIN_MS);
    if (hold === undefined) this.#held = [];
    else if (hold.since === now) {
      const before = [...this.#last, ...missing(this.#last, this.#held)];
      const gone = lately.map(({ route }) => route);
      this.#held = [...before, ...missing(before, gone)];
    }
    const vanished = missing(routes, this.#last);
    // What was confirmed when the doubt began may still be missing from a later answer.
    if (hold?.isOngoing === true) this.#held = [...this.#held, ...missing(this.#held, vanished)];
    this.#vanished = [...lately, ...vanished.map((route) => ({ route, at: now }))];
    this.#last = routes;
    this.#held = missing(routes, this.#held);
    if (hold === undefined || this.#held.length === 0) return { routes };
    const warning = `${hold.reason}: ${this.#held.length} routes are held that it has not confirmed since`;
    return { routes: [...routes, ...this.#held], warning };
  }
}

/** Those of `older` that claim neither the label nor a server name of one of `routes`. */
function missing(routes: readonly Route[], older: readonly Route[]): readonly Route[] {
  if (older.length === 0) return older;
  const claimed = new Set(routes.flatMap(({ name, serverNames }) => [`route ${name}`, ...serverNames]));
  return older.filter(
    ({ name, serverNames }) =>
      !claimed.has(`route ${name}`) && !serverNames.some((serverName) => claimed.has(serverName)),
  );
}
