import type { ListenAddress, Observer, ProxyEvent, RouteSnapshot } from '@meshgate/core';
import { BackendHealth } from '@meshgate/core/parts';
import type { HealthMark } from '@meshgate/core/parts';
import type { InstalledParts } from '../config/parts.ts';
import type { NamedAddresses } from './messages.ts';

/** Receives each change. */
export interface SnapshotReader {
  offer(source: string, snapshot: RouteSnapshot): void;
  listen(list: NamedAddresses): void;
  mark(marks: readonly HealthMark[]): void;
}

/**
 * Keeps the last snapshot of each source and the health check results. A worker starts with all of them, and receives
 * each later change.
 */
export class SnapshotBroadcaster {
  #snapshots: ReadonlyMap<string, RouteSnapshot>;
  #addresses: ReadonlyMap<string, readonly ListenAddress[]>;
  readonly #health = new BackendHealth();
  readonly #readers: () => Iterable<SnapshotReader>;

  /** @param readers returns the workers that can receive changes */
  constructor({ sources, listenerSources }: Sources, readers: () => Iterable<SnapshotReader>) {
    this.#snapshots = new Map(sources.map(({ name }) => [name, NO_SNAPSHOT]));
    this.#addresses = new Map(listenerSources.map(({ name }) => [name, []]));
    this.#readers = readers;
  }

  /** Replaces the sources. A source with the same name keeps its last snapshot. */
  use({ sources, listenerSources }: Sources): void {
    const [snapshots, addresses] = [this.#snapshots, this.#addresses];
    this.#snapshots = new Map(sources.map(({ name }) => [name, snapshots.get(name) ?? NO_SNAPSHOT]));
    this.#addresses = new Map(listenerSources.map(({ name }) => [name, addresses.get(name) ?? []]));
  }

  /** Snapshots by source, in order of precedence; without routes for a source that does not have one yet. */
  get snapshots(): ReadonlyMap<string, RouteSnapshot> {
    return this.#snapshots;
  }

  get addresses(): readonly NamedAddresses[] {
    return Array.from(this.#addresses, ([source, addresses]) => ({ source, addresses }));
  }

  /** Forwards each snapshot once the primary itself uses it. */
  get observer(): Observer {
    return { name: 'workers', observe: (event) => this.#observe(event) };
  }

  get marks(): readonly HealthMark[] {
    return this.#health.marks;
  }

  listen(source: string, addresses: readonly ListenAddress[]): void {
    this.#addresses = new Map(this.#addresses).set(source, addresses);
    for (const reader of this.#readers()) reader.listen({ source, addresses });
  }

  /** Forwards a health check result. */
  mark(mark: HealthMark): void {
    this.#health.mark(mark);
    for (const reader of this.#readers()) reader.mark([mark]);
  }

  #observe(event: ProxyEvent): void {
    if (event.type !== 'routes.replaced') return;
    const { source, snapshot } = event;
    this.#snapshots = new Map(this.#snapshots).set(source, snapshot);
    for (const reader of this.#readers()) reader.offer(source, snapshot);
  }
}

type Sources = Pick<InstalledParts, 'sources' | 'listenerSources'>;

/** The primary has already waited for the source, so that workers need not wait again. */
const NO_SNAPSHOT: RouteSnapshot = { version: 'none', routes: [] };
