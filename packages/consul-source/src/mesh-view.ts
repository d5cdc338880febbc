import { setTimeout as pause } from 'node:timers/promises';
import type { GatewayGroup, Instance, Resolver } from '@meshgate/mesh';
import { AgentError, parsed } from './agent.ts';
import type { Agent } from './agent.ts';
import { blockingQuery } from './blocking-query.ts';
import type { Change } from './blocking-query.ts';
import { CONSUL, inventoryOfNames, inventoryOfNodes, linksOf } from './inventory.ts';
import type { Inventory } from './inventory.ts';
import { object, text } from './json.ts';
import { ownDefinition } from './own-definition.ts';
import type { OwnDefinition } from './own-definition.ts';
import { datacenterOf, instancesOf, resolversOf } from './records.ts';
import { federatedGateways, hasNoFederationStates, polledGateways } from './remote-gateways.ts';
import type { Wakeup } from './wakeup.ts';

/** The parts of the mesh without which no route can be derived. `undefined`: not known yet. */
interface Essentials {
  trustDomain: string | undefined;
  datacenter: string | undefined;
  inventory: Inventory | undefined;
  resolvers: ReadonlyMap<string, Resolver> | undefined;
}

/** The mesh as one agent tells it. Each watch overwrites its own part; parts that fail keep what they had. */
export interface MeshView extends Essentials {
  /** Raft index of the inventory. */
  index: number;
  dnsDomain: string;
  servers: readonly Instance[];
  gateways: readonly GatewayGroup[];
  links: ReadonlyMap<string, readonly string[]>;
  own: OwnDefinition | undefined;
  /** Why each of the lesser watches fails at the moment, by its name. */
  readonly failing: Map<string, string>;
  /** Lesser watches that have spoken or failed since the view was last begun. */
  readonly settled: Set<string>;
}

/** What is set rather than asked. */
export interface Preset {
  /** Service id of the gateway; the one mesh gateway of the agent when absent. */
  readonly id?: string;
  /** Partition of the gateway; `default` when absent. */
  readonly partition?: string;
  /** The local datacenter; asked of Consul when absent. */
  readonly datacenter?: string;
  /** DNS domain of the agents; asked of the agent when absent, which takes `agent:read`, else `consul`. */
  readonly dnsDomain?: string;
}

/** A view of which nothing is known. */
export function emptyView({ dnsDomain = DEFAULT_DNS_DOMAIN }: Preset): MeshView {
  return {
    ...UNKNOWN,
    index: 0,
    dnsDomain,
    servers: [],
    gateways: [],
    links: new Map(),
    own: undefined,
    failing: new Map(),
    settled: new Set(),
  };
}

/**
 * Keeps `view` up to date until `signal` aborts, and wakes whoever reads it at each change. Without the essentials there is no
 * view: their first failure is final. The lesser parts are tried again by themselves, and keep what they had meanwhile.
 *
 * @returns settles when every watch has ended; never rejects
 */
export async function watchMesh(
  agent: Agent,
  view: MeshView,
  preset: Preset,
  wakeup: Wakeup,
  signal: AbortSignal,
): Promise<void> {
  Object.assign(view, UNKNOWN, preset.datacenter === undefined ? {} : { datacenter: preset.datacenter });
  view.settled.clear();
  view.failing.clear();
  const essential = [watchRoots, watchInventory, watchResolvers, watchServers];
  const lesser = { definition: watchDefinition, gateways: watchGateways, links: watchLinks, domain: askDomain };
  const context = { agent, view, preset, changed: () => wakeup.signal(), signal };
  await Promise.all([
    ...essential.map((watch) => watch(context).catch((reason: unknown) => wakeup.fail(reason))),
    ...Object.entries(lesser).map(([name, watch]) => retried(name, watch, context)),
  ]);
}

/** Whether routes can be derived: the essentials are known, and the lesser parts have spoken or failed, if they are `awaited`. */
export function isComplete(view: MeshView, awaited: boolean): view is MeshView & KnownEssentials {
  const { trustDomain, datacenter, inventory, resolvers, settled } = view;
  const known = [trustDomain, datacenter, inventory, resolvers].every((part) => part !== undefined);
  return known && (!awaited || settled.size === LESSER_PARTS);
}

/** The essentials, all known. */
export type KnownEssentials = { readonly [Part in keyof Essentials]: Exclude<Essentials[Part], undefined> };

const UNKNOWN: Essentials = {
  trustDomain: undefined,
  datacenter: undefined,
  inventory: undefined,
  resolvers: undefined,
};
const DEFAULT_DNS_DOMAIN = 'consul';
const LESSER_PARTS = 4;
const FIRST_REST_MS = 1_000;
const LONGEST_REST_MS = 60_000;

interface Context {
  readonly agent: Agent;
  readonly view: MeshView;
  readonly preset: Preset;
  readonly changed: () => void;
  readonly signal: AbortSignal;
}

type Watch = (context: Context) => Promise<void>;

