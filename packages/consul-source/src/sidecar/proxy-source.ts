import { Cell, defined, openScope, Watched, WatchSet } from '@meshgate/core/parts';
import type { Reading, Watch, WatchOptions } from '@meshgate/core/parts';
import { mutualTlsOf } from '@meshgate/mesh';
import type {
  ChainTarget,
  GatewayGroup,
  Instance,
  Intention,
  ProxyChoice,
  ProxyDefinition,
  ProxySource,
} from '@meshgate/mesh';
import type { ProxyView, Selection, UpstreamDefinition } from '@meshgate/mesh';
import { openAgent, reasonOf } from '../agent.ts';
import type { Agent, AgentOptions } from '../agent.ts';
import { configEntries } from '../config-entries.ts';
import { HeldResponses } from '../held-responses.ts';
import type { HoldTime } from '../held-responses.ts';
import type { JsonObject } from '../json.ts';
import { OwnVisibility } from '../own-visibility.ts';
import { PeerStatus } from '../peering/peer-trust.ts';
import { gatewayGroups } from '../remote-gateways.ts';
import type { GatewayMemory } from '../remote-gateways.ts';
import { meshRoots } from '../roots.ts';
import type { Roots } from '../roots.ts';
import { LossDetector } from '../state-loss-guard.ts';
import { proxyFinder } from './find-proxy.ts';
import { gatewaysInUse, withCurrentHealth } from './gateway-health.ts';
import type { GatewayService } from './gateway-health.ts';
import { ownEntriesOf } from './own-entries.ts';
import type { OwnEntries } from './own-entries.ts';
import {
  chainResponses,
  entryResponses,
  gatewayResponses,
  intentionResponses,
  ownCatalog,
  ownDatacenter,
  queryResponses,
  targetResponses,
} from './queries.ts';
import type { OwnCatalog, QueryResult } from './queries.ts';
import { registeredProxy } from './registered-proxy.ts';
import type { RegisteredProxy } from './registered-proxy.ts';
import { chainTargets, viewOf } from './view.ts';
import type { ProxyObservation } from './view.ts';

/**
 * Follows the view of a Connect proxy from the local agent: its registration, by hash; for each upstream the compiled
 * discovery chain and the health of every target; and the mesh gateways of all datacenters, with the health of those
 * that are dialled. A query that fails keeps its last value, with a warning. A response that has become empty is held
 * while it may result from a state loss.
 *
 * @param peers state of the peers' roots
 */
export function consulProxySource(
  options: AgentOptions,
  choice: ProxyChoice,
  peers: PeerStatus = new PeerStatus(),
): ProxySource {
  const find = proxyFinder(choice, { reportsMissing: true });
  return { name: 'consul', watch };

  async function* watch(signal: AbortSignal): AsyncGenerator<ProxyView, void, void> {
    const changes = new Cell<void>();
    const agent = openAgent(options, SOCKETS, () => changes.set());
    const scope = openScope(signal);
    let watched: ProxyWatch | undefined;
    try {
      watched = new ProxyWatch({ agent, id: await find(agent, signal), peers, changes }, scope.signal);
      yield* watched.views(signal);
    } finally {
      scope.end();
      await agent.close();
      await watched?.end();
    }
  }
}

// Each blocking query occupies one socket: this suffices for a few dozen upstreams, and leaves sockets to other
// processes on the host, of which an agent accepts 200 connections in total.
const SOCKETS = 128;
// An unresponsive datacenter must not delay targets in the others.
const PATIENCE_MS = 2_000;

interface WatchedProxy {
  readonly agent: Agent;
  readonly id: string;
  readonly peers: PeerStatus;
  /** Set whenever a response changes. */
  readonly changes: Cell<void>;
}

