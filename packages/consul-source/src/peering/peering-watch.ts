import { QuerySet, Watched, WatchSet } from '@meshgate/core/parts';
import type { Query, Watch, WatchOptions } from '@meshgate/core/parts';
import type {
  CatalogService,
  ExportChain,
  ExportedService,
  ImportedService,
  ClusterPeer,
  PeeringCatalog,
} from '@meshgate/mesh';
import { fresh, isOverload, parsed, reasonOf } from '../agent.ts';
import type { Agent } from '../agent.ts';
import { serviceKey } from '../records.ts';
import {
  CHAIN_KINDS,
  entryChanges,
  exportResponses,
  KnownPeers,
  peerResponses,
  throughGateways,
} from './peering-queries.ts';
import type { PeersResponse } from './peering-queries.ts';
import { exportChainOf } from './peering-records.ts';
import type { ExportedName } from './peering-records.ts';

/** The values of an earlier watch of peerings. */
export interface KnownPeering {
  readonly peers: PeersResponse | undefined;
  readonly isThrough: boolean | undefined;
  readonly exports: ReadonlyMap<string, readonly ExportedName[]>;
  readonly chains: ReadonlyMap<string, ExportChain>;
}

/**
 * Watches cluster peering: the peers, the exports to each, their discovery chains, and whether the servers connect
 * through the gateways. A part that fails keeps its last value. While there is no peer, only the list of peers is
 * queried.
 */
export class PeeringWatch {
  readonly #agent: Agent;
  readonly #options: WatchOptions;
  readonly #known: KnownPeering;
  readonly #peers: Watched<PeersResponse>;
  readonly #exports: WatchSet<readonly ExportedName[]>;
  readonly #chains: QuerySet<ExportChain>;
  /** Discovery chains of exports, by service. */
  #lastChains: ReadonlyMap<string, ExportChain>;
  /** Watched as soon as there is a peer. */
  #more: { readonly isThrough: Watched<boolean>; readonly entries: WatchSet<number> } | undefined;

  /** @param known values of an earlier watch, used until this watch has its own */
  constructor(agent: Agent, options: WatchOptions, known: KnownPeering = NOTHING_KNOWN) {
    this.#agent = agent;
    this.#options = options;
    this.#known = known;
    this.#lastChains = known.chains;
    const seen = new KnownPeers(known.peers?.peers);
    this.#peers = new Watched((signal) => peerResponses(agent, seen, signal), options, known.peers);
    this.#exports = new WatchSet(options);
    this.#chains = new QuerySet({ changed: options.changed, atATime: AT_A_TIME, isOverload });
    this.#chains.run(options.signal);
  }

