import { AgentError, parsed } from '../agent.ts';
import type { Agent } from '../agent.ts';
import { object, objects, text } from '../json.ts';

/** Which proxy is meant: by its own id, or by that of the instance for which it speaks. */
export type ProxyChoice = { readonly proxyId: string } | { readonly sidecarFor: string };

/**
 * The id of the proxy that is meant.
 *
 * @throws AgentError when the agent has no proxy for the instance, or several
 */
export async function proxyIdOf(agent: Agent, choice: ProxyChoice, signal: AbortSignal): Promise<string> {
  if ('proxyId' in choice) return choice.proxyId;
  const path = 'agent/services';
  const services = objects(Object.values(parsed(await agent.ask({ path }, signal), path, 'services by id', object)));
  const ids = services.filter((service) => speaksFor(service, choice.sidecarFor)).map(({ ID: id }) => text(id));
  if (ids.length === 1 && ids[0] !== undefined) return ids[0];
  const found = ids.length === 0 ? 'none' : `${ids.toSorted().join(', ')}: name one of them by its id`;
  throw new AgentError(`expected one proxy registered with the agent for ${choice.sidecarFor}, found ${found}`);
}

function speaksFor(service: Readonly<Record<string, unknown>>, id: string): boolean {
  return service['Kind'] === 'connect-proxy' && object(service['Proxy'])?.['DestinationServiceID'] === id;
}
