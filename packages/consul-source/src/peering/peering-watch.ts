import { defined, QuerySet, Watched, WatchSet } from '@meshgate/core/parts';
import type { Query, Watch, WatchOptions } from '@meshgate/core/parts';
import type { CatalogService, ExportChain, ExportedService, ImportedService, PeeringCatalog } from '@meshgate/mesh';
import { isOverload, parsedResponse, reasonOf } from '../agent.ts';
import type { Agent } from '../agent.ts';
import { entryChanges } from '../config-entries.ts';
import type { EntryChange } from '../config-entries.ts';
import { CONSUL, meshSettingsOf, serviceKey } from '../records.ts';
import { exportResponses, KnownPeers, peerResponses } from './peering-queries.ts';
import type { PeersResponse } from './peering-queries.ts';
import { exportChainOf } from './peering-records.ts';
import type { ExportedName } from './peering-records.ts';

/** The values of an earlier watch of peerings. */
export interface KnownPeering {
  readonly peers: PeersResponse | undefined;
  readonly isThrough: boolean;
  /** By peer. */
  readonly exports: ReadonlyMap<string, readonly ExportedName[]>;
  /** By service. */
  readonly chains: ReadonlyMap<string, ExportChain>;
}

/**
 * Watches cluster peering: the peers, the exports to each, their discovery chains, and whether the servers connect
 * through the gateways. A part that fails keeps its last value. Without peering nothing but the list of peers is
 * queried; without a peer, also whether the first one will come through the gateways.
 */
export class PeeringWatch {
  readonly #agent: Agent;
  readonly #peers: Watched<PeersResponse>;
  readonly #exports: WatchSet<readonly ExportedName[]>;
  /** By kind. */
  readonly #entries: WatchSet<EntryChange>;
  readonly #chains: QuerySet<ExportChain>;
  #last: Omit<KnownPeering, 'peers'>;

  /** @param known values of an earlier watch, used until this watch has its own */
  constructor(agent: Agent, options: WatchOptions, known: KnownPeering = NOTHING_KNOWN) {
    this.#agent = agent;
    this.#last = known;
    const seen = new KnownPeers(known.peers?.peers);
    this.#peers = new Watched((signal) => peerResponses(agent, seen, signal), options, known.peers);
    this.#exports = new WatchSet(options);
    this.#entries = new WatchSet(options);
    this.#chains = new QuerySet({ changed: options.changed, atATime: AT_A_TIME, isOverload });
    this.#chains.run(options.signal);
  }

