import { inSlices } from '@meshgate/core/parts';
import type { Route, RouteSnapshot } from '@meshgate/core';

/** A part of a snapshot for a worker. */
export interface RoutesPart {
  readonly source: string;
  readonly routes: readonly Route[];
  /** The snapshot without its routes; present in the last part. */
  readonly metadata?: Omit<RouteSnapshot, 'routes'>;
}

/**
 * Sends snapshots to one worker in parts, each after the acknowledgement of the previous one. A large table blocks
 * neither side, and for an unresponsive worker only the newest snapshot of each source is kept.
 */
export class RouteFeed {
  readonly #send: (part: RoutesPart) => Promise<void>;
  /** Snapshots by source, in the order of sending. */
  readonly #due = new Map<string, RouteSnapshot>();
  #sending = false;

  /** @param send resolves when the worker has acknowledged the part; never settles once it has exited */
  constructor(send: (part: RoutesPart) => Promise<void>) {
    this.#send = send;
  }

  /** Replaces a snapshot of `source` that is not sent yet. A partly sent snapshot is completed first. */
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

  async #sendOne(source: string, { routes, ...metadata }: RouteSnapshot): Promise<void> {
    for (const share of inSlices(routes)) await this.#send({ source, routes: share });
    await this.#send({ source, routes: [], metadata });
  }
}

/** Reassembles the snapshots of a {@link RouteFeed} in the worker. */
export class RouteIntake {
  readonly #coming = new Map<string, Route[]>();

  /** Returns the snapshot that `part` completes, if any. */
  take({ source, routes, metadata }: RoutesPart): RouteSnapshot | undefined {
    const all = this.#coming.get(source) ?? [];
    all.push(...routes);
    if (metadata === undefined) {
      this.#coming.set(source, all);
      return undefined;
    }
    this.#coming.delete(source);
    return { ...metadata, routes: all };
  }
}
