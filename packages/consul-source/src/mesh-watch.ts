import { inTurns, Watched } from '@meshgate/core/parts';
import type { Watch, WatchOptions } from '@meshgate/core/parts';
import { pause } from '@meshgate/core';
import type { GatewayGroup, Instance, GatewayResolver } from '@meshgate/mesh';
import { AgentError, FREE_TEXT, fresh, isDenied, parsed, parsedResponse, reasonOf } from './agent.ts';
import type { Agent } from './agent.ts';
import { blockingQuery, constant, orElse, REWOUND_REST_MS } from './blocking-query.ts';
import { configEntries } from './config-entries.ts';
import { inventoryOfNames, linksOf, readingNodes } from './inventory.ts';
import type { Inventory } from './inventory.ts';
import { object, text } from './json.ts';
import { ownDefinition } from './own-definition.ts';
import type { OwnDefinition } from './own-definition.ts';
import { CONSUL, datacenterOf, INSTANCES, resolversOf } from './records.ts';
import { meshRoots } from './roots.ts';
import type { Roots } from './roots.ts';
import { gatewayGroups } from './remote-gateways.ts';
import type { Registered } from './service-health.ts';

/** The mesh, as one agent reports it. */
export interface MeshView extends Registered {
  readonly trustDomain: string;
  /** Root certificates of the mesh, in PEM. */
  readonly roots: readonly string[];
  readonly datacenter: string;
  readonly dnsDomain: string;
  readonly servers: readonly Instance[];
  /** Consul's own servers were visible, and no longer are: other responses are incomplete as well. */
  readonly serversVanished: boolean;
  /**
   * When the servers last became invisible, in monotonic milliseconds; 0 for never. They may be visible again by the
   * time this is read.
   */
  readonly serversVanishedAt: number;
  readonly gateways: readonly GatewayGroup[];
  readonly own: OwnDefinition | undefined;
  /** One sentence for each part that keeps an older value, with its reason. */
  readonly warnings: readonly string[];
}

/** Values from the configuration. */
export interface Preset {
  /** Service id of the gateway; the only mesh gateway of the agent when absent. */
  readonly id?: string;
  /** See `OwnQuery`. */
  readonly node?: string;
  /** Partition of the gateway; `default` when absent. */
  readonly partition?: string;
  /** Name of the local datacenter; queried from Consul when absent. */
  readonly datacenter?: string;
  /** DNS domain of the agents. When absent it is queried from the agent, which needs `agent:read`, else `consul`. */
  readonly dnsDomain?: string;
}

/** The last value of each part. */
interface MeshParts {
  readonly roots: Roots;
  readonly inventory: { readonly inventory: Inventory; readonly index: number };
  readonly resolvers: ReadonlyMap<string, GatewayResolver>;
  readonly servers: {
    readonly instances: readonly Instance[];
    readonly datacenter: string | undefined;
    /** The last response lists no servers, although an earlier one did. */
    readonly vanished: boolean;
    /** When such a response last arrived, in monotonic milliseconds; 0 for never. */
    readonly vanishedAt: number;
  };
  readonly definition: OwnDefinition;
  readonly gateways: readonly GatewayGroup[];
  readonly links: ReadonlyMap<string, readonly string[]>;
  readonly domain: string;
}

type WatchedParts = { readonly [Name in keyof MeshParts]: Watched<MeshParts[Name]> };

/** The values of an earlier watch of the mesh. */
export type KnownParts = { readonly [Name in keyof MeshParts]?: MeshParts[Name] | undefined };

/** Parts without which no route can be derived. */
const ESSENTIAL = ['roots', 'inventory', 'resolvers', 'servers'] as const;

/**
 * Watches the parts of the mesh independently. A part that fails keeps its last value, with a warning, and is retried
 * with a growing back-off.
 */
export class MeshWatch {
  readonly #preset: Preset;
  readonly #parts: WatchedParts;

