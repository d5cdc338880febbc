import type { Route } from '@meshgate/core';

/** The features of Consul's state at one moment that distinguish a loss from a removal. */
export interface Observation {
  readonly trustDomain: string;
  /** Raft index of the newest response, which only grows while the servers keep their state. */
  readonly index: number;
  /** Number of other responses so far whose index was below the previous one; 0 when absent. */
  readonly rewinds?: number;
  /** Whether the agent knows this proxy's own registration. */
  readonly registered: boolean;
  /** Why responses may be incomplete; absent when nothing indicates that. */
  readonly incompleteReason?: string;
}

/** A period in which missing entries may have been lost rather than removed. */
export interface Hold {
  /** A clause such as `Consul has lost its state`. */
  readonly reason: string;
  /** When the loss was noticed, in monotonic milliseconds. */
  readonly since: number;
  /**
   * End of the hold in monotonic milliseconds: ten minutes after its start, or sooner when the servers have kept their
   * state and every query has been answered again. Later while responses may be incomplete.
   */
  readonly until: number;
  /** Responses may be incomplete now, or may have been until {@link SHOWS_WITHIN_MS} ago. */
  readonly isOngoing: boolean;
  /** Responses may be incomplete now. */
  readonly isDoubted?: boolean;
}

// Agents register services again that their servers have lost: within a minute, or up to seven in datacenters with
// thousands of nodes.
const HOLD_MS = 600_000;
// By then, every blocking query has returned: after a wait of 30 s, and up to a sixteenth of it that the agent adds.
const CONFIRMED_AFTER_MS = 35_000;
// Entries lost with the state disappear shortly before the first sign of the loss, or after the last; entries that
// disappear at other times were removed.
const SHOWS_WITHIN_MS = 2_000;

/**
 * Distinguishes a loss from a removal. A loss means: servers come back empty or from an older snapshot, an agent loses
 * its registrations or leaves the cluster for a moment, or a token has fewer permissions than before. A deregistration
 * changes none of index, trust domain, own registration and visibility. Gateway and sidecar share this detector.
 */
export class LossDetector {
  #last: Observation | undefined;
  /** When responses were last known to be incomplete. */
  #doubtedAt = -Infinity;
  #hold: { readonly reason: string; readonly since: number; readonly hasLostState: boolean } | undefined;

  /**
   * Evaluates the state at one moment. Returns the hold in effect.
   *
   * @param now monotonic milliseconds
   */
  observe(observation: Observation, now: number): Hold | undefined {
    const last = this.#last;
    this.#last = observation;
    const isDoubted = observation.incompleteReason !== undefined;
    if (isDoubted) this.#doubtedAt = now;
    const isLost = last !== undefined && hasLostState(last, observation);
    const newReason = last?.incompleteReason === undefined ? observation.incompleteReason : undefined;
    const reason = isLost ? 'Consul has lost its state' : newReason;
    if (last !== undefined && reason !== undefined)
      this.#hold = { reason, since: now, hasLostState: isLost || this.#hold?.hasLostState === true };
    if (this.#hold === undefined) return undefined;
    const until = this.#until(this.#hold);
    if (now >= until) this.#hold = undefined;
    // A query answered during the loss may be confirmed, and its result arrive, a moment after the loss.
    return this.#hold && { ...this.#hold, until, isOngoing: now - this.#doubtedAt < SHOWS_WITHIN_MS, isDoubted };
  }

  /**
   * Servers that have kept their state confirm a removal as soon as every query has been answered again. Services that
   * agents must register again take longer.
   */
  #until({ since, hasLostState: isLost }: { readonly since: number; readonly hasLostState: boolean }): number {
    const longest = since + HOLD_MS;
    return isLost ? longest : Math.min(longest, this.#doubtedAt + CONFIRMED_AFTER_MS);
  }
}

function hasLostState(last: Observation, now: Observation): boolean {
  const hasRewound = now.index < last.index || (now.rewinds ?? 0) > (last.rewinds ?? 0);
  const isRewound = hasRewound || now.trustDomain !== last.trustDomain;
  return isRewound || (last.registered && !now.registered);
}

/** The routes to use. */
export interface Guarded {
  readonly routes: readonly Route[];
  /** Present while there are held routes that Consul has not confirmed since the loss. */
  readonly warning?: string;
}

/**
 * Holds routes that Consul has lost rather than removed. The services themselves keep running and register again one by
 * one. Routes without a confirmation are dropped at the end of the hold, ten minutes after the loss.
 */
export class StateLossGuard {
  readonly #detector = new LossDetector();
  #last: readonly Route[] = [];
  /** Routes without a confirmation since the loss. */
  #held: readonly Route[] = [];
  /** Routes that disappeared recently: signs of a loss may follow the first incomplete response. */
  #vanished: readonly { readonly route: Route; readonly at: number }[] = [];

  /**
   * Returns the routes to use: `routes`, and those held.
   *
   * @param now monotonic milliseconds
   */
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
    // A route that was confirmed at the start of the loss may still be missing from a later response.
    if (hold?.isOngoing === true) this.#held = [...this.#held, ...missing(this.#held, vanished)];
    this.#vanished = [...lately, ...vanished.map((route) => ({ route, at: now }))];
    this.#last = routes;
    this.#held = missing(routes, this.#held);
    if (hold === undefined || this.#held.length === 0) return { routes };
    const warning = `${hold.reason}: ${this.#held.length} ${this.#held.length === 1 ? 'route' : 'routes'} held until confirmed`;
    return { routes: [...routes, ...this.#held], warning };
  }
}

/** Returns the `older` routes that share neither a label nor a server name with any of `routes`. */
function missing(routes: readonly Route[], older: readonly Route[]): readonly Route[] {
  if (older.length === 0) return older;
  const claimed = new Set(routes.flatMap(({ name, serverNames }) => [`route ${name}`, ...serverNames]));
  return older.filter(
    ({ name, serverNames }) =>
      !claimed.has(`route ${name}`) && !serverNames.some((serverName) => claimed.has(serverName)),
  );
}
