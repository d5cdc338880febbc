import { pause } from '@meshgate/core';
import type { ClusterPeer } from '@meshgate/mesh';
import { AgentError, fresh, parsed } from '../agent.ts';
import type { Agent, AgentResponse } from '../agent.ts';
import { blockingQuery } from '../blocking-query.ts';
import { exportedNamesOf, exportsInEntries, exportsTo, isThroughGateways, peerOf, peersOf } from './peering-records.ts';
import type { ExportedName } from './peering-records.ts';

/** An agent's list of peerings. */
export interface PeersResponse {
  readonly peers: readonly ClusterPeer[];
  /** Why there is none, when the token lacks a permission. */
  readonly warning?: string;
}

/**
 * Follows the peerings of this cluster. An agent before 1.13, or one with peering disabled, has none; one that denies the token shows
 * none, and a warning names the missing rule.
 *
 * Blocking queries return when a peering is written, not when its state changes, and before 1.15.3 they do not block: so the list is
 * also polled every few seconds.
 */
export async function* peerResponses(
  agent: Agent,
  known: KnownPeers,
  signal: AbortSignal,
): AsyncGenerator<PeersResponse> {
  for (let index = 0; !signal.aborted;) {
    const held = index === 0 ? {} : { index: String(index), wait: `${HELD_MS / 1_000}s` };
    const response = await agent
      .request({ path: PEERINGS, query: held, holdMs: HELD_MS * 2 }, signal)
      .then(fresh)
      .catch(noPeering);
    if (response instanceof AgentError) {
      yield known.withdrawn(response);
      await pause(ABSENT_REST_MS, signal);
      continue;
    }
    const peers = parsed(response, PEERINGS, 'a list of peerings', peersOf);
    yield await known.update(peers, agent, signal);
    await pause(response.index === undefined ? POLL_MS : MIN_REST_MS, signal);
    index = response.index ?? 0;
  }
}

const PEERINGS = 'peerings';
// A change of state does not wake a blocking query: this bounds the age of a response.
const HELD_MS = 5_000;
const POLL_MS = 5_000;
const MIN_REST_MS = 20;
// Policies and agents rarely change; this bounds how long it takes to notice.
const ABSENT_REST_MS = 30_000;

/** Why the token sees no peering. */
export const NO_RULE =
  'peerings cannot be read, services of peers are not routed: the token needs peering = "read" (or operator = "read")';

/** An agent without peering is not a failure; any other error is. */
export function noPeering(reason: unknown): AgentError {
  if (!(reason instanceof AgentError)) throw reason;
  const isOff = reason.status === 500 && /peering must be enabled/i.test(reason.complaint);
  if (reason.status === 404 || reason.status === 403 || isOff) return reason;
  throw reason;
}

/**
 * Peerings seen so far, so that a response that lacks one of them is verified: a peering is shown as deleted before it leaves the
 * list, and one that was deleted in between is unknown when queried by name.
 */
export class KnownPeers {
  #last: ReadonlyMap<string, ClusterPeer>;

  /** @param peers the peerings that an earlier watch has seen */
  constructor(peers: readonly ClusterPeer[] = []) {
    this.#last = new Map(peers.map((peer) => [peer.name, peer]));
  }

  /** `peers`, and the previous ones whose removal the agent, queried for each, does not confirm. */
  async update(peers: readonly ClusterPeer[], agent: Agent, signal: AbortSignal): Promise<PeersResponse> {
    const next = new Map(peers.map((peer) => [peer.name, peer]));
    for (const [name, peer] of this.#last) {
      if (next.has(name) || peer.isDeleted || (await isGone(agent, name, signal))) continue;
      next.set(name, peer);
    }
    this.#last = next;
    return { peers: [...next.values()] };
  }

