import type { Accepted, Hello } from '../pipeline/connection.ts';
import type { Observer } from '../observe.ts';
import type { Route, RouteSource } from './route.ts';
import { RouteTable } from './route-table.ts';
import type { Service } from '../lifecycle/service.ts';
import { errorOf } from '../errors.ts';
import { openScope, settlesWithin } from '../watch/scope.ts';
import { SourceFollower } from '../watch/source-follower.ts';
import type { SourceStatus } from '../watch/source-follower.ts';
import type { Resolver } from '../pipeline/stages.ts';

/** What {@link RouteStore} is made of. */
export interface RouteStoreOptions {
  /** Order is precedence. */
  readonly sources: readonly RouteSource[];
  /** Told of each change, and of each source that fails. */
  readonly observer: Observer;
  /** How long `start` waits for sources that are silent, in milliseconds; 5 s when absent. */
  readonly patienceMs?: number;
}

// Longer than any healthy agent or disk takes, shorter than an orchestrator's patience with a process that does not listen.
const DEFAULT_PATIENCE_MS = 5_000;

/**
 * Follows the sources, keeps each one's last good snapshot, and swaps the table whole at each change. Nothing that a source does
 * takes routes away, except a snapshot without them.
 */
export class RouteStore implements Service, Resolver {
  readonly name = 'routes';
  readonly #observer: Observer;
  readonly #patienceMs: number;
  readonly #followers: readonly SourceFollower[];
  readonly #scope = openScope();
  #table = new RouteTable([]);
  #following: Promise<readonly PromiseSettledResult<void>[]> = Promise.resolve([]);

  constructor({ sources, observer, patienceMs = DEFAULT_PATIENCE_MS }: RouteStoreOptions) {
    this.#observer = observer;
    this.#patienceMs = patienceMs;
    this.#followers = sources.map((source) => new SourceFollower(source, observer, (follower) => this.#swap(follower)));
  }

  /** The table in use. */
  get table(): RouteTable {
    return this.#table;
  }

  /** How each source is doing, in order of precedence. */
  get sources(): readonly SourceStatus[] {
    return this.#followers.map((follower) => follower.status);
  }

  resolve({ serverName }: Hello, { listener }: Accepted): Route | undefined {
    return serverName === undefined ? this.#table.fallback(listener) : this.#table.lookup(serverName, listener);
  }

  /** Resolves when every source has a snapshot, has failed, or was silent for too long; `sources` says which. Rejects when told to hurry. */
  async start(signal: AbortSignal): Promise<void> {
    this.#following = Promise.allSettled(this.#followers.map((follower) => follower.follow(this.#scope.signal)));
    const first = Promise.all(this.#followers.map((follower) => follower.firstSnapshot));
    await settlesWithin(first, this.#patienceMs, signal);
    if (!signal.aborted) return;
    await this.stop();
    throw signal.reason;
  }

  /** Rejects, naming them, when sources do not stop within two seconds: they are left behind. */
  async stop(): Promise<void> {
    this.#scope.end(new Error('the route store stops'));
    const ends = await this.#following;
    const failures = ends.flatMap((end) => (end.status === 'rejected' ? [errorOf(end.reason)] : []));
    if (failures.length > 0) throw new AggregateError(failures, failures.map(({ message }) => message).join('; '));
  }

  #swap(changed: SourceFollower): void {
    const { indexes: before } = this.#table;
    const indexes = this.#followers.flatMap(({ index }) => (index === undefined ? [] : [index]));
    this.#table = new RouteTable(indexes);
    const { index } = changed;
    if (index === undefined) return;
    const previous = before.find(({ source }) => source === index.source)?.routes.keys() ?? [];
    const removed = Array.from(previous).filter((name) => !indexes.some(({ routes }) => routes.has(name)));
    this.#observer.observe({
      type: 'routes.replaced',
      source: index.source,
      snapshot: index.snapshot,
      removed,
      tookMs: changed.indexMs,
    });
  }
}
