import { AgentError, reasonOf } from '../agent.ts';
import type { AgentOptions } from '../agent.ts';
import { singleResponse } from '../agent-check.ts';
import type { AgentFinding } from '../agent-check.ts';
import { object, objects, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { lastExpiry } from '../roots.ts';
import { NO_RULE, noPeering } from './peering-queries.ts';
import { peerOf, peersOf } from './peering-records.ts';

/** The result of a check of one peer; of all peers when `peer` is absent. */
export interface PeerFinding extends AgentFinding {
  /** The local name of the peer. */
  readonly peer?: string;
}

/**
 * Queries an agent for each peering: its state, the number of services exchanged, and the expiry of the peer's roots.
 * Read-only. Never rejects; returns no findings when the agent has no peering, or does not respond.
 */
export async function checkPeers(options: AgentOptions): Promise<readonly PeerFinding[]> {
  const read = (json: unknown): readonly JsonObject[] | undefined => peersOf(json) && objects(json);
  const request = { path: 'peerings', expected: 'a list of peerings', read };
  try {
    const peerings = await singleResponse(options, request).catch(noPeering);
    if (peerings instanceof AgentError)
      return peerings.status === 403 ? [{ check: 'peers', outcome: 'warning', found: 'unknown', advice: NO_RULE }] : [];
    return peerings.flatMap((peering) => peerFindings(peering, new Date()));
  } catch (reason) {
    return [{ check: 'peers', outcome: 'warning', found: `unknown: ${reasonOf(reason)}` }];
  }
}

/** Evaluates one element of `/v1/peerings`. Pure. */
function peerFindings(peering: JsonObject, now: Date): readonly PeerFinding[] {
  const peer = peerOf(peering);
  if (peer === undefined) return [];
  const { name, state, isDeleted, roots } = peer;
  const check = `peer ${name}`;
  if (isDeleted) return [{ peer: name, check, outcome: 'warning', found: 'is being deleted: its services are gone' }];
  const { found, advice } = STATES.get(state) ?? { found: 'unknown state' };
  const isActive = state === 'ACTIVE';
  const facts = [`${state}: ${found}`, ...(isActive ? exchanged(object(peering['StreamStatus']) ?? {}) : [])];
  const established: PeerFinding = {
    peer: name,
    check,
    outcome: isActive ? 'ok' : advice === undefined ? 'warning' : 'failed',
    found: facts.join(', '),
    ...(advice !== undefined && { advice: advice.replaceAll('NAME', name) }),
  };
  // The clusters exchange their roots when they establish the peering.
  const hasRoots = roots.length > 0 || isActive;
  return hasRoots ? [established, { peer: name, ...rootFinding(name, roots, now) }] : [established];
}

/** Consul's states of a peering, each with its meaning, and with a remedy when nothing is exchanged in it. */
const STATES: ReadonlyMap<string, { readonly found: string; readonly advice?: string }> = new Map(
  Object.entries({
    ACTIVE: { found: 'the servers of both clusters replicate exported services' },
    PENDING: {
      found: 'the other cluster has not established it yet',
      advice: 'there: consul peering establish -name … -peering-token TOKEN',
    },
    ESTABLISHING: {
      found: 'no response from the servers of the other cluster yet',
      advice:
        'its servers must be reachable from those of this cluster, or through the mesh gateways of both (Peering { PeerThroughMeshGateways = true } of the entry mesh); a token is valid for one use: generate another',
    },
    FAILING: {
      found: 'the servers of both clusters have lost contact, last replicated services in use',
      advice:
        'check the network path between the servers or the mesh gateways of both clusters, the log of the leader, and consul peering read -name NAME',
    },
    TERMINATED: {
      found: 'the other cluster terminated it',
      advice: 'consul peering delete -name NAME, or establish it again',
    },
  }),
);

/** Describes the exchange, in the format of releases since 1.14. */
function exchanged(status: JsonObject): readonly string[] {
  const { ImportedServices: imported, ExportedServices: exported } = status;
  const heartbeat = text(status['LastHeartbeat']);
  return [
    ...(Array.isArray(imported) ? [`imports ${imported.length}`] : []),
    ...(Array.isArray(exported) ? [`exports ${exported.length}`] : []),
    ...(heartbeat === '' || heartbeat.startsWith('0001-') ? [] : [`last heartbeat ${heartbeat}`]),
  ];
}

/**
 * Checks the expiry of a peer's roots; without valid roots, sidecars trust none of its services. Pure.
 *
 * @param roots root certificates of the peer, in PEM
 */
export function rootFinding(peer: string, roots: readonly string[], now: Date): AgentFinding {
  const check = `roots of peer ${peer}`;
  const end = lastExpiry(roots);
  if (end === undefined) {
    const advice = `sidecars trust none of its services without trustBundles: { ${peer}: FILE }`;
    return { check, outcome: 'warning', found: 'the agent shows none (Consul before 1.14 never does)', advice };
  }
  const advice = 'the peer must rotate its certificate authority';
  if (end <= now) return { check, outcome: 'failed', found: `expired at ${end.toISOString()}`, advice };
  const found = `expire at ${end.toISOString()}`;
  return end.getTime() - now.getTime() > SOON_MS
    ? { check, outcome: 'ok', found }
    : { check, outcome: 'warning', found, advice };
}

/** Longer than for leaf certificates: a new root must also reach everyone that trusts the peer. */
const SOON_MS = 30 * 86_400_000;