/** Runs a lesser watch again, after a growing rest, whenever it fails. It ends when it returns by itself: it has said all. */
async function retried(name: string, watch: Watch, context: Context): Promise<void> {
  const { view, changed, signal } = context;
  const settle = (): void => {
    view.failing.delete(name);
    view.settled.add(name);
    restMs = FIRST_REST_MS;
    changed();
  };
  let restMs = FIRST_REST_MS;
  while (!signal.aborted) {
    try {
      await watch({ ...context, changed: settle });
      settle();
      return;
    } catch (reason) {
      if (signal.aborted) return;
      view.failing.set(name, reason instanceof Error ? reason.message : String(reason));
      view.settled.add(name);
      changed();
      await pause(restMs * (1 - Math.random() / 2), undefined, { signal }).catch(() => undefined);
      restMs = Math.min(restMs * 2, LONGEST_REST_MS);
    }
  }
}

async function watchRoots({ agent, view, changed, signal }: Context): Promise<void> {
  const path = 'agent/connect/ca/roots';
  for await (const answer of blockingQuery(agent, { path }, signal)) {
    view.trustDomain = parsed(
      answer,
      path,
      'roots with a trust domain',
      (json) => text(object(json)?.['TrustDomain']) || undefined,
    );
    changed();
  }
}

/** By the coarse query that says what has changed; by the list of names alone where the agent has no such query. */
async function watchInventory(context: Context): Promise<void> {
  const { agent, view, changed, signal } = context;
  try {
    for await (const answer of blockingQuery(agent, { path: NODES }, signal)) {
      takeInventory(view, answer, parsed(answer, NODES, 'a list of nodes', inventoryOfNodes));
      changed();
    }
  } catch (reason) {
    if (!isMissing(reason)) throw reason;
    await pollInventory(context);
  }
}

const NODES = 'internal/ui/nodes';

/** Names tell nothing of what is behind them, so that each look at them asks for every service. */
async function pollInventory({ agent, view, changed, signal }: Context): Promise<void> {
  const path = 'catalog/services';
  for (;;) {
    const answer = await agent.ask({ path }, signal);
    takeInventory(view, { ...answer, rewound: false }, parsed(answer, path, 'services by name', inventoryOfNames));
    changed();
    await pause(POLL_MS, undefined, { signal });
  }
}

// A third of what a sweep of 5,000 services takes; with few services a change is still seen within a second.
const POLL_MS = 500;

function takeInventory(view: MeshView, answer: Change, inventory: Inventory): void {
  if (inventory.blind)
    throw new AgentError('the token may read no node, so that every answer is empty: it needs node_prefix "" read');
  view.inventory = inventory;
  view.index = answer.index ?? 0;
}

async function watchResolvers({ agent, view, changed, signal }: Context): Promise<void> {
  const path = 'config/service-resolver';
  for await (const answer of blockingQuery(agent, { path }, signal)) {
    view.resolvers = parsed(answer, path, 'a list of config entries', resolversOf);
    changed();
  }
}

/** Consul's own servers: part of the mesh in a WAN federation, and the surest source for the name of the datacenter. */
async function watchServers({ agent, view, changed, signal }: Context): Promise<void> {
  const path = `health/service/${CONSUL}`;
  for await (const answer of blockingQuery(agent, { path }, signal)) {
    view.servers = parsed(answer, path, 'a list of instances', instancesOf);
    view.datacenter ??=
      parsed(answer, path, 'instances with a datacenter', (json) => datacenterOf(json) ?? '') || undefined;
    changed();
  }
}

async function watchDefinition({ agent, view, preset, changed, signal }: Context): Promise<void> {
  for await (const own of ownDefinition(agent, preset.id, signal)) {
    view.own = own;
    changed();
  }
}

async function watchGateways({ agent, view, changed, signal }: Context): Promise<void> {
  const take = async (groups: AsyncIterable<readonly GatewayGroup[]>): Promise<void> => {
    for await (const gateways of groups) {
      view.gateways = gateways;
      changed();
    }
  };
  try {
    await take(federatedGateways(agent, signal));
  } catch (reason) {
    if (!hasNoFederationStates(reason)) throw reason;
    await take(polledGateways(agent, signal));
  }
}

/** An agent too old for terminating gateways has no such kind of entry, and says so once. */
async function watchLinks({ agent, view, changed, signal }: Context): Promise<void> {
  const path = 'config/terminating-gateway';
  try {
    for await (const answer of blockingQuery(agent, { path }, signal)) {
      view.links = parsed(answer, path, 'a list of config entries', linksOf);
      changed();
    }
  } catch (reason) {
    if (!isMissing(reason) && !(reason instanceof AgentError && /invalid config entry kind/i.test(reason.complaint)))
      throw reason;
  }
}

/** The DNS domain of the agents, which takes `agent:read` to see; without it the default, or what was set, stands. */
async function askDomain({ agent, view, preset, signal }: Context): Promise<void> {
  if (preset.dnsDomain !== undefined) return;
  const path = 'agent/self';
  try {
    const answer = await agent.ask({ path }, signal);
    const domain = parsed(answer, path, 'an object', (json) =>
      text(object(object(json)?.['DebugConfig'])?.['DNSDomain']),
    );
    if (domain !== '') view.dnsDomain = domain;
  } catch (reason) {
    if (!isMissing(reason)) throw reason;
  }
}

function isMissing(reason: unknown): boolean {
  return reason instanceof AgentError && (reason.status === 404 || reason.status === 403);
}