/** The queries of one proxy, and their readings. */
class ProxyWatch {
  readonly #agent: Agent;
  readonly #id: string;
  readonly #options: WatchOptions;
  readonly #changes: Cell<void>;
  readonly #registration: Watched<RegisteredProxy | null>;
  #facts: MeshFacts | undefined;
  #visibility: Watched<OwnCatalog> | undefined;
  readonly #chains: WatchSet<unknown>;
  readonly #targets: WatchSet<Selection>;
  readonly #queries: WatchSet<QueryResult>;
  readonly #gatewayHealth: WatchSet<readonly Instance[]>;
  readonly #loss = new LossDetector();
  readonly #ownVisibility = new OwnVisibility('proxy');
  #incompleteReason: string | undefined;
  readonly #gatewayMemory: GatewayMemory = { groups: [] };
  readonly #selections = new HeldResponses<Selection>();
  readonly #groups = new HeldResponses<GatewayGroup>();
  readonly #peers: PeerStatus;
  readonly #watchingPeers: Promise<void>;
  #proxy: ProxyDefinition | undefined;

  constructor({ agent, id, peers, changes }: WatchedProxy, signal: AbortSignal) {
    this.#agent = agent;
    this.#changes = changes;
    this.#id = id;
    this.#peers = peers;
    this.#watchingPeers = peers.watch(() => this.#changes.set(), signal);
    this.#options = { changed: () => this.#changes.set(), signal };
    this.#registration = new Watched((inner) => registeredProxy(agent, id, inner), this.#options);
    this.#chains = new WatchSet(this.#options);
    this.#targets = new WatchSet(this.#options);
    this.#queries = new WatchSet(this.#options);
    this.#gatewayHealth = new WatchSet(this.#options);
  }

