import { createHash } from 'node:crypto';
import type { Route } from '@meshgate/core';

/**
 * Computes versions of snapshots: equal routes and warnings give equal versions. Hashes each route once, however many
 * snapshots contain it.
 */
export class SnapshotVersions {
  readonly #digests = new WeakMap<Route, string>();

  /** Computes the version of a snapshot, in steps, so that the caller can yield in between. */
  *of(routes: readonly Route[], warnings: readonly string[]): Generator<void, string> {
    const version = createHash('sha256');
    for (const [at, route] of routes.entries()) {
      version.update(this.#digestOf(route));
      if (at % ROUTES_PER_STEP === 0) yield;
    }
    return version.update(JSON.stringify(warnings)).digest('base64url');
  }

  #digestOf(route: Route): string {
    const known = this.#digests.get(route);
    if (known !== undefined) return known;
    const digest = createHash('sha256').update(JSON.stringify(route)).digest('base64url');
    this.#digests.set(route, digest);
    return digest;
  }
}

// Work between two checks of the clock: about 0.1 ms.
const ROUTES_PER_STEP = 20;
