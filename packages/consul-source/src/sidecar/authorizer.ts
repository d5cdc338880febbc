import type { Service } from '@meshgate/core';
import { authorize as judge, matchingIntentions } from '@meshgate/mesh';
import type { Authorization, Authorizer, Intention } from '@meshgate/mesh';
import { openAgent, parsed } from '../agent.ts';
import type { Agent, AgentOptions } from '../agent.ts';
import { object, objects, text } from '../json.ts';

/** Asks the agent for each connection: it answers from what it follows itself, in about a millisecond. */
export interface ConsulAuthorizer extends Authorizer, Service {}

type Asked = Parameters<Authorizer['authorize']>;

/**
 * Whether a caller may connect, by the intentions that Consul has; it takes `service:write` on the destination.
 *
 * The agent's own judgement knows no peers: it takes a peer's `web` for the local one. Callers of peers are judged here, by the
 * intentions that name their peer; where none does, by the default, and where the agent does not show that, they are refused.
 */
export function consulAuthorizer(options: AgentOptions): ConsulAuthorizer {
  const agent = openAgent(options, SOCKETS);
  return { name: 'authorizer', authorize, start: () => Promise.resolve(), stop: () => agent.close() };

  function authorize(caller: Asked[0], destination: Asked[1], signal: AbortSignal): Promise<Authorization> {
    const { sourcePeer } = caller;
    if (sourcePeer === undefined) return judgementOfAgent(agent, caller, destination, signal);
    return judgementOfPeer(agent, { ...caller, sourcePeer }, destination, signal);
  }
}

// Burst of new connections wait for each other for some milliseconds rather than take all that an agent has for one host.
const SOCKETS = 8;
// The caller waits meanwhile, and gives up dialling after about as long.
const TIMEOUT_MS = 5_000;

async function judgementOfAgent(
  agent: Agent,
  caller: Asked[0],
  { destination }: Asked[1],
  signal: AbortSignal,
): Promise<Authorization> {
  const path = 'agent/connect/authorize';
  const body = { Target: destination, ClientCertURI: caller.uri, ClientCertSerial: caller.serialNumber };
  const answer = await agent.ask({ method: 'POST', path, body, timeoutMs: TIMEOUT_MS }, signal);
  return parsed(answer, path, 'a judgement', judgementOf);
}

async function judgementOfPeer(
  agent: Agent,
  caller: Asked[0] & { readonly sourcePeer: string },
  destination: Asked[1],
  signal: AbortSignal,
): Promise<Authorization> {
  const path = 'connect/intentions/match';
  const query = { by: 'destination', name: destination.destination };
  const answer = await agent.ask({ path, query, timeoutMs: TIMEOUT_MS }, signal);
  const intentions = parsed(answer, path, 'intentions by destination', (json) => intentionsOf(json, query.name));
  const request = { source: caller.source, sourcePeer: caller.sourcePeer, ...destination };
  if (matchingIntentions(request, intentions).length > 0) return judge(request, intentions, 'deny');
  // With an intention for local callers the agent speaks of that, and the default stays hidden.
  const ofLocal = await judgementOfAgent(agent, caller, destination, signal);
  const isDefault = /default/i.test(ofLocal.reason) && !/matched/i.test(ofLocal.reason);
  const hidden = { allowed: false, reason: `no intention is about peer ${caller.sourcePeer}: denied` };
  return isDefault
    ? { ...ofLocal, reason: `no intention is about peer ${caller.sourcePeer}: ${ofLocal.reason}` }
    : hidden;
}

function intentionsOf(json: unknown, destination: string): readonly Intention[] | undefined {
  const byName = object(json);
  if (byName === undefined) return undefined;
  return objects(byName[destination]).map((intention): Intention => {
    const peer = text(intention['SourcePeer']);
    const action = text(intention['Action']);
    return {
      source: text(intention['SourceName']),
      sourceNamespace: text(intention['SourceNS']) || 'default',
      ...(peer === '' ? {} : { sourcePeer: peer }),
      destination: text(intention['DestinationName']),
      destinationNamespace: text(intention['DestinationNS']) || 'default',
      // Permissions for requests have no action of their own.
      action: action === 'allow' || action === 'deny' ? action : 'http',
    };
  });
}

function judgementOf(json: unknown): Authorization | undefined {
  const allowed = object(json)?.['Authorized'];
  return typeof allowed === 'boolean' ? { allowed, reason: text(object(json)?.['Reason']) } : undefined;
}
