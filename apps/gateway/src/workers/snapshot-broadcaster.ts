import type { ListenAddress, Observer, ProxyEvent, RouteSnapshot } from '@meshgate/core';
import type { Parts } from '../config/parts.ts';
import type { NamedAddresses } from './messages.ts';

/** Who hears of each change. */
export interface SnapshotReader {
  offer(source: string, snapshot: RouteSnapshot): void;
  listen(heard: NamedAddresses): void;
}

/** What the sources have said last: a worker that begins is told all of it, the others each change. */
export class News {
  readonly #snapshots: Map<string, RouteSnapshot>;
  readonly #addresses: Map<string, readonly ListenAddress[]>;
  readonly #readers: () => Iterable<SnapshotReader>;

  /** @param readers those who can hear now */
  constructor({ sources, listenerSources }: Sources, readers: () => Iterable<SnapshotReader>) {
    this.#snapshots = new Map(sources.map(({ name }) => [name, NOTHING_YET]));
    this.#addresses = new Map(listenerSources.map(({ name }) => [name, []]));
    this.#readers = readers;
  }

  /** By source, in order of precedence; of one that has not spoken, no routes. */
  get snapshots(): ReadonlyMap<string, RouteSnapshot> {
    return this.#snapshots;
  }

  get addresses(): readonly NamedAddresses[] {
    return Array.from(this.#addresses, ([source, addresses]) => ({ source, addresses }));
  }

  /** Hears of snapshots when the primary itself has taken them into use. */
  get observer(): Observer {
    return { name: 'workers', observe: (event) => this.#observe(event) };
  }

  listen(source: string, addresses: readonly ListenAddress[]): void {
    this.#addresses.set(source, addresses);
    for (const reader of this.#readers()) reader.listen({ source, addresses });
  }

  #observe(event: ProxyEvent): void {
    if (event.type !== 'routes.replaced') return;
    const { source, snapshot } = event;
    this.#snapshots.set(source, snapshot);
    for (const reader of this.#readers()) reader.offer(source, snapshot);
  }
}

type Sources = Pick<Parts, 'sources' | 'listenerSources'>;

/** A worker need not wait for a source that the primary has waited for already. */
const NOTHING_YET: RouteSnapshot = { version: 'nothing yet', routes: [] };