  /** @param known values of an earlier watch, used until this watch has its own */
  constructor(agent: Agent, preset: Preset, options: WatchOptions, known: KnownParts = {}) {
    this.#preset = preset;
    const memory = { groups: known.gateways ?? [] };
    const watched = <T>(watch: Watch<T>, kept: T | undefined): Watched<T> => new Watched(watch, options, kept);
    this.#parts = {
      roots: watched((signal) => meshRoots(agent, { mayBeNone: true }, signal), known.roots),
      inventory: watched((signal) => inventories(agent, signal), known.inventory),
      resolvers: watched((signal) => configEntries(agent, RESOLVERS, signal), known.resolvers),
      servers: watched((signal) => servers(agent, signal), known.servers),
      definition: watched((signal) => ownDefinition(agent, { id: preset.id, ...preset }, signal), known.definition),
      gateways: watched(
        (signal) => gatewayGroups(agent, { checksStates: true, awaitsAll: false, memory }, signal),
        known.gateways,
      ),
      links: watched(
        (signal) => orElse(configEntries(agent, LINKS, signal), isDenied, () => constant(NO_LINKS, signal)),
        known.links,
      ),
      domain: watched((signal) => dnsDomain(agent, preset, signal), known.domain),
    };
  }

  /** Returns the current values, for a later watch. */
  get known(): KnownParts {
    return Object.fromEntries(Object.entries(this.#parts).map(([name, { reading }]) => [name, reading.value]));
  }

  /** Why no route can be derived: all essential queries fail, or one of them has never succeeded. */
  get failure(): Error | undefined {
    const readings = ESSENTIAL.map((name) => this.#parts[name].reading);
    const failing = readings.filter(({ state }) => state === 'failing');
    const unknown = failing.find(({ value }) => value === undefined);
    if (unknown !== undefined) return unknown.error;
    if (failing.length === readings.length) return failing[0]?.error;
    if (readings.some(({ state }) => state === 'waiting') || this.#datacenter !== undefined) return undefined;
    return new AgentError(
      'local datacenter unknown, Consul\'s own servers are not visible: the token may lack service_prefix "" read',
    );
  }

  /**
   * Returns the view, or `undefined` while a required part is not known.
   *
   * @param awaited whether the non-essential parts are required, too
   */
  view(awaited: boolean): MeshView | undefined {
    const {
      roots,
      inventory,
      resolvers: overrides,
      servers: own,
      definition,
      gateways,
      links: linked,
      domain,
    } = this.#parts;
    const waiting = awaited ? Object.values(this.#parts) : ESSENTIAL.map((name) => this.#parts[name]);
    if (waiting.some(({ reading }) => reading.state === 'waiting')) return undefined;
    const [trusted, datacenter, known] = [roots.reading.value, this.#datacenter, inventory.reading.value];
    const resolverEntries = overrides.reading.value;
    if (trusted === undefined || datacenter === undefined || known === undefined || resolverEntries === undefined)
      return undefined;
    return {
      ...known,
      ...trusted,
      datacenter,
      resolvers: resolverEntries,
      dnsDomain: domain.reading.value ?? this.#preset.dnsDomain ?? DEFAULT_DNS_DOMAIN,
      servers: own.reading.value?.instances ?? [],
      serversVanished: own.reading.value?.vanished ?? false,
      serversVanishedAt: own.reading.value?.vanishedAt ?? 0,
      gateways: gateways.reading.value ?? [],
      links: linked.reading.value ?? NO_LINKS,
      own: definition.reading.value,
      warnings: this.#warnings,
    };
  }

  /** Resolves when all watches have ended. */
  async end(): Promise<void> {
    await Promise.all(Object.values(this.#parts).map((part) => part.end()));
  }

  get #datacenter(): string | undefined {
    return this.#preset.datacenter ?? this.#parts.servers.reading.value?.datacenter;
  }

  get #warnings(): readonly string[] {
    return Object.entries(this.#parts).flatMap(([name, { reading }]) =>
      reading.error === undefined ? [] : [`${name}: ${reasonOf(reading.error)}`],
    );
  }
}

const DEFAULT_DNS_DOMAIN = 'consul';
const NO_LINKS: MeshParts['links'] = new Map();
const LINKS = { kind: 'terminating-gateway', read: linksOf };
const RESOLVERS = { kind: 'service-resolver', read: resolversOf };

/**
 * Yields the inventory from the coarse query of all nodes; from the list of names while the agent does not have that
 * query, or denies access. Parts that the list of names does not contain keep their last value.
 */
async function* inventories(agent: Agent, signal: AbortSignal): AsyncGenerator<MeshParts['inventory']> {
  let last: MeshParts['inventory'] | undefined;
  while (!signal.aborted)
    for await (const known of orElse(nodeInventories(agent, signal), isDenied, () =>
      namedInventories(agent, last, signal),
    ))
      yield (last = known);
}

async function* nodeInventories(agent: Agent, signal: AbortSignal): AsyncGenerator<MeshParts['inventory']> {
  for await (const response of blockingQuery(agent, { path: NODES, without: FREE_TEXT }, signal)) {
    const read = await inTurns(readingNodes(response.text));
    const inventory = parsed(response, { path: NODES, expected: 'a list of nodes', read: () => read });
    if (inventory.blind)
      throw new AgentError('the token cannot read nodes, so every response is empty: it needs node_prefix "" read');
    const partial = inventory.partial || response.filtered;
    yield { inventory: { ...inventory, partial }, index: response.index ?? 0 };
  }
}

const NODES = 'internal/ui/nodes';

/**
 * Polls the list of names. Names do not show changes behind them, so each poll makes every service be queried. Ends
 * after ten seconds, so that the query of nodes is tried again.
 */
async function* namedInventories(
  agent: Agent,
  last: MeshParts['inventory'] | undefined,
  signal: AbortSignal,
): AsyncGenerator<MeshParts['inventory']> {
  const format = { path: 'catalog/services', expected: 'services by name', read: inventoryOfNames };
  for (let polls = 0; polls < POLLS && !signal.aborted; polls += 1) {
    const response = fresh(await agent.request(format, signal));
    const named = parsed(response, format);
    // This table has its own index, so a lower one does not mean a loss.
    yield { inventory: { ...named, ...shownByNodes(last) }, index: Math.max(response.index ?? 0, last?.index ?? 0) };
    await pause(POLL_MS, signal);
  }
}

function shownByNodes(last: MeshParts['inventory'] | undefined): Partial<Inventory> {
  if (last === undefined) return {};
  const { terminatingGateways, instances, imports } = last.inventory;
  return { terminatingGateways, instances, imports };
}

// A third of the time that querying 5,000 services takes; with few services, a change still shows within a second.
const POLL_MS = 500;
// Ten seconds.
const POLLS = 20;

/**
 * Follows Consul's own servers: part of the mesh in a WAN federation, and the most reliable source of the datacenter's
 * name. Every datacenter has servers: an empty list means that the token may not read them, or that Consul has lost its
 * state, so the last servers remain.
 */
async function* servers(agent: Agent, signal: AbortSignal): AsyncGenerator<MeshParts['servers']> {
  const path = `health/service/${CONSUL}`;
  let known: MeshParts['servers'] = { instances: [], datacenter: undefined, vanished: false, vanishedAt: 0 };
  for await (const response of blockingQuery(agent, { path, without: FREE_TEXT, impliesLoss: true }, signal)) {
    const instances = parsed(response, { path, ...INSTANCES });
    const datacenter = parsed(response, { path, expected: 'instances with a datacenter', read: datacenterOf });
    // The response is older than the last one. The state loss guard must first see the inventory, which shows the loss.
    if (response.rewound) await pause(REWOUND_REST_MS, signal);
    const isNone = instances.length === 0;
    const isLoss = isNone && known.instances.length > 0;
    known = isNone
      ? { ...known, vanished: isLoss, vanishedAt: isLoss ? performance.now() : known.vanishedAt }
      : { ...known, instances, datacenter: datacenter || known.datacenter, vanished: false };
    yield known;
  }
}

/** Yields the configured DNS domain; else that of the agents, which needs `agent:read`; else the default. */
function dnsDomain(agent: Agent, { dnsDomain: preset }: Preset, signal: AbortSignal): AsyncIterable<string> {
  if (preset !== undefined) return constant(preset, signal);
  return orElse(agentDomain(agent, signal), isDenied, () => constant(DEFAULT_DNS_DOMAIN, signal));
}

async function* agentDomain(agent: Agent, signal: AbortSignal): AsyncGenerator<string> {
  const read = (json: unknown): string => text(object(object(json)?.['DebugConfig'])?.['DNSDomain']);
  const domain = await parsedResponse(agent, { path: 'agent/self', expected: 'an object', read }, signal);
  yield* constant(domain || DEFAULT_DNS_DOMAIN, signal);
}
