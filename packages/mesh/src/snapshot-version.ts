import { createHash } from 'node:crypto';
import type { Route } from '@meshgate/core';

/**
 * Computes versions of snapshots: equal when routes and warnings are. Each route is hashed once, however many snapshots contain it, in
 * steps, so that the caller can yield in between.
 */
export class SnapshotVersions {
  readonly #digests = new WeakMap<Route, string>();

  /** The version of a snapshot, in steps. */
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

// Between two checks of the clock: about a tenth of a millisecond of work.
const ROUTES_PER_STEP = 20;
