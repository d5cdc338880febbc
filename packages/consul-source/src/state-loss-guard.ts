import type { Route } from '@meshgate/core';

/** Consul's state at one moment, as far as it distinguishes a loss from a removal. */
export interface Observation {
  readonly trustDomain: string;
  /** Raft index of the newest response: only grows while the servers keep their state. */
  readonly index: number;
  /** The agent knows this proxy's own registration. */
  readonly registered: boolean;
  /** Why responses may be incomplete; absent when nothing suggests that. */
  readonly incompleteReason?: string;
}

/** A period during which vanished entries may have been lost rather than removed. */
export interface Hold {
  /** A clause: "Consul has lost its state". */
  readonly reason: string;
  /** When the loss was noticed, in milliseconds of the monotonic clock. */
  readonly since: number;
  /** When it ends, likewise: ten minutes later. */
  readonly until: number;
  /** Responses may still be incomplete: now, or until {@link SHOWS_WITHIN_MS} ago. */
  readonly isOngoing: boolean;
  /** They may be incomplete now. */
  readonly isDoubted?: boolean;
}

// Agents re-register what their servers have lost within a minute, or up to seven in datacenters of thousands of nodes.
const HOLD_MS = 600_000;
// What else speaks for a loss is seen soon before its first sign or after its last; what is gone at another time was removed.
const SHOWS_WITHIN_MS = 2_000;

/**
 * Distinguishes a loss from a removal: servers that come back empty or from an older snapshot, an agent that lost its registrations or
 * left for a moment, a token with fewer permissions than before. Deregistering a service does not change index, trust domain, own
 * registration and visibility. Gateway and sidecar use the same detector.
 */
export class LossDetector {
  #last: Observation | undefined;
  /** When responses were last known to be incomplete. */
  #doubtedAt = -Infinity;
  #hold: Omit<Hold, 'isOngoing' | 'isDoubted'> | undefined;

  /**
   * @param now monotonic milliseconds
   * @returns the hold in force
   */
  observe(observation: Observation, now: number): Hold | undefined {
    const reason = this.#last === undefined ? undefined : lossBetween(this.#last, observation);
    this.#last = observation;
    const isDoubted = observation.incompleteReason !== undefined;
    if (isDoubted) this.#doubtedAt = now;
    if (reason !== undefined) this.#hold = { reason, since: now, until: now + HOLD_MS };
    else if (this.#hold !== undefined && now >= this.#hold.until) this.#hold = undefined;
    // A query that was answered during the loss may be confirmed, and heard of, a moment after it.
    return this.#hold && { ...this.#hold, isOngoing: now - this.#doubtedAt < SHOWS_WITHIN_MS, isDoubted };
  }
}

function lossBetween(last: Observation, now: Observation): string | undefined {
  const isRewound = now.index < last.index || now.trustDomain !== last.trustDomain;
  if (isRewound || (last.registered && !now.registered)) return 'Consul has lost its state';
  return last.incompleteReason === undefined ? now.incompleteReason : undefined;
}

/** What to route by. */
export interface Guarded {
  readonly routes: readonly Route[];
  /** Present while routes are held that Consul has not confirmed since. */
  readonly warning?: string;
}

/**
 * Holds routes that Consul has lost rather than removed. The services themselves keep running and register again one by one; routes
 * that are not confirmed when the hold ends, ten minutes after the loss, are dropped.
 */
export class StateLossGuard {
  readonly #detector = new LossDetector();
  #last: readonly Route[] = [];
  /** Not confirmed since the loss. */
  #held: readonly Route[] = [];
  /** What has vanished, and when: signs of a loss may come after the first response that lacks something. */
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
    const warning = `${hold.reason}: ${this.#held.length} ${this.#held.length === 1 ? 'route' : 'routes'} held until confirmed`;
    return { routes: [...routes, ...this.#held], warning };
  }
}

/** The `older` routes that share neither label nor server name with one of `routes`. */
function missing(routes: readonly Route[], older: readonly Route[]): readonly Route[] {
  if (older.length === 0) return older;
  const claimed = new Set(routes.flatMap(({ name, serverNames }) => [`route ${name}`, ...serverNames]));
  return older.filter(
    ({ name, serverNames }) =>
      !claimed.has(`route ${name}`) && !serverNames.some((serverName) => claimed.has(serverName)),
  );
}
