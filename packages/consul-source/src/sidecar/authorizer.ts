import type { Service } from '@meshgate/core';
import { openScope } from '@meshgate/core/parts';
import { authorize as judge, formatSpiffeId, matchingIntentions, notExported, whyRequestsDeny } from '@meshgate/mesh';
import type { Authorization, Authorizer, Intention } from '@meshgate/mesh';
import { openAgent, parsedResponse } from '../agent.ts';
import type { Agent, AgentOptions } from '../agent.ts';
import { object, text } from '../json.ts';
import { intentionsAt } from '../intention-records.ts';
import { exportTo } from '../peering/exported-to.ts';
import { PeerStatus } from '../peering/peer-trust.ts';

/**
 * An authorizer that queries the agent for each connection: the agent answers from its cache, in about a millisecond.
 */
export interface ConsulAuthorizer extends Authorizer, Service {}

/**
 * Creates an authorizer by Consul's intentions. The token needs `service:write` on the destination.
 *
 * The agent's own decision ignores peers: it mistakes a peer's `web` for the local one. For callers of a peer, this
 * function itself decides: by the intentions that name the peer, else by the default; when the agent does not reveal
 * the default, they are denied.
 *
 * @param peers receives whether exports can be read
 */
export function consulAuthorizer(options: AgentOptions, peers: PeerStatus = new PeerStatus()): ConsulAuthorizer {
  const agent = openAgent(options, SOCKETS);
  const sources = { agent, peers };
  // Never aborted: each query has a deadline, and closing the client ends all of them.
  const { signal } = openScope();
  const pending = new Map<string, Promise<Authorization>>();
  return { name: 'authorizer', authorize, start: () => Promise.resolve(), stop: () => agent.close() };

  /** Shares one query between concurrent connections of a caller. It does not end when one of them closes. */
  function authorize(caller: IntentionCaller, destination: IntentionDestination): Promise<Authorization> {
    const key = JSON.stringify([caller.uri, caller.serialNumber, destination]);
    const known = pending.get(key);
    if (known !== undefined) return known;
    const judgement = judgementOf(sources, caller, destination, signal).finally(() => pending.delete(key));
    pending.set(key, judgement);
    return judgement;
  }
}

type IntentionCaller = Parameters<Authorizer['authorize']>[0];
type IntentionDestination = Parameters<Authorizer['authorize']>[1];

interface AuthorizerSources {
  readonly agent: Agent;
  readonly peers: PeerStatus;
}

function judgementOf(
  sources: AuthorizerSources,
  caller: IntentionCaller,
  destination: IntentionDestination,
  signal: AbortSignal,
): Promise<Authorization> {
  const { sourcePeer } = caller;
  return sourcePeer === undefined
    ? judgementOfLocal(sources.agent, caller, destination, signal)
    : judgementOfImporter(sources, { ...caller, sourcePeer }, destination, signal);
}

// A burst of new connections queues for milliseconds, rather than exhaust the agent's connection limit per host.
const SOCKETS = 8;
// The caller's connection waits for the response, and the caller gives up dialling after about as long.
const TIMEOUT_MS = 5_000;

/** Adds the reason when an intention with permissions denies: the agent itself does not report it. */
async function judgementOfLocal(
  agent: Agent,
  caller: IntentionCaller,
  destination: IntentionDestination,
  signal: AbortSignal,
): Promise<Authorization> {
  const verdict = await judgementOfAgent(agent, caller, destination, signal);
  if (verdict.allowed) return verdict;
  const intentions = await intentionsFor(agent, destination, signal).catch(() => []);
  const [first] = matchingIntentions({ source: caller.source, ...destination }, intentions);
  return first?.action === 'http' ? { ...verdict, reason: `${verdict.reason}; ${whyRequestsDeny(first)}` } : verdict;
}