  /** The agent has none, or does not say. */
  withdrawn({ status, message }: AgentError): PeersResponse {
    if (status !== 403) this.#last = new Map();
    const peers = [...this.#last.values()];
    if (status === 403) return { peers, warning: NO_RULE };
    // It was there before: peering was disabled, or this is another agent.
    return peers.length === 0 ? { peers } : { peers, warning: message };
  }
}

async function isGone(agent: Agent, name: string, signal: AbortSignal): Promise<boolean> {
  const path = peeringPath(name);
  const response = fresh(await agent.request({ path, mayBeMissing: true }, signal));
  return !response.found || parsed(response, path, 'a peering', peerOf).isDeleted;
}

function peeringPath(name: string): string {
  return `peering/${encodeURIComponent(name)}`;
}

/** Follows whether peers' servers are reached through the gateways. `false` where the agent has no such entry, or no such kind. */
export async function* throughGateways(agent: Agent, signal: AbortSignal): AsyncGenerator<boolean> {
  const path = 'config/mesh/mesh';
  for await (const response of blockingQuery(agent, { path, mayBeMissing: true }, signal))
    yield response.found && parsed(response, path, 'an entry of kind mesh', isThroughGateways);
}

/**
 * Follows what is exported to `peer`: from the servers' resolved view of the entry, with wildcards expanded, which requires only
 * `service:read`; from the documented list or the entry itself where an agent does not have that.
 *
 * @param isHeld false: polls every few seconds instead, since a blocking query occupies a connection
 */
export async function* exportResponses(
  agent: Agent,
  { peer, isHeld }: { readonly peer: string; readonly isHeld: boolean },
  signal: AbortSignal,
): AsyncGenerator<readonly ExportedName[]> {
  const request = { path: EXPORTED, query: { peer } };
  try {
    for await (const response of isHeld ? blockingQuery(agent, request, signal) : polled(agent, request, signal)) {
      const names = parsed(response, request.path, 'a list of services', exportedNamesOf);
      if (names.length > 0) yield names;
      else yield await withoutExports(agent, peer, signal);
    }
  } catch (reason) {
    if (!isUnavailable(reason)) throw reason;
    yield* exportsByList(agent, peer, signal);
  }
}

/** By the documented list, which agents have from 1.17.3 on; by the entries themselves where there is none. */
async function* exportsByList(
  agent: Agent,
  peer: string,
  signal: AbortSignal,
): AsyncGenerator<readonly ExportedName[]> {
  const path = 'exported-services';
  try {
    for await (const response of blockingQuery(agent, { path }, signal))
      yield parsed(response, path, 'a list of exports', (json) => exportsTo(json, peer));
  } catch (reason) {
    if (!isUnavailable(reason)) throw reason;
    yield* exportsByEntries(agent, peer, signal);
  }
}

/** The agent has no such endpoint, or the token may not use it. */
function isUnavailable(reason: unknown): boolean {
  return reason instanceof AgentError && (reason.status === 404 || reason.status === 403);
}

/** Nothing at all: whoever says so must at least know the peer, and say the same once more, or it does not know what it says. */
async function withoutExports(agent: Agent, peer: string, signal: AbortSignal): Promise<readonly ExportedName[]> {
  await confirmPeer(agent, peer, signal);
  const response = await agent.request({ path: EXPORTED, query: { peer } }, signal);
  return parsed(response, EXPORTED, 'a list of services', exportedNamesOf);
}

const EXPORTED = 'internal/ui/exported-services';

async function* exportsByEntries(
  agent: Agent,
  peer: string,
  signal: AbortSignal,
): AsyncGenerator<readonly ExportedName[]> {
  const path = 'config/exported-services';
  for await (const response of blockingQuery(agent, { path }, signal)) {
    if (response.filtered) throw new AgentError(NO_EXPORTS_RULE);
    yield parsed(response, path, 'a list of config entries', (json) => exportsInEntries(json, peer));
  }
}

const NO_EXPORTS_RULE =
  'what is exported to peers cannot be read: the token needs service_prefix "" read, or mesh = "read"';

async function* polled(
  agent: Agent,
  request: { readonly path: string; readonly query: Readonly<Record<string, string>> },
  signal: AbortSignal,
): AsyncGenerator<AgentResponse> {
  while (!signal.aborted) {
    yield fresh(await agent.request(request, signal));
    await pause(POLL_MS, signal);
  }
}

async function confirmPeer(agent: Agent, name: string, signal: AbortSignal): Promise<void> {
  const path = peeringPath(name);
  const response = await agent.request({ path, mayBeMissing: true }, signal);
  if (response.found) parsed(response, path, 'a peering', peerOf);
}

/** The kinds of entries that a discovery chain depends on. */
export const CHAIN_KINDS = [
  'proxy-defaults',
  'service-defaults',
  'service-resolver',
  'service-router',
  'service-splitter',
] as const;

/** Follows the entries of one kind: yields another number at each change. */
export async function* entryChanges(agent: Agent, kind: string, signal: AbortSignal): AsyncGenerator<number> {
  let changes = 0;
  const responses = blockingQuery(agent, { path: `config/${kind}` }, signal);
  for (let next = await responses.next(); next.done !== true; next = await responses.next()) {
    changes += 1;
    yield changes;
  }
}
