import type { GatewayDefinition } from '@meshgate/mesh';
import { AgentError, parsed } from './agent.ts';
import type { Agent } from './agent.ts';
import { hashQuery } from './blocking-query.ts';
import { definitionOf } from './definition.ts';
import { instanceKey } from './inventory.ts';
import { object, objects, text } from './json.ts';
import type { JsonObject } from './json.ts';
import type { OwnInstance } from './own-visibility.ts';

/** What is known of the gateway's own registration: its definition, or that the agent has none. */
export type OwnDefinition =
  | {
      readonly kind: 'registered';
      readonly definition: GatewayDefinition;
      /** What the servers know it by. */
      readonly instance: OwnInstance;
      /** Of the process that has registered it, see {@link instanceMark}; `''` when that was somebody else. */
      readonly mark: string;
      /** Of the first process that has had it, from which each other one has taken it over; `''` when that was somebody else. */
      readonly lineage: string;
    }
  | { readonly kind: 'missing' };

/** What has the id is something else than a mesh gateway. */
export class NotAGateway extends AgentError {}

/** Whose registration to follow. */
export interface OwnQuery {
  /** The service id; the one mesh gateway registered with this agent when `undefined`. */
  readonly id: string | undefined;
  /** Whether it is yielded each time it is missing, rather than the first time only. */
  readonly repeatsMissing?: boolean;
}

/**
 * Follows the gateway's own registration, by hash. Ends when `signal` aborts; throws what the agent throws.
 *
 * @throws NotAGateway when the id is that of something else, whose port and maintenance are no business of ours
 */
export async function* ownDefinition(
  agent: Agent,
  { id, repeatsMissing = false }: OwnQuery,
  signal: AbortSignal,
): AsyncGenerator<OwnDefinition> {
  const own = id ?? (await onlyGateway(agent, signal));
  const path = `agent/service/${encodeURIComponent(own)}`;
  for await (const answer of hashQuery(agent, { path, repeatsMissing }, signal)) {
    if (answer.found) yield gatewayIn(parsed(answer, path, 'a registration', object), own, path);
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

/** Fields of a registration's meta that tell which process has made it, and which one had it first. */
export function instanceMark(mark: string, lineage: string): JsonObject {
  return { [MARK]: mark, [LINEAGE]: lineage };
}

/** Which process has had a registration first; `''` when none of ours has. */
export function lineageOf(service: JsonObject): string {
  return text(object(service['Meta'])?.[LINEAGE]) || markOf(service);
}

/** Which process has made a registration; `''` when none of ours has. */
export function markOf(service: JsonObject): string {
  return text(object(service['Meta'])?.[MARK]);
}

/**
 * The id of the one mesh gateway that is registered with the agent.
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
    `expected one mesh gateway registered with the agent, found ${found}: register one, or name it by its service id`,
  );
}
