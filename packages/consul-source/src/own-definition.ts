import { gatewayDefinition } from '@meshgate/mesh';
import type { GatewayDefinition } from '@meshgate/mesh';
import { AgentError, parsed, parsedResponse } from './agent.ts';
import type { Agent, ResponseFormat } from './agent.ts';
import { hashQuery, parsedResponses } from './blocking-query.ts';
import { instanceKey } from './inventory.ts';
import { number, object, objects, strings, text } from './json.ts';
import type { JsonObject } from './json.ts';
import type { OwnInstance } from './own-visibility.ts';
import { taggedAddressesOf } from './records.ts';

/** The gateway's own registration, or the fact that the agent has none. */
export type OwnDefinition =
  | {
      readonly kind: 'registered';
      readonly definition: GatewayDefinition;
      /** Identifies the gateway's registration on the servers. */
      readonly instance: OwnInstance;
      /** Mark of the process that registered it, see {@link instanceMark}; `''` when no Meshgate process did. */
      readonly mark: string;
      /**
       * Mark of the process that registered it first, before others took over from it; `''` when no Meshgate process
       * did.
       */
      readonly lineage: string;
    }
  | { readonly kind: 'missing' };

/** The id belongs to a registration that is not a mesh gateway. */
export class NotAGateway extends AgentError {}

/** Selects the registration to follow. */
export interface OwnQuery {
  /** The service id; when `undefined`, the only mesh gateway registered with the agent. */
  readonly id: string | undefined;
  /** Catalog node of the registration, when the gateway is not registered with the agent. */
  readonly node?: string;
  /** Whether to yield at every poll while the registration is missing; only once when absent. */
  readonly repeatsMissing?: boolean;
}

/**
 * Follows the gateway's own registration by hash. Ends when `signal` aborts; throws the agent's errors.
 *
 * @throws NotAGateway when the id belongs to another kind of service, whose port and maintenance mode must not be
 * touched
 */
export async function* ownDefinition(
  agent: Agent,
  { id, node, repeatsMissing = false }: OwnQuery,
  signal: AbortSignal,
): AsyncGenerator<OwnDefinition> {
  if (node !== undefined) {
    yield* definitionOnNode(agent, { id, node }, signal);
    return;
  }
  const own = id ?? (await onlyGateway(agent, signal));
  const format = registrationAt(own);
  for await (const response of hashQuery(agent, { ...format, repeatsMissing }, signal)) {
    if (response.found) yield gatewayIn(parsed(response, format), own, format.path);
    else yield { kind: 'missing' };
  }
}

/**
 * Follows the registration in the catalog: on Kubernetes, gateways are registered there, at a node without an agent.
 */
async function* definitionOnNode(
  agent: Agent,
  { id, node }: { readonly id: string | undefined; readonly node: string },
  signal: AbortSignal,
): AsyncGenerator<OwnDefinition> {
  const path = `catalog/node-services/${encodeURIComponent(node)}`;
  const read = (json: unknown): JsonObject | undefined => object(json ?? {});
  const services = { path, query: { 'merge-central-config': 'true' }, expected: 'the services of a node', read };
  for await (const { Services } of parsedResponses(agent, services, signal)) {
    const isOurs = (service: JsonObject): boolean =>
      service['Kind'] === MESH_GATEWAY && [undefined, service['ID']].includes(id);
    const [own, ...others] = objects(Services).filter(isOurs);
    if (own === undefined || others.length > 0) throw new AgentError(notOne([own, ...others], `on node ${node}`));
    yield gatewayIn(own, text(own['ID']), path);
  }
}

/** Describes the absence of a single gateway. */
function notOne(gateways: readonly (JsonObject | undefined)[], where: string): string {
  const ids = gateways.flatMap((service) => (service === undefined ? [] : text(service['ID'])));
  return `expected one mesh gateway ${where}, found ${ids.join(', ') || 'none'}: register one, or set its service id`;
}

/** @throws NotAGateway when the registration with this id is that of another kind of service */
export function expectGateway(service: JsonObject, id: string): void {
  const kind = text(service['Kind']);
  if (kind === MESH_GATEWAY) return;
  const found = kind === '' ? 'an ordinary service' : `a service of the kind ${kind}`;
  throw new NotAGateway(`expected ${id} to be a mesh gateway, found ${found}`);
}

function gatewayIn(service: JsonObject, id: string, path: string): OwnDefinition {
  expectGateway(service, id);
  const definition = definitionOf(service);
  if (definition === undefined) throw new AgentError(`Consul agent: /v1/${path}: expected a registration, found none`);
  const instance = { id: text(service['ID']), key: instanceKey(service) };
  return { kind: 'registered', definition, instance, mark: markOf(service), lineage: lineageOf(service) };
}

/**
 * Parses a registration from `agent/service/:id`, merged with central configuration. Returns `undefined` for anything
 * else.
 */
export function definitionOf(json: unknown): GatewayDefinition | undefined {
  const service = object(json);
  if (service === undefined || text(service['Service']) === '') return undefined;
  const registration = {
    address: text(service['Address']),
    port: number(service['Port']),
    taggedAddresses: taggedAddressesOf(service['TaggedAddresses']),
    meta: strings(service['Meta']),
    config: object(object(service['Proxy'])?.['Config']) ?? {},
  };
  return gatewayDefinition(registration, ANY_ADDRESS);
}

/** Listen address of Consul's gateways when the registration has none. */
const ANY_ADDRESS = '0.0.0.0';

const MESH_GATEWAY = 'mesh-gateway';
const MARK = 'meshgate-process';
const LINEAGE = 'meshgate-lineage';

/**
 * Returns the metadata of a registration that identifies the process that made it, and the first process in its line of
 * takeovers.
 */
export function instanceMark(mark: string, lineage: string): JsonObject {
  return { [MARK]: mark, [LINEAGE]: lineage };
}

/** Returns the mark of the process that had a registration first; `''` when no Meshgate process did. */
export function lineageOf(service: JsonObject): string {
  return text(object(service['Meta'])?.[LINEAGE]) || markOf(service);
}

/** Returns the mark of the process that made a registration; `''` when no Meshgate process did. */
export function markOf(service: JsonObject): string {
  return text(object(service['Meta'])?.[MARK]);
}

/** Returns every registration of the agent. */
export async function servicesAt(agent: Agent, signal: AbortSignal): Promise<readonly JsonObject[]> {
  const request = { path: 'agent/services', expected: 'services by id', read: object };
  return objects(Object.values(await parsedResponse(agent, request, signal)));
}

/** Returns the path and the format of one registration of the agent. */
export function registrationAt(id: string): ResponseFormat<JsonObject> {
  return { path: `agent/service/${encodeURIComponent(id)}`, expected: 'a registration', read: object };
}

/**
 * Returns the id of the only mesh gateway registered with the agent.
 *
 * @throws AgentError when there is none, or more than one
 */
export async function onlyGateway(agent: Agent, signal: AbortSignal): Promise<string> {
  const services = await servicesAt(agent, signal);
  const [own, ...others] = services.filter((service) => service['Kind'] === MESH_GATEWAY);
  if (own !== undefined && others.length === 0) return text(own['ID']);
  const hint = own === undefined ? ', or the node where the catalog has it' : '';
  throw new AgentError(`${notOne([own, ...others], 'registered with the agent')}${hint}`);
}
