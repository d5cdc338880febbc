import { pause } from '@meshgate/core';
import type { GatewayGroup } from '@meshgate/mesh';
import { AgentError, FREE_TEXT, parsed } from './agent.ts';
import type { Agent } from './agent.ts';
import { blockingQuery } from './blocking-query.ts';
import { list, objects, text } from './json.ts';
import { gatewayGroupsOf, instancesOf } from './records.ts';

/**
 * The mesh gateways of all datacenters, found by their kind, whatever their service is called.
 *
 * Federation states are replicated to every datacenter: one local query that goes on working while remote datacenters cannot be
 * reached. An agent that is too old for them, or does not allow the query, is asked for each datacenter in turn, see
 * {@link polledGateways}.
 */
export async function* gatewayGroups(agent: Agent, signal: AbortSignal): AsyncGenerator<readonly GatewayGroup[]> {
  try {
    for await (const answer of blockingQuery(agent, { path: FEDERATION_STATES, without: FREE_TEXT }, signal))
      yield parsed(answer, FEDERATION_STATES, 'gateways by datacenter', gatewayGroupsOf);
  } catch (reason) {
    if (!(reason instanceof AgentError) || (reason.status !== 404 && reason.status !== 403)) throw reason;
    yield* polledGateways(agent, signal);
  }
}

/**
 * The same without federation states: each datacenter is asked in turn, every ten seconds. One that does not answer keeps the
 * gateways that it had. Needs a token that is valid in all datacenters.
 */
export async function* polledGateways(agent: Agent, signal: AbortSignal): AsyncGenerator<readonly GatewayGroup[]> {
  const known = new Map<string, GatewayGroup>();
  while (!signal.aborted) {
    for (const datacenter of await datacentersOf(agent, signal)) {
      const group = await gatewaysIn(agent, datacenter, signal).catch((reason: unknown) => {
        if (reason instanceof AgentError) return undefined;
        throw reason;
      });
      if (group !== undefined) known.set(datacenter, group);
    }
    yield [...known.values()];
    await pause(POLL_MS, signal);
  }
}

const FEDERATION_STATES = 'internal/federation-states/mesh-gateways';
// As often as Consul itself refreshes what it knows of other datacenters without being told.
const POLL_MS = 10_000;

async function datacentersOf(agent: Agent, signal: AbortSignal): Promise<readonly string[]> {
  const path = 'catalog/datacenters';
  return parsed(await agent.ask({ path }, signal), path, 'a list of names', (json) =>
    Array.isArray(json) ? list(json).map(text) : undefined,
  );
}

async function gatewaysIn(agent: Agent, datacenter: string, signal: AbortSignal): Promise<GatewayGroup> {
  const path = 'internal/ui/services';
  const query = { dc: datacenter };
  const services = parsed(await agent.ask({ path, query }, signal), path, 'a list of services', (json) =>
    Array.isArray(json) ? objects(json) : undefined,
  );
  const names = services
    .filter((service) => service['Kind'] === 'mesh-gateway')
    .map((service) => text(service['Name']));
  const gateways = names.map(async (name) => {
    const health = `health/service/${encodeURIComponent(name)}`;
    return parsed(await agent.ask({ path: health, query }, signal), health, 'a list of instances', instancesOf);
  });
  return { datacenter, gateways: (await Promise.all(gateways)).flat().filter(({ kind }) => kind === 'mesh-gateway') };
}
