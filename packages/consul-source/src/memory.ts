import type { Route } from '@meshgate/core';

/** What Consul says at one moment, as far as the loss of its state shows in it. */
export interface Account {
  readonly routes: readonly Route[];
  readonly trustDomain: string;
  /** Raft index of the newest answer: only ever grows while the servers keep their state. */
  readonly index: number;
  /** The agent knows this gateway's own registration. */
  readonly registered: boolean;
}

/** What to route by. */
export interface Remembered {
  readonly routes: readonly Route[];
  /** Present while routes are held that Consul has not confirmed since. */
  readonly warning?: string;
  /** When the hold is over, in milliseconds of the monotonic clock; absent without a hold. */
  readonly until?: number;
}

/**
 * Holds on to routes when Consul has not removed them but forgotten them: servers that come back empty or from an older
 * snapshot, an agent that lost its registrations. The services themselves go on running and register again by and by; what has
 * not been confirmed by the end of the hold is gone.
 *
 * A service that is deregistered loses its route at once: that leaves index, trust domain and own registration as they are.
 */
export class Memory {
  #last: Account | undefined;
  #held: { readonly routes: readonly Route[]; readonly until: number } | undefined;

  /** @param now monotonic milliseconds */
  recall(account: Account, now: number): Remembered {
    const last = this.#last;
    if (last !== undefined && hasForgotten(last, account)) {
      const before = this.#held === undefined ? last.routes : joined(last.routes, this.#held.routes);
      this.#held = { routes: before, until: now + HOLD_MS };
    }
    this.#last = account;
    if (this.#held !== undefined && now >= this.#held.until) this.#held = undefined;
    return this.#held === undefined ? { routes: account.routes } : remembered(account.routes, this.#held);
  }
}

// Agents register again what their servers have lost within a minute, up to seven in datacenters of thousands of nodes.
const HOLD_MS = 600_000;

function hasForgotten(last: Account, account: Account): boolean {
  const rewound = account.index < last.index || account.trustDomain !== last.trustDomain;
  return rewound || (last.registered && !account.registered);
}

function remembered(
  routes: readonly Route[],
  held: { readonly routes: readonly Route[]; readonly until: number },
): Remembered {
  const all = joined(routes, held.routes);
  const unconfirmed = all.length - routes.length;
  if (unconfirmed === 0) return { routes, until: held.until };
  const warning = `Consul has lost its state: ${unconfirmed} routes are held that it has not confirmed since`;
  return { routes: all, warning, until: held.until };
}

/** `routes`, and those of `older` that claim neither the label nor a server name of one of them. */
function joined(routes: readonly Route[], older: readonly Route[]): readonly Route[] {
  const claimed = new Set(routes.flatMap(({ name, serverNames }) => [`route ${name}`, ...serverNames]));
  const isFree = ({ name, serverNames }: Route): boolean =>
    !claimed.has(`route ${name}`) && !serverNames.some((serverName) => claimed.has(serverName));
  return [...routes, ...older.filter(isFree)];
}