  /** Returns the current values, for a later watch. */
  get known(): KnownPeering {
    const peers = this.#peers.reading.value;
    return {
      peers,
      isThrough: this.#isThrough,
      exports: new Map(this.#live.map(({ name }) => [name, this.#exportsTo(name)])),
      chains: this.#lastChains,
    };
  }

  /** Whether every query has succeeded or failed. */
  get converged(): boolean {
    if (this.#peers.reading.state === 'waiting') return false;
    if (this.#live.length === 0) return true;
    const entries = this.#more?.entries.readings ?? [];
    const others = [this.#more?.isThrough.reading, ...entries, ...this.#exports.readings];
    return others.every((reading) => reading !== undefined && reading.state !== 'waiting') && this.#chains.converged;
  }

  /** Reports missing permissions, and parts that keep an older value. */
  get warnings(): readonly string[] {
    const { value, error } = this.#peers.reading;
    const failures = [
      error,
      this.#more?.isThrough.reading.error,
      ...(this.#more?.entries.readings ?? []).map((reading) => reading.error),
      ...this.#exports.readings.map((reading) => reading.error),
      ...this.#chains.readings.map((reading) => reading.error),
    ].flatMap((failure) => (failure === undefined ? [] : [`peering: ${reasonOf(failure)}`]));
    return [...(value?.warning === undefined ? [] : [value.warning]), ...new Set(failures)];
  }

  /**
   * Queries what has changed, and returns the known state; `undefined` without peerings, or while they are not known.
   *
   * @param services services of this datacenter: chains are queried for those that are exported and have instances
   */
  update(services: readonly CatalogService[], imports: readonly ImportedService[]): PeeringCatalog | undefined {
    const peers = this.#peers.reading.value?.peers ?? [];
    this.#follow();
    const exported = this.#exported(services);
    this.#chains.set(new Map(Array.from(exported, ([key, service]) => [key, this.#chainQuery(service)])));
    const chains = Array.from(exported.keys(), (key): [string, ExportChain | undefined] => [
      key,
      this.#chains.get(key)?.value ?? this.#lastChains.get(key),
    ]);
    this.#lastChains = new Map(chains.filter((entry): entry is [string, ExportChain] => entry[1] !== undefined));
    if (peers.length === 0) return undefined;
    const exports = Array.from(exported, ([key, service]): ExportedService => {
      const chain = this.#lastChains.get(key);
      return chain === undefined ? service : { ...service, chain };
    });
    return { peers, exports, imports, throughGateways: this.#isThrough ?? false };
  }

  /** Resolves when all watches have ended. */
  async end(): Promise<void> {
    this.#chains.rest();
    await Promise.all([this.#peers.end(), this.#exports.end(), this.#more?.isThrough.end(), this.#more?.entries.end()]);
  }

  get #live(): readonly ClusterPeer[] {
    return (this.#peers.reading.value?.peers ?? []).filter(({ isDeleted }) => !isDeleted);
  }

  get #isThrough(): boolean | undefined {
    return this.#more?.isThrough.reading.value ?? this.#known.isThrough;
  }

  /** Starts to follow the exports to new peers, and stops for peers that are gone. */
  #follow(): void {
    const live = this.#live;
    const isHeld = live.length <= MAX_HELD;
    const watches = live.map(({ name: peer }): [string, Watch<readonly ExportedName[]>] => [
      exportsKey(peer, isHeld),
      (signal) => exportResponses(this.#agent, { peer, isHeld }, signal),
    ]);
    this.#exports.set(new Map(watches));
    if (live.length === 0) return;
    if (this.#more !== undefined) return;
    const entries = new WatchSet<number>(this.#options);
    const kinds = CHAIN_KINDS.map((kind): [string, Watch<number>] => [
      kind,
      (signal) => entryChanges(this.#agent, kind, signal),
    ]);
    entries.set(new Map(kinds));
    this.#more = {
      isThrough: new Watched((signal) => throughGateways(this.#agent, signal), this.#options, this.#known.isThrough),
      entries,
    };
  }

  #exportsTo(peer: string): readonly ExportedName[] {
    const reading = this.#exports.get(exportsKey(peer, true)) ?? this.#exports.get(exportsKey(peer, false));
    return reading?.value ?? this.#known.exports.get(peer) ?? [];
  }

  /** Returns the exported services among `services`, by key. A wildcard covers all services except Consul's own. */
  #exported(services: readonly CatalogService[]): ReadonlyMap<string, ExportedService> {
    const peersOf = new Map<string, string[]>();
    for (const { name: peer } of this.#live)
      for (const { name, namespace } of this.#exportsTo(peer)) {
        const key = serviceKey(name, namespace);
        peersOf.set(key, [...(peersOf.get(key) ?? []), peer]);
      }
    const exported = new Map<string, ExportedService>();
    for (const { name, namespace = '' } of services) {
      const everywhere = name === 'consul' ? [] : (peersOf.get(serviceKey('*', namespace)) ?? []);
      const key = serviceKey(name, namespace);
      const peers = [...(peersOf.get(key) ?? []), ...everywhere];
      if (peers.length > 0) exported.set(key, { name, ...(namespace === '' ? {} : { namespace }), peers });
    }
    return exported;
  }

  /** Stamp of everything that determines the chains. It also changes every minute, for changes that no entry shows. */
  get #chainStamp(): string {
    const changes = (this.#more?.entries.readings ?? []).map(({ value = 0 }) => value);
    return [...changes, Math.floor(performance.now() / REQUERY_ALL_MS)].join('.');
  }

  #chainQuery({ name, namespace }: ExportedService): Query<ExportChain> {
    const path = `discovery-chain/${encodeURIComponent(name)}`;
    const query = namespace === undefined ? {} : { ns: namespace };
    return {
      stamp: this.#chainStamp,
      send: async (signal) =>
        parsed(fresh(await this.#agent.request({ path, query }, signal)), path, 'a discovery chain', exportChainOf),
    };
  }
}

const NOTHING_KNOWN: KnownPeering = {
  peers: undefined,
  isThrough: undefined,
  exports: new Map(),
  chains: new Map(),
};
const AT_A_TIME = 4;
const REQUERY_ALL_MS = 60_000;
// Each export query occupies a connection to the agent while it blocks.
const MAX_HELD = 4;

function exportsKey(peer: string, isHeld: boolean): string {
  return `${isHeld ? 'held' : 'polled'} ${peer}`;
}