  /** Yields each view that differs from the previous one. */
  async *views(signal: AbortSignal): AsyncGenerator<ProxyView, void, void> {
    const patientUntil = performance.now() + PATIENCE_MS;
    let version = '';
    while (!signal.aborted) {
      const seen = this.#changes.revision;
      const now = performance.now();
      const observation = this.#observe(now);
      if (observation !== undefined && (now >= patientUntil || this.#hasConverged())) {
        const mutualTls = mutualTlsOf(observation.proxy.service, observation.entries);
        const service = mutualTls.warning === undefined ? [] : [mutualTls.warning];
        const view = viewOf(observation, mutualTls.mode, [...this.#warnings(observation), ...service]);
        if (view.version !== version) yield view;
        ({ version } = view);
      }
      const failure = observation === undefined ? this.#failureOfFirst() : undefined;
      if (failure !== undefined) throw failure;
      const dueAt = [patientUntil, this.#selections.dueAt, this.#groups.dueAt].filter((at) => at > now);
      await this.#changes.changed(seen, signal, dueAt.length === 0 ? undefined : Math.min(...dueAt) - now);
    }
  }

  /** Resolves when all watches have ended. */
  async end(): Promise<void> {
    const sets = [this.#chains, this.#targets, this.#queries, this.#gatewayHealth];
    await Promise.all([...this.#single, ...sets, this.#visibility].map((each) => each?.end()));
    await this.#watchingPeers;
  }

  get #readings(): readonly Reading<unknown>[] {
    const sets: readonly WatchSet<unknown>[] = [this.#gatewayHealth, this.#chains, this.#targets, this.#queries];
    return [...this.#single.map(({ reading }) => reading), ...sets.flatMap(({ readings }) => readings)];
  }

  get #single(): readonly Watched<unknown>[] {
    return [this.#registration, ...(this.#facts === undefined ? [] : watchedFacts(this.#facts))];
  }

  #hasConverged(): boolean {
    return this.#readings.every(({ state }) => state !== 'waiting');
  }

  /** Returns the current state, and adjusts the queries to it; `undefined` while something essential is missing. */
  #observe(now: number): ProxyObservation | undefined {
    this.#proxy = this.#registration.reading.value?.definition ?? this.#proxy;
    if (this.#proxy === undefined) return undefined;
    const facts = this.#factsAbout(this.#proxy);
    const [trustDomain, datacenter] = [facts.roots.reading.value?.trustDomain, facts.datacenter.reading.value];
    if (trustDomain === undefined || datacenter === undefined) return undefined;
    const time = this.#holdTime(trustDomain, now);
    const groups = facts.gateways.reading.value ?? [];
    const current = withCurrentHealth(groups, (service) => this.#gatewayHealth.get(gatewayKey(service)));
    const byDatacenter = new Map(current.map((group) => [group.datacenter, group]));
    const gateways = [...this.#groups.apply(byDatacenter, hasNoGateway, time).values()];
    const observation = this.#observationOf(this.#proxy, facts, { trustDomain, datacenter, gateways });
    const targets = this.#proxy.upstreams.flatMap((upstream) => chainTargets(upstream, observation));
    this.#targets.set(watches(targets, targetKey, (target, signal) => targetResponses(this.#agent, target, signal)));
    const used = gatewaysInUse(targets, { datacenter, gateways });
    this.#gatewayHealth.set(
      watches(used, gatewayKey, (service, signal) => gatewayResponses(this.#agent, service, signal)),
    );
    const selections = new Map(
      targets.flatMap((target) => {
        const value = this.#targets.get(targetKey(target))?.value;
        return value === undefined ? [] : [[targetKey(target), value] as const];
      }),
    );
    const held = this.#selections.apply(selections, isEmpty, time);
    if (this.#groups.hasChange || this.#selections.hasChange) this.#lookForLoss(this.#proxy);
    if (this.#hasConverged()) {
      this.#groups.keep(byDatacenter, hasNoGateway, now);
      this.#selections.keep(selections, isEmpty, now);
    }
    return { ...observation, instances: (target) => held.get(targetKey(target)) };
  }

  /** Starts the queries about the proxy itself, and adjusts those about its upstreams. */
  #factsAbout(proxy: ProxyDefinition): MeshFacts {
    const { service, upstreams } = proxy;
    const [agent, options] = [this.#agent, this.#options];
    const defaults = `config/service-defaults/${encodeURIComponent(service)}`;
    this.#facts ??= {
      roots: new Watched((signal) => meshRoots(agent, { mayBeNone: true }, signal), options),
      datacenter: new Watched((signal) => ownDatacenter(agent, service, signal), options),
      proxyDefaults: new Watched((signal) => configEntries(agent, only('proxy-defaults'), signal), options),
      serviceDefaults: new Watched((signal) => entryResponses(agent, defaults, signal), options),
      mesh: new Watched((signal) => configEntries(agent, only('mesh'), signal), options),
      intentions: new Watched((signal) => intentionResponses(agent, service, signal), options),
      gateways: new Watched(
        (signal) => gatewayGroups(agent, { checksStates: false, awaitsAll: true, memory: this.#gatewayMemory }, signal),
        options,
      ),
    };
    if (this.#visibility === undefined) this.#lookForLoss(proxy);
    const isQuery = ({ kind }: UpstreamDefinition): boolean => kind === 'prepared-query';
    const chains = upstreams.filter((one) => !isQuery(one) && one.peer === undefined);
    this.#chains.set(watches(chains, upstreamKey, (one, signal) => chainResponses(agent, one, signal)));
    this.#queries.set(
      watches(upstreams.filter(isQuery), upstreamKey, (one, signal) => queryResponses(agent, one, signal)),
    );
    return this.#facts;
  }

  /**
   * Queries again, at once, whether the servers show the proxy itself: a pending blocking query could take half a
   * minute.
   */
  #lookForLoss(proxy: ProxyDefinition): void {
    const before = this.#visibility;
    this.#visibility = new Watched(
      (signal) => ownCatalog(this.#agent, proxy.name, signal),
      this.#options,
      before?.reading.value,
    );
    void before?.end();
  }

  #holdTime(trustDomain: string, now: number): HoldTime {
    const { state, value: catalog } = this.#visibility?.reading ?? {};
    const registration = this.#registration.reading.value;
    const invisible = catalog && this.#ownVisibility.incompleteReason(registration?.instance, catalog.instances);
    const incompleteReason = this.#agent.incompleteReason ?? invisible;
    const observation = {
      trustDomain,
      registered: registration !== null,
      ...defined({ incompleteReason }),
    };
    const hold = catalog && this.#loss.observe({ ...observation, index: catalog.index }, now);
    this.#incompleteReason = incompleteReason;
    return { hold, isChecked: state !== 'waiting', now };
  }

  #observationOf(
    proxy: ProxyDefinition,
    facts: MeshFacts,
    location: Pick<ProxyObservation, 'trustDomain' | 'datacenter' | 'gateways'>,
  ): ProxyObservation {
    return {
      ...location,
      proxy,
      entries: ownEntriesOf(entryValues(facts), proxy.service),
      intentions: facts.intentions.reading.value ?? [],
      chain: (upstream) => this.#chains.get(upstreamKey(upstream)),
      instances: (target) => this.#targets.get(targetKey(target))?.value,
      query: (upstream) => this.#queries.get(upstreamKey(upstream)),
    };
  }

  #warnings(observation: ProxyObservation): readonly string[] {
    const registered = this.#registration.reading.value;
    const lost = `the agent no longer knows ${this.#id}: keeping its last registration`;
    const odd = registered === null ? lost : registered?.warning;
    const failures = this.#readings.flatMap(({ error }) => (error === undefined ? [] : [reasonOf(error)]));
    return [
      ...(odd === undefined ? [] : [odd]),
      ...(this.#incompleteReason === undefined ? [] : [this.#incompleteReason]),
      ...(this.#agent.filesProblem === undefined ? [] : [this.#agent.filesProblem]),
      ...this.#selections.warnings('instances'),
      ...this.#groups.warnings('mesh gateways'),
      ...this.#peers.warnings(this.#peersInUse(observation)),
      ...new Set(failures),
    ];
  }

  /** Returns the peers of upstreams, and those whose services may call; no other peer must be trusted. */
  #peersInUse(observation: ProxyObservation): readonly string[] {
    const targets = observation.proxy.upstreams.flatMap((upstream) => chainTargets(upstream, observation));
    const callers = observation.intentions.flatMap(({ sourcePeer }) => sourcePeer ?? []);
    return [...targets.flatMap(({ peer }) => peer ?? []), ...callers];
  }

  /** Returns the error of an essential part that is not known. */
  #failureOfFirst(): Error | undefined {
    const first = [this.#registration, this.#facts?.roots, this.#facts?.datacenter];
    return first.map((watched) => watched?.reading.error).find((error) => error !== undefined);
  }
}

/** What a proxy queries, apart from its upstreams. */
interface ProxyFacts extends OwnEntries {
  readonly roots: Roots;
  readonly datacenter: string;
  readonly intentions: readonly Intention[];
  readonly gateways: readonly GatewayGroup[];
}

type MeshFacts = { readonly [Name in keyof ProxyFacts]: Watched<ProxyFacts[Name]> };

function entryValues({ proxyDefaults, serviceDefaults, mesh }: MeshFacts): OwnEntries {
  return {
    proxyDefaults: proxyDefaults.reading.value,
    serviceDefaults: serviceDefaults.reading.value,
    mesh: mesh.reading.value,
  };
}

function watchedFacts(facts: MeshFacts): readonly Watched<unknown>[] {
  return Object.values<Watched<unknown>>({ ...facts });
}

/** The only entry of a kind. */
function only(kind: string): { readonly kind: string; read(entries: readonly JsonObject[]): JsonObject | undefined } {
  return { kind, read: ([entry]) => entry };
}

function hasNoGateway({ gateways }: GatewayGroup): boolean {
  return gateways.length === 0;
}

function isEmpty(selection: Selection): boolean {
  return selection.kind === 'selected' && selection.instances.length === 0;
}

function watches<Item, T>(
  items: readonly Item[],
  keyOf: (item: Item) => string,
  watch: (item: Item, signal: AbortSignal) => AsyncIterable<T>,
): ReadonlyMap<string, Watch<T>> {
  return new Map(items.map((item): [string, Watch<T>] => [keyOf(item), (signal) => watch(item, signal)]));
}

function upstreamKey(upstream: {
  readonly name: string;
  readonly datacenter?: string;
  readonly namespace?: string;
}): string {
  return JSON.stringify([upstream.name, upstream.datacenter, upstream.namespace]);
}

function targetKey({ service, datacenter, namespace, peer, instances: { filter } }: ChainTarget): string {
  return JSON.stringify([service, datacenter, namespace, peer, filter]);
}

function gatewayKey({ datacenter, service }: GatewayService): string {
  return JSON.stringify([datacenter, service]);
}
