import { inSlices } from '@meshgate/core/parts';
import type { Route, RouteSnapshot } from '@meshgate/core';

/** A part of a snapshot, on its way to a worker. */
export interface RoutesPart {
  readonly source: string;
  readonly routes: readonly Route[];
  /** What the snapshot is beside its routes: with this part it is whole. */
  readonly whole?: Omit<RouteSnapshot, 'routes'>;
}

/**
 * Snapshots for one worker, a share at a time and each when the last has been taken: neither side stands still for a large table, and
 * for a worker that takes nothing no more is kept than the newest snapshot of each source.
 */
export class RouteFeed {
  readonly #send: (part: RoutesPart) => Promise<void>;
  /** By source, in the order in which they are sent. */
  readonly #due = new Map<string, RouteSnapshot>();
  #sending = false;

  /** @param send resolves when the worker has taken the part; never, when it has ended */
  constructor(send: (part: RoutesPart) => Promise<void>) {
    this.#send = send;
  }

  /** In place of an earlier snapshot of `source` of which nothing has been sent yet. One that is on its way arrives first. */
  offer(source: string, snapshot: RouteSnapshot): void {
    this.#due.set(source, snapshot);
    if (!this.#sending) void this.#sendAll();
  }

  async #sendAll(): Promise<void> {
    this.#sending = true;
    for (const [source, snapshot] of this.#due) {
      this.#due.delete(source);
      await this.#sendOne(source, snapshot);
    }
    this.#sending = false;
  }

  async #sendOne(source: string, { routes, ...whole }: RouteSnapshot): Promise<void> {
    for (const share of inSlices(routes)) await this.#send({ source, routes: share });
    await this.#send({ source, routes: [], whole });
  }
}

/** The other end of a {@link RouteFeed}: puts snapshots together again. */
export class RouteIntake {
  readonly #coming = new Map<string, Route[]>();

  /** The snapshot that is whole with `part`, if one is. */
  take({ source, routes, whole }: RoutesPart): RouteSnapshot | undefined {
    const all = this.#coming.get(source) ?? [];
    all.push(...routes);
    if (whole === undefined) {
      this.#coming.set(source, all);
      return undefined;
    }
    this.#coming.delete(source);
    return { ...whole, routes: all };
  }
}
