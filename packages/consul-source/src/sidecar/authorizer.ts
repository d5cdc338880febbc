import type { Service } from '@meshgate/core';
import type { Authorization, Authorizer } from '@meshgate/mesh';
import { openAgent, parsed } from '../agent.ts';
import type { AgentOptions } from '../agent.ts';
import { object, text } from '../json.ts';

/** Asks the agent for each connection: it answers from what it follows itself, in about a millisecond. */
export interface ConsulAuthorizer extends Authorizer, Service {}

/** Whether a caller may connect, by the intentions that Consul has; it takes `service:write` on the destination. */
export function consulAuthorizer(options: AgentOptions): ConsulAuthorizer {
  const agent = openAgent(options, SOCKETS);
  return { name: 'authorizer', authorize, start: () => Promise.resolve(), stop: () => agent.close() };

  async function authorize(
    caller: Parameters<Authorizer['authorize']>[0],
    { destination }: Parameters<Authorizer['authorize']>[1],
    signal: AbortSignal,
  ): Promise<Authorization> {
    const path = 'agent/connect/authorize';
    const body = { Target: destination, ClientCertURI: caller.uri, ClientCertSerial: caller.serialNumber };
    const answer = await agent.ask({ method: 'POST', path, body, timeoutMs: TIMEOUT_MS }, signal);
    return parsed(answer, path, 'a judgement', judgementOf);
  }
}

// Burst of new connections wait for each other for some milliseconds rather than take all that an agent has for one host.
const SOCKETS = 8;
// The caller waits meanwhile, and gives up dialling after about as long.
const TIMEOUT_MS = 5_000;

function judgementOf(json: unknown): Authorization | undefined {
  const allowed = object(json)?.['Authorized'];
  return typeof allowed === 'boolean' ? { allowed, reason: text(object(json)?.['Reason']) } : undefined;
}
