import { pause } from '@meshgate/core';
import type { ClusterPeer } from '@meshgate/mesh';
import { AgentError, fresh, isDenied, parsed, parsedResponse } from '../agent.ts';
import type { Agent } from '../agent.ts';
import { blockingQuery, orElse, parsedResponses } from '../blocking-query.ts';
import { exportedNamesOf, exportsInEntries, exportsTo, peerOf, peersOf } from './peering-records.ts';
import type { ExportedName } from './peering-records.ts';

/** The list of peerings, as an agent reports it. */
export interface PeersResponse {
  readonly peers: readonly ClusterPeer[];
  /** Whether the agent has peering. Remains true until a second response denies it. */
  readonly isOn: boolean;
  /** Set when the token may not read the list. */
  readonly isRefused?: true;
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
  while (!signal.aborted)
    try {
      for await (const peers of parsedResponses(agent, PEERINGS, signal))
        yield await known.update(peers, agent, signal);
    } catch (reason) {
      const withdrawn = known.withdrawn(noPeering(reason));
      yield withdrawn;
      await pause(withdrawn.peers.length === 0 ? ABSENT_REST_MS : CONFIRM_MS, signal);
    }
}

// Limits the age of a response, because a change of state does not wake a blocking query.
const HELD_MS = 5_000;
const PEERINGS = {
  path: 'peerings',
  waitMs: HELD_MS,
  repeats: true,
  expected: 'a list of peerings',
  read: peersOf,
};
// A proxy may respond with 404 while its agent restarts.
const CONFIRM_MS = 5_000;
// Policies and agents rarely change; this limits the delay until such a change is noticed.
const ABSENT_REST_MS = 30_000;

/** The warning for a token that may not read peerings. */
export const NO_RULE =
  'peerings cannot be read, services of peers are not routed: the token needs peering = "read" (or operator = "read")';

/** Returns the error of an agent without peering, or of a token without the permission; throws any other error. */
export function noPeering(reason: unknown): AgentError {
  if (!(reason instanceof AgentError)) throw reason;
  const { status, complaint } = reason;
  const isOff = status === 500 && /peering must be enabled/i.test(complaint);
  const isForbidden = status === FORBIDDEN && !/ACL not found/i.test(complaint);
  if (status === 404 || isForbidden || isOff) return reason;
  throw reason;
}

/**
 * The peerings seen so far, to verify a response that lacks one of them. Consul marks a peering as deleted before it
 * leaves the list; one that was deleted in between is unknown when queried by name.
 */
export class KnownPeers {
  #last: ReadonlyMap<string, ClusterPeer>;
  /** Whether the last response was that the agent does not have peering. */
  #isWithdrawn = false;

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
    this.#isWithdrawn = false;
    return { peers: [...next.values()], isOn: true };
  }

  /**
   * Returns the peerings for an agent that has no peering, or denies access. Known peers are removed by a second
   * response only.
   */
  withdrawn({ status, message }: AgentError): PeersResponse {
    const [isRefused, isSecond] = [status === FORBIDDEN, this.#isWithdrawn];
    this.#isWithdrawn = !isRefused;
    if (!isRefused && isSecond) this.#last = new Map();
    const peers = [...this.#last.values()];
    const isOn = peers.length > 0;
    if (isRefused) return { peers, isOn, isRefused, warning: NO_RULE };
    return {
      peers,
      isOn,
      ...(isOn && { warning: `${message}: keeping the peers that are known until it says so again` }),
    };
  }
}

const FORBIDDEN = 403;

async function isGone(agent: Agent, name: string, signal: AbortSignal): Promise<boolean> {
  const peer = await peerNamed(agent, name, signal);
  return peer === undefined || peer.isDeleted;
}

/** Returns the peering with this name; `undefined` when there is none. */
async function peerNamed(agent: Agent, name: string, signal: AbortSignal): Promise<ClusterPeer | undefined> {
  const format = { path: `peering/${encodeURIComponent(name)}`, expected: 'a peering', read: peerOf };
  const response = fresh(await agent.request({ ...format, mayBeMissing: true }, signal));
  return response.found ? parsed(response, format) : undefined;
}

/**
 * Follows the exports to `peer`: from the servers' resolved view of the entry, with wildcards expanded, which requires
 * only `service:read`; where the agent does not have this view, from the documented list, else from the entry itself.
 *
 * @param isHeld whether to use blocking queries; when false, polls every few seconds, since a blocking query occupies a
 * connection
 */
export function exportResponses(
  agent: Agent,
  { peer, isHeld }: { readonly peer: string; readonly isHeld: boolean },
  signal: AbortSignal,
): AsyncIterable<readonly ExportedName[]> {
  // Agents from 1.17.3 on.
  const list = {
    path: 'exported-services',
    expected: 'a list of exports',
    read: (json: unknown) => exportsTo(json, peer),
  };
  return orElse(exportsInView(agent, { peer, isHeld }, signal), isDenied, () =>
    orElse(parsedResponses(agent, list, signal), isDenied, () => exportsByEntries(agent, peer, signal)),
  );
}

async function* exportsInView(
  agent: Agent,
  { peer, isHeld }: { readonly peer: string; readonly isHeld: boolean },
  signal: AbortSignal,
): AsyncGenerator<readonly ExportedName[]> {
  const request = { ...VIEW, query: { peer } };
  for await (const names of parsedResponses(agent, { ...request, ...(isHeld ? {} : { waitMs: 0 }) }, signal)) {
    // Verifies an empty list: the agent must know the peer, and respond the same once more.
    if (names.length === 0) await peerNamed(agent, peer, signal);
    yield names.length > 0 ? names : await parsedResponse(agent, request, signal);
  }
}

const VIEW = { path: 'internal/ui/exported-services', expected: 'a list of services', read: exportedNamesOf };

async function* exportsByEntries(
  agent: Agent,
  peer: string,
  signal: AbortSignal,
): AsyncGenerator<readonly ExportedName[]> {
  const read = (json: unknown): readonly ExportedName[] | undefined => exportsInEntries(json, peer);
  const entries = { path: 'config/exported-services', expected: 'a list of config entries', read };
  for await (const response of blockingQuery(agent, entries, signal)) {
    if (response.filtered) throw new AgentError(NO_EXPORTS_RULE);
    yield parsed(response, entries);
  }
}

const NO_EXPORTS_RULE = 'exports to peers cannot be read: the token needs service_prefix "" read, or mesh = "read"';