  /** Returns the current values, for a later watch. */
  get known(): KnownPeering {
    return { ...this.#last, peers: this.#peers.reading.value };
  }

  /** Whether every query has succeeded or failed. */
  get converged(): boolean {
    const readings = [this.#peers.reading, ...this.#entries.readings, ...this.#exports.readings];
    return readings.every(({ state }) => state !== 'waiting') && this.#chains.converged;
  }

  /** Number of lists of entries so far with an index below the previous one. */
  get rewinds(): number {
    return this.#entries.readings.reduce((sum, { value }) => sum + (value?.rewinds ?? 0), 0);
  }

  /** Reports missing permissions, and parts that keep an older value. */
  get warnings(): readonly string[] {
    const { value } = this.#peers.reading;
    const watched = [
      this.#peers.reading,
      ...this.#entries.readings,
      ...this.#exports.readings,
      ...this.#chains.readings,
    ];
    const failures = watched.flatMap(({ error }) => (error === undefined ? [] : [`peering: ${reasonOf(error)}`]));
    return [...(value?.warning === undefined ? [] : [value.warning]), ...new Set(failures)];
  }

  /**
   * Queries what has changed, and returns the known state; `undefined` without peerings, or while they are not known.
   *
   * @param services services of this datacenter: chains are queried for those that are exported and have instances
   */
  update(services: readonly CatalogService[], imports: readonly ImportedService[]): PeeringCatalog | undefined {
    const { peers = [], isOn = false } = this.#peers.reading.value ?? {};
    const live = peers.filter(({ isDeleted }) => !isDeleted).map(({ name }) => name);
    this.#follow(live, isOn);
    const isThrough = isOn && this.#isThrough;
    const exports = new Map(live.map((peer) => [peer, this.#exportsTo(peer)]));
    const exported = exportedAmong(services, exports);
    this.#chains.set(new Map(Array.from(exported, ([key, service]) => [key, this.#chainQuery(service)])));
    const chains = new Map(Array.from(exported.keys()).flatMap((key) => this.#chainOf(key)));
    this.#last = { isThrough, exports, chains };
    if (!isOn) return undefined;
    return {
      peers,
      exports: Array.from(exported, ([key, service]) => {
        const chain = chains.get(key);
        return chain === undefined ? service : { ...service, chain };
      }),
      imports,
      throughGateways: isThrough,
    };
  }

  /** Resolves when all watches have ended. */
  async end(): Promise<void> {
    this.#chains.rest();
    await Promise.all([this.#peers.end(), this.#exports.end(), this.#entries.end()]);
  }

  /**
   * Starts to follow the exports to new peers and the entries that determine them, and stops for peers that are gone.
   */
  #follow(live: readonly string[], isOn: boolean): void {
    const isHeld = live.length <= MAX_HELD;
    this.#exports.set(
      new Map(
        live.map((peer): [string, Watch<readonly ExportedName[]>] => [
          exportsKey(peer, isHeld),
          (signal) => exportResponses(this.#agent, { peer, isHeld }, signal),
        ]),
      ),
    );
    const kinds = [...(isOn ? ['mesh'] : []), ...(live.length === 0 ? [] : CHAIN_KINDS)];
    this.#entries.set(
      new Map(
        kinds.map((kind): [string, Watch<EntryChange>] => [kind, (signal) => entryChanges(this.#agent, kind, signal)]),
      ),
    );
  }

  get #isThrough(): boolean {
    const entries = this.#entries.get('mesh')?.value?.entries;
    return entries === undefined ? this.#last.isThrough : meshSettingsOf(entries[0] ?? {}).peersThroughGateways;
  }

  /** Keeps the last value while there is no response, for example after a change from blocking to polling. */
  #exportsTo(peer: string): readonly ExportedName[] {
    const reading = this.#exports.get(exportsKey(peer, true)) ?? this.#exports.get(exportsKey(peer, false));
    return reading?.value ?? this.#last.exports.get(peer) ?? [];
  }

  #chainOf(key: string): readonly (readonly [string, ExportChain])[] {
    const chain = this.#chains.get(key)?.value ?? this.#last.chains.get(key);
    return chain === undefined ? [] : [[key, chain]];
  }

  /** Stamp of everything that determines the chains. It also changes every minute, for changes that no entry shows. */
  get #chainStamp(): string {
    const changes = CHAIN_KINDS.map((kind) => this.#entries.get(kind)?.value?.count ?? 0);
    return [...changes, Math.floor(performance.now() / REQUERY_ALL_MS)].join('.');
  }

  #chainQuery({ name, namespace }: ExportedService): Query<ExportChain> {
    const path = `discovery-chain/${encodeURIComponent(name)}`;
    const query = defined({ ns: namespace });
    return {
      stamp: this.#chainStamp,
      send: (signal) => parsedResponse(this.#agent, { path, query, ...CHAIN, mayBeStale: false }, signal),
    };
  }
}

/** Returns the exported services among `services`, by key. A wildcard covers all services except Consul's own. */
function exportedAmong(
  services: readonly CatalogService[],
  exports: ReadonlyMap<string, readonly ExportedName[]>,
): ReadonlyMap<string, ExportedService> {
  const peersOf = new Map<string, string[]>();
  for (const [peer, names] of exports)
    for (const { name, namespace } of names) {
      const key = serviceKey(name, namespace);
      peersOf.set(key, [...(peersOf.get(key) ?? []), peer]);
    }
  const exported = new Map<string, ExportedService>();
  for (const { name, namespace = '' } of services) {
    const everywhere = name === CONSUL ? [] : (peersOf.get(serviceKey('*', namespace)) ?? []);
    const key = serviceKey(name, namespace);
    const peers = [...(peersOf.get(key) ?? []), ...everywhere];
    if (peers.length > 0) exported.set(key, { name, ...(namespace === '' ? {} : { namespace }), peers });
  }
  return exported;
}

const NOTHING_KNOWN: KnownPeering = { peers: undefined, isThrough: false, exports: new Map(), chains: new Map() };
const CHAIN = { expected: 'a discovery chain', read: exportChainOf };
/** Kinds of configuration entries that determine a discovery chain. */
const CHAIN_KINDS = [
  'proxy-defaults',
  'service-defaults',
  'service-resolver',
  'service-router',
  'service-splitter',
] as const;
const AT_A_TIME = 4;
const REQUERY_ALL_MS = 60_000;
// Each export query occupies a connection to the agent while it blocks.
const MAX_HELD = 4;

function exportsKey(peer: string, isHeld: boolean): string {
  return `${isHeld ? 'held' : 'polled'} ${peer}`;
}