async function judgementOfAgent(
  agent: Agent,
  caller: IntentionCaller,
  { destination }: IntentionDestination,
  signal: AbortSignal,
): Promise<Authorization> {
  const body = { Target: destination, ClientCertURI: caller.uri, ClientCertSerial: caller.serialNumber };
  return parsedResponse(agent, { ...AUTHORIZE, body }, signal);
}

const AUTHORIZE = {
  method: 'POST',
  path: 'agent/connect/authorize',
  timeoutMs: TIMEOUT_MS,
  expected: 'a judgement',
  read: judgementIn,
} as const;

/**
 * Allows callers of a peer only for services exported to that peer, since Consul's own proxies trust the certificates
 * of no other peer.
 */
async function judgementOfImporter(
  { agent, peers }: AuthorizerSources,
  caller: IntentionCaller & { readonly sourcePeer: string },
  destination: IntentionDestination,
  signal: AbortSignal,
): Promise<Authorization> {
  const verdict = await judgementOfPeer(agent, caller, destination, signal);
  if (!verdict.allowed) return verdict;
  const { destination: service } = destination;
  const found = await exportTo(agent, { service, peer: caller.sourcePeer }, signal);
  peers.exportsHidden(caller.sourcePeer, found.kind === 'unknown' ? found.why : undefined);
  return found.kind === 'not-exported' ? notExported(service, caller.sourcePeer) : verdict;
}

async function judgementOfPeer(
  agent: Agent,
  caller: IntentionCaller & { readonly sourcePeer: string },
  destination: IntentionDestination,
  signal: AbortSignal,
): Promise<Authorization> {
  const all = await intentionsFor(agent, destination, signal);
  const intentions = all.map((one) => withoutGroup(one, caller.sourcePeer));
  const request = { source: caller.source, sourcePeer: caller.sourcePeer, ...destination };
  if (matchingIntentions(request, intentions).length > 0) return judge(request, intentions, 'deny');
  const ofDefault = await defaultJudgement(agent, caller, { destination, intentions }, signal);
  const reason = `no intention for callers of peer ${caller.sourcePeer}: ${ofDefault.reason}`;
  return { ...ofDefault, reason };
}

/** Denies by an intention for a sameness group whether or not the peer is a member, which is not known here. */
function withoutGroup({ sourceGroup, ...intention }: Intention, sourcePeer: string): Intention {
  return sourceGroup === undefined ? intention : { ...intention, sourcePeer, action: 'deny' };
}

interface Matching {
  readonly destination: IntentionDestination;
  readonly intentions: readonly Intention[];
}

/**
 * Returns the decision when no intention matches. The agent reveals it only as its decision on a caller without
 * intentions: a service name that does not exist. A local intention for `*` matches that name, too, and hides the
 * default.
 */
async function defaultJudgement(
  agent: Agent,
  caller: IntentionCaller,
  { destination, intentions }: Matching,
  signal: AbortSignal,
): Promise<Authorization> {
  const source = { ...caller.source, service: UNKNOWN_SERVICE };
  if (matchingIntentions({ source, ...destination }, intentions).length > 0) return HIDDEN;
  const verdict = await judgementOfAgent(
    agent,
    { ...caller, source, uri: formatSpiffeId(source) },
    destination,
    signal,
  );
  // An intention was written in the meantime.
  return /matched/i.test(verdict.reason) ? HIDDEN : verdict;
}

const UNKNOWN_SERVICE = 'meshgate-asks-for-the-default';
const HIDDEN: Authorization = {
  allowed: false,
  reason: 'denied: an intention for all local callers hides the default',
};

async function intentionsFor(
  agent: Agent,
  { destination: name }: IntentionDestination,
  signal: AbortSignal,
): Promise<readonly Intention[]> {
  return parsedResponse(agent, { ...intentionsAt(name), timeoutMs: TIMEOUT_MS }, signal);
}

function judgementIn(json: unknown): Authorization | undefined {
  const allowed = object(json)?.['Authorized'];
  return typeof allowed === 'boolean' ? { allowed, reason: text(object(json)?.['Reason']) } : undefined;
}
