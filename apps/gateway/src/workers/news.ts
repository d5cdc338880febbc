import type { ListenAddress, Observer, ProxyEvent, RouteSnapshot } from '@meshgate/core';
import type { Parts } from '../parts.ts';
import type { NamedAddresses, NamedSnapshot, ToWorker } from './messages.ts';

/** What the sources have said last: a worker that begins is told all of it, the others each change. */
export class News {
  readonly #snapshots: Map<string, RouteSnapshot>;
  readonly #addresses: Map<string, readonly ListenAddress[]>;
  readonly #tell: (message: ToWorker) => void;

  /** @param tell tells every worker */
  constructor({ sources, listenerSources }: Sources, tell: (message: ToWorker) => void) {
    this.#snapshots = new Map(sources.map(({ name }) => [name, NOTHING_YET]));
    this.#addresses = new Map(listenerSources.map(({ name }) => [name, []]));
    this.#tell = tell;
  }

  get snapshots(): readonly NamedSnapshot[] {
    return Array.from(this.#snapshots, ([source, snapshot]) => ({ source, snapshot }));
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
    this.#tell({ kind: 'addresses', source, addresses });
  }

  #observe(event: ProxyEvent): void {
    if (event.type !== 'routes.replaced') return;
    const { source, snapshot } = event;
    this.#snapshots.set(source, snapshot);
    this.#tell({ kind: 'snapshot', source, snapshot });
  }
}

type Sources = Pick<Parts, 'sources' | 'listenerSources'>;

/** A worker need not wait for a source that the primary has waited for already. */
const NOTHING_YET: RouteSnapshot = { version: 'nothing yet', routes: [] };
