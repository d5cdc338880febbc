import type { GatewayDefinition } from '@meshgate/mesh';
import { AgentError, parsed } from './agent.ts';
import type { Agent } from './agent.ts';
import { hashQuery } from './blocking-query.ts';
import { definitionOf } from './definition.ts';
import { instanceKey } from './inventory.ts';
import { object, objects, text } from './json.ts';
import type { OwnInstance } from './own-visibility.ts';

/** What is known of the gateway's own registration: its definition, or that the agent has none. */
export type OwnDefinition =
  | {
      readonly kind: 'registered';
      readonly definition: GatewayDefinition;
      /** What the servers know it by. */
      readonly instance: OwnInstance;
    }
  | { readonly kind: 'missing' };

/**
 * Follows the gateway's own registration, by hash. Ends when `signal` aborts; throws what the agent throws.
 *
 * @param id the service id; the one mesh gateway registered with this agent when `undefined`
 */
export async function* ownDefinition(
  agent: Agent,
  id: string | undefined,
  signal: AbortSignal,
): AsyncGenerator<OwnDefinition> {
  const path = `agent/service/${encodeURIComponent(id ?? (await onlyGateway(agent, signal)))}`;
  for await (const answer of hashQuery(agent, path, signal)) {
    if (answer.found) yield parsed(answer, path, 'a registration', registeredOf);
    else yield { kind: 'missing' };
  }
}

function registeredOf(json: unknown): OwnDefinition | undefined {
  const [service, definition] = [object(json), definitionOf(json)];
  if (service === undefined || definition === undefined) return undefined;
  return { kind: 'registered', definition, instance: { id: text(service['ID']), key: instanceKey(service) } };
}

/**
 * The id of the one mesh gateway that is registered with the agent.
 *
 * @throws AgentError when there is none, or more than one
 */
export async function onlyGateway(agent: Agent, signal: AbortSignal): Promise<string> {
  const path = 'agent/services';
  const services = parsed(await agent.ask({ path }, signal), path, 'services by id', object);
  const gateways = objects(Object.values(services)).filter((service) => service['Kind'] === 'mesh-gateway');
  const ids = gateways.map((service) => text(service['ID']));
  if (ids.length === 1 && ids[0] !== undefined) return ids[0];
  const found = ids.length === 0 ? 'none' : ids.join(', ');
  throw new AgentError(
    `expected one mesh gateway registered with the agent, found ${found}: register one, or name it by its service id`,
  );
}
