import type { GatewayDefinition } from '@meshgate/mesh';
import { AgentError, parsed } from './agent.ts';
import type { Agent } from './agent.ts';
import { hashQuery } from './blocking-query.ts';
import { definitionOf } from './definition.ts';
import { instanceKey } from './inventory.ts';
import { object, objects, text } from './json.ts';
import type { JsonObject } from './json.ts';
import type { OwnInstance } from './own-visibility.ts';

/** The gateway's own registration, or that the agent has none. */
export type OwnDefinition =
  | {
      readonly kind: 'registered';
      readonly definition: GatewayDefinition;
      /** What identifies it on the servers. */
      readonly instance: OwnInstance;
      /** Mark of the process that registered it, see {@link instanceMark}; `''` when none of ours did. */
      readonly mark: string;
      /** Of the first process that has had it, from which each other one has taken it over; `''` when that was somebody else. */
      readonly lineage: string;
    }
  | { readonly kind: 'missing' };

/** The id belongs to something other than a mesh gateway. */
export class NotAGateway extends AgentError {}

/** Which registration to follow. */
export interface OwnQuery {
  /** The service id; for `undefined` the only mesh gateway registered with this agent. */
  readonly id: string | undefined;
  /** Whether to yield each time it is missing, instead of only the first time. */
  readonly repeatsMissing?: boolean;
}

/**
 * Follows the gateway's own registration, by hash. Ends when `signal` aborts; throws the agent's errors.
 *
 * @throws NotAGateway when the id belongs to something else, whose port and maintenance must not be touched
 */
export async function* ownDefinition(
  agent: Agent,
  { id, repeatsMissing = false }: OwnQuery,
  signal: AbortSignal,
): AsyncGenerator<OwnDefinition> {
  const own = id ?? (await onlyGateway(agent, signal));
  const path = `agent/service/${encodeURIComponent(own)}`;
  for await (const response of hashQuery(agent, { path, repeatsMissing }, signal)) {
    if (response.found) yield gatewayIn(parsed(response, path, 'a registration', object), own, path);
    else yield { kind: 'missing' };
  }
}

function gatewayIn(service: JsonObject, id: string, path: string): OwnDefinition {
  const kind = text(service['Kind']);
  if (kind !== MESH_GATEWAY)
    throw new NotAGateway(
      `expected ${id} to be a mesh gateway, found ${kind === '' ? 'an ordinary service' : `a ${kind}`}`,
    );
  const definition = definitionOf(service);
  if (definition === undefined) throw new AgentError(`Consul agent: /v1/${path}: expected a registration, found none`);
  const instance = { id: text(service['ID']), key: instanceKey(service) };
  return { kind: 'registered', definition, instance, mark: markOf(service), lineage: lineageOf(service) };
}

const MESH_GATEWAY = 'mesh-gateway';
const MARK = 'meshgate-process';
const LINEAGE = 'meshgate-lineage';

/** A field of a registration's meta that identifies the process that made it. */
export function instanceMark(mark: string, lineage: string): JsonObject {
  return { [MARK]: mark, [LINEAGE]: lineage };
}

/** Which process has had a registration first; `''` when none of ours has. */
export function lineageOf(service: JsonObject): string {
  return text(object(service['Meta'])?.[LINEAGE]) || markOf(service);
}

/** The process that made a registration; `''` when none of ours did. */
export function markOf(service: JsonObject): string {
  return text(object(service['Meta'])?.[MARK]);
}

/**
 * The id of the only mesh gateway that is registered with the agent.
 *
 * @throws AgentError when there is none, or more than one
 */
export async function onlyGateway(agent: Agent, signal: AbortSignal): Promise<string> {
  const path = 'agent/services';
  const services = parsed(await agent.request({ path }, signal), path, 'services by id', object);
  const gateways = objects(Object.values(services)).filter((service) => service['Kind'] === MESH_GATEWAY);
  const ids = gateways.map((service) => text(service['ID']));
  if (ids.length === 1 && ids[0] !== undefined) return ids[0];
  const found = ids.length === 0 ? 'none' : ids.join(', ');
  throw new AgentError(
    `expected one mesh gateway registered with the agent, found ${found}: register one, or set its service id`,
  );
}
