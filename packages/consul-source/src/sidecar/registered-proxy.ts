import { pause } from '@meshgate/core';
import type { ProxyDefinition } from '@meshgate/mesh';
import { AgentError, hasStatus, parsed, parsedResponse } from '../agent.ts';
import type { Agent } from '../agent.ts';
import { hashQuery, parsedResponses } from '../blocking-query.ts';
import { instanceKey } from '../inventory.ts';
import { list, listOfObjects, object, text } from '../json.ts';
import { registrationAt } from '../own-definition.ts';
import type { OwnInstance } from '../own-visibility.ts';
import type { JsonObject } from '../json.ts';
import { proxyDefinitionOf } from './proxy-definition.ts';

/** A proxy, as registered with the agent. */
export interface RegisteredProxy {
  readonly definition: ProxyDefinition;
  /** Identifies the registration on the servers. */
  readonly instance: OwnInstance;
  /** A warning about a registration that works nevertheless. */
  readonly warning?: string;
}

/**
 * Follows the registration of a proxy; yields `null` while the agent does not know it.
 *
 * A definition with `proxy.destination_service_name` counts as a proxy even without `kind = "connect-proxy"`: Consul's
 * manual has such examples. The agent treats it as an ordinary service and does not show its proxy settings; the
 * catalog does.
 *
 * @throws AgentError when the id belongs to another kind of service
 */
export async function* registeredProxy(
  agent: Agent,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<RegisteredProxy | null> {
  while (!signal.aborted) {
    const ordinary = yield* whileProxy(agent, id, signal);
    if (ordinary === undefined) return;
    yield* whileOrdinary(agent, ordinary, signal);
    // Agent and catalog differ until the agent has synchronised.
    await pause(REST_MS, signal);
  }
}

const REST_MS = 1_000;

/** A service without a kind. */
interface OrdinaryService {
  readonly id: string;
  readonly name: string;
}

/** Follows the registration at the agent. Returns as soon as it is an ordinary service. */
async function* whileProxy(
  agent: Agent,
  id: string,
  signal: AbortSignal,
): AsyncGenerator<RegisteredProxy | null, OrdinaryService | undefined> {
  const format = registrationAt(id);
  for await (const response of hashQuery(agent, format, signal)) {
    const service = response.found ? parsed(response, format) : undefined;
    const definition = proxyDefinitionOf(service);
    if (service === undefined) yield null;
    else if (definition !== undefined)
      yield { definition, instance: instanceIn(service), ...withoutEffect(service, definition) };
    else if (text(service['Kind']) === '') return { id, name: text(service['Service']) };
    else throw new AgentError(noProxy(id, `a ${text(service['Kind'])}`));
  }
  return undefined;
}

/** Follows the registration in the catalog, while it has no kind there either. */
async function* whileOrdinary(
  agent: Agent,
  { id, name }: OrdinaryService,
  signal: AbortSignal,
): AsyncGenerator<RegisteredProxy> {
  const node = await ownNode(agent, id, signal);
  const path = `catalog/service/${encodeURIComponent(name)}`;
  const filter = `Node == ${JSON.stringify(node)} and ServiceID == ${JSON.stringify(id)}`;
  const rows = { path, query: { filter }, expected: 'a list of instances', read: listOfObjects };
  for await (const [row] of parsedResponses(agent, rows, signal)) {
    if (row === undefined || text(row['ServiceKind']) !== '') return;
    const definition = proxyDefinitionOf(asAgentShows(row));
    if (definition === undefined) throw new AgentError(noProxy(id, 'an ordinary service, without that'));
    yield { definition, instance: instanceIn(asAgentShows(row)), warning: withoutKind(definition) };
  }
}

/** Returns the name of the agent's node: other agents may have the same service id. */
async function ownNode(agent: Agent, id: string, signal: AbortSignal): Promise<string> {
  const read = (json: unknown): string | undefined => text(object(object(json)?.['Config'])?.['NodeName']) || undefined;
  const request = { path: 'agent/self', expected: 'the name of the node', read };
  return parsedResponse(agent, request, signal).catch((reason: unknown) => {
    if (!hasStatus(reason, 403)) throw reason;
    const hint = 'its proxy settings are in the catalog, which needs a token with agent "read"';
    throw new AgentError(noProxy(id, `an ordinary service: ${hint}`), { cause: reason });
  });
}

function instanceIn(service: JsonObject): OwnInstance {
  return { id: text(service['ID']), key: instanceKey(service) };
}

function asAgentShows(row: JsonObject): JsonObject {
  const { ServiceID: ID, ServiceName: Service, ServiceAddress: Address, ServicePort: Port, ServiceProxy: Proxy } = row;
  return { ID, Service, Address, Port, Proxy };
}

function noProxy(id: string, found: string): string {
  return `expected ${id} to be a proxy, with kind = "connect-proxy" and proxy.destination_service_name, found ${found}`;
}

/**
 * Warns about listeners that Consul's own proxy has: for redirected outgoing connections, and for paths without mutual
 * TLS.
 */
function withoutEffect(service: JsonObject, { id }: ProxyDefinition): Pick<RegisteredProxy, 'warning'> {
  const proxy = object(service['Proxy']);
  const expose = object(proxy?.['Expose']);
  const isTransparent = text(proxy?.['Mode']) === 'transparent';
  const isExposed = expose?.['Checks'] === true || list(expose?.['Paths']).length > 0;
  const warnings = [
    ...(isTransparent
      ? ['mode "transparent", which has no effect here: define its upstreams, each with a local port']
      : []),
    ...(isExposed ? ['"expose", which has no effect here: everything reaches the application by mutual TLS only'] : []),
  ];
  return warnings.length === 0 ? {} : { warning: warnings.map((one) => `${id} sets ${one}`).join('; ') };
}

function withoutKind({ id, service }: ProxyDefinition): string {
  const lack = `${id} is registered without kind = "connect-proxy"`;
  return `${lack}: Consul treats it as an ordinary service, so nobody reaches ${service} through it`;
}
