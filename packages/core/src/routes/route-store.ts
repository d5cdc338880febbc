import type { Accepted, Hello } from '../pipeline/connection.ts';
import type { Observer } from '../observe.ts';
import type { Route, RouteSource } from './route.ts';
import { RouteTable } from './route-table.ts';
import type { RouteIndex } from './route-table.ts';
import type { PreparedChange, Service } from '../lifecycle/service.ts';
import { settlesWithin } from '../watch/scope.ts';
import { SourceFollower } from '../watch/source-follower.ts';
import type { SourceStatus } from '../watch/source-follower.ts';
import { SourceSet } from '../watch/source-set.ts';
import type { Resolver } from '../pipeline/stages.ts';

/** Settings of {@link RouteStore}. */
export interface RouteStoreOptions {
  /** In order of precedence. */
  readonly sources: readonly RouteSource[];
  /** Receives changes of routes and failures of sources. */
  readonly observer: Observer;
  /** How long `start` waits for the first snapshot of each source, in milliseconds; 5 s when absent. */
  readonly patienceMs?: number;
}

// Longer than any healthy agent or disk takes, shorter than an orchestrator waits for a process that does not listen.
const DEFAULT_PATIENCE_MS = 5_000;

/**
 * Follows the sources, keeps the last good snapshot of each, and replaces the table as a whole at each change. Only a
 * snapshot without a route removes that route; a failing source does not.
 */
export class RouteStore implements Service, Resolver {
  readonly name = 'routes';
  readonly #observer: Observer;
  readonly #patienceMs: number;
  readonly #sources: SourceSet<SourceFollower>;
  #table = new RouteTable([]);

  constructor({ sources, observer, patienceMs = DEFAULT_PATIENCE_MS }: RouteStoreOptions) {
    this.#observer = observer;
    this.#patienceMs = patienceMs;
    this.#sources = new SourceSet(
      sources.map((source) => this.#followerOf(source)),
      (follower, signal) => follower.follow(signal),
    );
  }

  /** The route table in use. */
  get table(): RouteTable {
    return this.#table;
  }

  /** State of each source, in order of precedence. */
  get sources(): readonly SourceStatus[] {
    return this.#sources.current.map(({ status }) => status);
  }

  resolve({ serverName }: Hello, { listener }: Accepted): Route | undefined {
    return serverName === undefined ? this.#table.fallback(listener) : this.#table.lookup(serverName, listener);
  }

  /**
   * Resolves when every source has a snapshot, has failed, or has timed out; `sources` has the details. Rejects when
   * `signal` aborts.
   */
  async start(signal: AbortSignal): Promise<void> {
    this.#sources.start();
    await this.#firstOf(this.#sources.current, signal);
    if (!signal.aborted) return;
    await this.stop();
    throw signal.reason;
  }

  /**
   * Starts those of `sources` that are not followed yet, and resolves when each has a snapshot. The table stays
   * unchanged until the commit: existing sources continue with their snapshots, and removed ones are stopped only then.
   *
   * @throws Error that names a source without a snapshot in time; nothing has changed then
   */
  async prepare(sources: readonly RouteSource[]): Promise<PreparedChange> {
    const before = this.#sources.current;
    const next = sources.map((source) => before.find((one) => one.source === source) ?? this.#followerOf(source));
    const added = next.filter((one) => !before.includes(one));
    this.#sources.start(added);
    await this.#firstOf(added);
    const silent = added.find(({ index }) => index === undefined);
    if (silent !== undefined) {
      const { name, error } = silent.status;
      await this.#sources.stop(added).catch(() => undefined);
      throw new Error(`source ${name}: ${error?.message ?? 'no snapshot in time'}`);
    }
    return {
      commit: () => this.#replace(next),
      discard: () => this.#sources.stop(added),
    };
  }

  /** Stops all sources. Rejects with the names of those that do not stop within two seconds; they are abandoned. */
  stop(): Promise<void> {
    return this.#sources.stop();
  }

  async #replace(next: readonly SourceFollower[]): Promise<void> {
    const { indexes } = this.#table;
    const { added, gone } = this.#sources.replace(next);
    this.#table = this.#current();
    for (const follower of added) this.#notify(follower, indexes);
    for (const { source } of gone) {
      // A source with the same name replaces it: nothing was removed.
      if (next.some((one) => one.source.name === source.name)) continue;
      const previous = indexes.find((one) => one.source === source.name)?.snapshot;
      this.#observer.observe({
        type: 'source.removed',
        source: source.name,
        ...(previous !== undefined && { previous }),
        removed: this.#lost(source.name, indexes),
      });
    }
    await this.#sources.stop(gone);
  }

  #followerOf(source: RouteSource): SourceFollower {
    return new SourceFollower(source, this.#observer, (follower) => this.#swap(follower));
  }

  /** Waits until each follower has a snapshot or has failed, up to the timeout. */
  async #firstOf(followers: readonly SourceFollower[], signal?: AbortSignal): Promise<void> {
    const first = Promise.all(followers.map(({ firstSnapshot }) => firstSnapshot));
    await settlesWithin(first, this.#patienceMs, signal);
  }

  #swap(changed: SourceFollower): void {
    // A source that is only prepared is not in the table yet.
    if (!this.#sources.current.includes(changed)) return;
    const { indexes: before } = this.#table;
    this.#table = this.#current();
    this.#notify(changed, before);
  }

  /**
   * @param before the indexes in use until now
   */
  #notify({ index, indexMs }: SourceFollower, before: readonly RouteIndex[]): void {
    if (index === undefined) return;
    const { source, snapshot } = index;
    const previous = before.find((one) => one.source === source)?.snapshot;
    const removed = this.#lost(source, before);
    this.#observer.observe({
      type: 'routes.replaced',
      source,
      snapshot,
      ...(previous !== undefined && { previous }),
      removed,
      tookMs: indexMs,
    });
  }

  #current(): RouteTable {
    return new RouteTable(this.#sources.current.flatMap(({ index }) => (index === undefined ? [] : [index])));
  }

  /** Names of routes that `source` had before and that no source has any more. */
  #lost(source: string, before: readonly RouteIndex[]): readonly string[] {
    const names = before.find((index) => index.source === source)?.routes.keys() ?? [];
    return Array.from(names).filter((name) => !this.#table.indexes.some(({ routes }) => routes.has(name)));
  }
}
