import { pause } from '@meshgate/core';
import { defined } from '@meshgate/core/parts';
import type { ChainTarget, Instance, Intention, Selection, UpstreamDefinition } from '@meshgate/mesh';
import { FREE_TEXT, hasStatus, isRefusedFilter, parsed, parsedResponse } from '../agent.ts';
import type { Agent, AgentError } from '../agent.ts';
import { blockingQuery, constant, orElse, parsedResponses } from '../blocking-query.ts';
import { intentionsAt } from '../intention-records.ts';
import { instanceKey } from '../inventory.ts';
import { listOfObjects, object, optionalText, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { INSTANCES, instancesOf } from '../records.ts';
import type { GatewayService } from './gateway-health.ts';

/** The result of a prepared query. */
export interface QueryResult {
  readonly service: string;
  /** The datacenter of the instances; another one than the proxy's after a failover. */
  readonly datacenter: string;
  /** Peer that exports the service, after a failover to a peer. */
  readonly peer?: string;
  readonly instances: readonly Instance[];
}

/**
 * Follows a configuration entry of a kind that may have thousands; `undefined` while it does not exist. Each query for a
 * missing entry makes the agent log an error (`Config entry not found`).
 */
export async function* entryResponses(
  agent: Agent,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<JsonObject | undefined> {
  const format = { path, expected: 'a config entry', read: object };
  for await (const response of blockingQuery(agent, { path, mayBeMissing: true }, signal))
    yield response.found ? parsed(response, format) : undefined;
}

/**
 * Follows the discovery chain of an upstream, compiled for TCP whatever the service's protocol: this proxy supports
 * only TCP.
 */
export function chainResponses(
  agent: Agent,
  { name, datacenter, namespace }: UpstreamDefinition,
  signal: AbortSignal,
): AsyncGenerator {
  const query = defined({ 'compile-dc': datacenter, 'compile-namespace': namespace });
  const read = (json: unknown): unknown => object(object(json)?.['Chain']) && json;
  const chain = { path: chainPath(name), expected: 'a discovery chain', read };
  return parsedResponses(agent, { ...chain, query, body: { OverrideProtocol: 'tcp' } }, signal);
}

/** Takes the datacenter from the discovery chain of `service`: every token for a proxy of this service may query it. */
export function ownDatacenter(agent: Agent, service: string, signal: AbortSignal): AsyncGenerator<string> {
  const read = (json: unknown): string | undefined =>
    text(object(object(json)?.['Chain'])?.['Datacenter']) || undefined;
  return parsedResponses(agent, { path: chainPath(service), expected: 'a chain with a datacenter', read }, signal);
}

function chainPath(service: string): string {
  return `discovery-chain/${encodeURIComponent(service)}`;
}

/** Follows the instances of a target. Consul itself evaluates the filter. */
export function targetResponses(
  agent: Agent,
  { service, datacenter, namespace: ns, peer, instances: { filter } }: ChainTarget,
  signal: AbortSignal,
): AsyncGenerator<Selection> {
  const path = `health/connect/${encodeURIComponent(service)}`;
  const location = peer === undefined ? { dc: datacenter } : { peer };
  const query = { ...location, ...defined({ ns, filter: filter || undefined }) };
  return orElse<Selection>(
    parsedResponses(agent, { path, query, without: FREE_TEXT, ...SELECTION }, signal),
    isRefusedFilter,
    ({ complaint }) => constant({ kind: 'refused', reason: complaint }, signal, REFUSED_REST_MS),
  );
}

const SELECTION = {
  expected: INSTANCES.expected,
  read: (json: unknown): Selection | undefined => {
    const instances = instancesOf(json);
    return instances && { kind: 'selected', instances };
  },
};

/** Follows the mesh gateways of one service in a datacenter, with their health. */
export function gatewayResponses(
  agent: Agent,
  { service, datacenter }: GatewayService,
  signal: AbortSignal,
): AsyncGenerator<readonly Instance[]> {
  const request = { path: `health/service/${encodeURIComponent(service)}`, query: { dc: datacenter } };
  return parsedResponses(agent, { ...request, without: FREE_TEXT, ...INSTANCES }, signal);
}

/**
 * Follows the intentions for callers of `service`; none where the token may not read them: the agent alone then
 * decides.
 */
export function intentionResponses(
  agent: Agent,
  service: string,
  signal: AbortSignal,
): AsyncGenerator<readonly Intention[]> {
  const isForbidden = (reason: unknown): reason is AgentError => hasStatus(reason, 403);
  return orElse(parsedResponses(agent, intentionsAt(service), signal), isForbidden, () => constant([], signal));
}

/** Follows the proxy's own service, as the servers show it. */
export async function* ownCatalog(agent: Agent, name: string, signal: AbortSignal): AsyncGenerator<OwnCatalog> {
  const path = `catalog/service/${encodeURIComponent(name)}`;
  const format = { path, expected: 'a list of instances', read: listOfObjects };
  for await (const response of blockingQuery(agent, format, signal)) {
    const instances = new Map<string, string[]>();
    for (const { ServiceID: id, ServiceAddress: Address, ServicePort: Port } of parsed(response, format))
      instances.set(text(id), [...(instances.get(text(id)) ?? []), instanceKey({ Address, Port })]);
    yield { instances, index: response.index ?? 0 };
  }
}

/** The proxy's own service on the servers. While the proxy itself is missing there, other empty responses do not take effect. */
export interface OwnCatalog {
  /** Keys of instances, by id. */
  readonly instances: ReadonlyMap<string, readonly string[]>;
  /** Raft index of the response. */
  readonly index: number;
}

/** Executes a prepared query at intervals: Consul has no blocking query for it. */
export async function* queryResponses(
  agent: Agent,
  { name, datacenter }: UpstreamDefinition,
  signal: AbortSignal,
): AsyncGenerator<QueryResult> {
  const path = `query/${encodeURIComponent(name)}/execute`;
  const query = { connect: 'true', ...defined({ dc: datacenter }) };
  while (!signal.aborted) {
    yield await parsedResponse(agent, { path, query, expected: 'the result of a query', read: resultOf }, signal);
    await pause(QUERY_REST_MS, signal);
  }
}

// The interval of Consul's own proxies.
const QUERY_REST_MS = 10_000;
// A rejected filter remains rejected until it is changed, and the changed filter has its own query.
const REFUSED_REST_MS = 60_000;

function resultOf(json: unknown): QueryResult | undefined {
  const result = object(json);
  const instances = instancesOf(result?.['Nodes'] ?? []);
  const [service, datacenter] = [text(result?.['Service']), text(result?.['Datacenter'])];
  if (instances === undefined || service === '') return undefined;
  return { service, datacenter, instances, ...defined({ peer: optionalText(result?.['PeerName']) }) };
}
