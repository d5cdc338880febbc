import { pause } from '@meshgate/core';
import type { ChainTarget, Instance, Selection, UpstreamDefinition } from '@meshgate/mesh';
import { AgentError, FREE_TEXT, parsed } from '../agent.ts';
import type { Agent } from '../agent.ts';
import { blockingQuery } from '../blocking-query.ts';
import { object, text } from '../json.ts';
import type { JsonObject } from '../json.ts';
import { instancesOf } from '../records.ts';
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
 * Follows a configuration entry of a kind that may have thousands; `null` while it does not exist. Each query for a
 * missing entry makes the agent log an error (`Config entry not found`).
 */
export async function* entryResponses(
  agent: Agent,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<JsonObject | null> {
  for await (const response of blockingQuery(agent, { path, mayBeMissing: true }, signal))
    yield response.found ? parsed(response, path, 'a config entry', object) : null;
}

/**
 * Follows the discovery chain of an upstream, compiled for TCP whatever the service's protocol: this proxy supports
 * only TCP.
 */
export async function* chainResponses(
  agent: Agent,
  { name, datacenter, namespace }: UpstreamDefinition,
  signal: AbortSignal,
): AsyncGenerator {
  const path = `discovery-chain/${encodeURIComponent(name)}`;
  const query = {
    ...(datacenter === undefined ? {} : { 'compile-dc': datacenter }),
    ...(namespace === undefined ? {} : { 'compile-namespace': namespace }),
  };
  for await (const response of blockingQuery(agent, { path, query, body: { OverrideProtocol: 'tcp' } }, signal))
    yield parsed(response, path, 'a discovery chain', (json) => object(object(json)?.['Chain']) && json);
}

/** Follows the instances of a target. Consul itself evaluates the filter. */
export async function* targetResponses(
  agent: Agent,
  { service, datacenter, namespace, peer, instances: { filter } }: ChainTarget,
  signal: AbortSignal,
): AsyncGenerator<Selection> {
  const path = `health/connect/${encodeURIComponent(service)}`;
  const scope = namespace === undefined ? {} : { ns: namespace };
  const location = peer === undefined ? { dc: datacenter } : { peer };
  const query = { ...location, ...scope, ...(filter === '' ? {} : { filter }) };
  try {
    for await (const response of blockingQuery(agent, { path, query, without: FREE_TEXT }, signal))
      yield { kind: 'selected', instances: parsed(response, path, 'a list of instances', instancesOf) };
  } catch (reason) {
    if (!(reason instanceof AgentError) || !/boolean expression|selector|filter/i.test(reason.complaint)) throw reason;
    yield { kind: 'refused', reason: reason.complaint };
    await pause(REFUSED_REST_MS, signal);
  }
}

/** Follows the mesh gateways of one service in a datacenter, with their health. */
export async function* gatewayResponses(
  agent: Agent,
  { service, datacenter }: GatewayService,
  signal: AbortSignal,
): AsyncGenerator<readonly Instance[]> {
  const path = `health/service/${encodeURIComponent(service)}`;
  for await (const response of blockingQuery(agent, { path, query: { dc: datacenter }, without: FREE_TEXT }, signal))
    yield parsed(response, path, 'a list of instances', instancesOf);
}

/** Executes a prepared query at intervals: Consul has no blocking query for it. */
export async function* queryResponses(
  agent: Agent,
  { name, datacenter }: UpstreamDefinition,
  signal: AbortSignal,
): AsyncGenerator<QueryResult> {
  const path = `query/${encodeURIComponent(name)}/execute`;
  const query = { connect: 'true', ...(datacenter === undefined ? {} : { dc: datacenter }) };
  while (!signal.aborted) {
    yield parsed(await agent.request({ path, query }, signal), path, 'the result of a query', resultOf);
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
  const peer = text(result?.['PeerName']);
  if (instances === undefined || service === '') return undefined;
  return { service, datacenter, instances, ...(peer === '' ? {} : { peer }) };
}
