import { pause } from '@meshgate/core';
import type { ClusterPeer } from '@meshgate/mesh';
import { AgentError, fresh, parsed } from '../agent.ts';
import type { Agent, AgentResponse } from '../agent.ts';
import { blockingQuery } from '../blocking-query.ts';
import { exportedNamesOf, exportsInEntries, exportsTo, isThroughGateways, peerOf, peersOf } from './peering-records.ts';
import type { ExportedName } from './peering-records.ts';

/** The list of peerings, as an agent reports it. */
export interface PeersResponse {
  readonly peers: readonly ClusterPeer[];
  /** Why peerings are missing from the list: the token lacks a permission, or the agent no longer has peering. */
  readonly warning?: string;
}

/**
 * Follows the peerings of this cluster. An agent before 1.13, or one with peering disabled, has none. For a token
 * without the permission there is a warning that names the missing rule.
 *
 * A blocking query returns when a peering is written, not when its state changes, and before 1.15.3 it does not block:
 * so the list is also polled every few seconds.
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
// Limits the age of a response, because a change of state does not wake a blocking query.
const HELD_MS = 5_000;
const POLL_MS = 5_000;
const MIN_REST_MS = 20;
// Policies and agents rarely change; this limits the delay until such a change is noticed.
const ABSENT_REST_MS = 30_000;

/** The warning for a token that may not read peerings. */
export const NO_RULE =
  'peerings cannot be read, services of peers are not routed: the token needs peering = "read" (or operator = "read")';

/** Returns the error of an agent without peering, or of a token without the permission; throws any other error. */
export function noPeering(reason: unknown): AgentError {
  if (!(reason instanceof AgentError)) throw reason;
  const isOff = reason.status === 500 && /peering must be enabled/i.test(reason.complaint);
  if (reason.status === 404 || reason.status === 403 || isOff) return reason;
  throw reason;
}

/**
 * The peerings seen so far, to verify a response that lacks one of them. Consul marks a peering as deleted before it
 * leaves the list; one that was deleted in between is unknown when queried by name.
 */
export class KnownPeers {
  #last: ReadonlyMap<string, ClusterPeer>;

  /** @param peers peerings that an earlier watch has seen */
  constructor(peers: readonly ClusterPeer[] = []) {
    this.#last = new Map(peers.map((peer) => [peer.name, peer]));
  }

  /** Returns `peers`, and each previous peering for which a query by name does not confirm the removal. */
  async update(peers: readonly ClusterPeer[], agent: Agent, signal: AbortSignal): Promise<PeersResponse> {
    const next = new Map(peers.map((peer) => [peer.name, peer]));
    for (const [name, peer] of this.#last) {
      if (next.has(name) || peer.isDeleted || (await isGone(agent, name, signal))) continue;
      next.set(name, peer);
    }
    this.#last = next;
    return { peers: [...next.values()] };
  }

  /** Returns the peerings for an agent that has no peering, or denies access. */
  withdrawn({ status, message }: AgentError): PeersResponse {
    if (status !== 403) this.#last = new Map();
    const peers = [...this.#last.values()];
    if (status === 403) return { peers, warning: NO_RULE };
    // The agent had peerings before: peering was disabled since, or another agent responds.
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

/**
 * Follows whether the servers of peers connect through the mesh gateways. `false` where the agent has no such entry, or
 * not this kind of entry.
 */
export async function* throughGateways(agent: Agent, signal: AbortSignal): AsyncGenerator<boolean> {
  const path = 'config/mesh/mesh';
  for await (const response of blockingQuery(agent, { path, mayBeMissing: true }, signal))
    yield response.found && parsed(response, path, 'an entry of kind mesh', isThroughGateways);
}

/**
 * Follows the exports to `peer`: from the servers' resolved view of the entry, with wildcards expanded, which requires
 * only `service:read`; where the agent does not have this view, from the documented list, else from the entry itself.
 *
 * @param isHeld whether to use blocking queries; when false, polls every few seconds, since a blocking query occupies a
 * connection
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

/** Follows the documented list of agents from 1.17.3 on; where there is none, the entries themselves. */
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

/** Whether the agent does not have the endpoint, or the token may not use it. */
function isUnavailable(reason: unknown): boolean {
  return reason instanceof AgentError && (reason.status === 404 || reason.status === 403);
}

/** Verifies an empty list of exports: the agent must know the peer, and answer the same once more. */
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

/** Kinds of configuration entries that determine a discovery chain. */
export const CHAIN_KINDS = [
  'proxy-defaults',
  'service-defaults',
  'service-resolver',
  'service-router',
  'service-splitter',
] as const;

/** Follows the entries of one kind. Yields a new number at each change. */
export async function* entryChanges(agent: Agent, kind: string, signal: AbortSignal): AsyncGenerator<number> {
  let changes = 0;
  const responses = blockingQuery(agent, { path: `config/${kind}` }, signal);
  for (let next = await responses.next(); next.done !== true; next = await responses.next()) {
    changes += 1;
    yield changes;
  }
}
