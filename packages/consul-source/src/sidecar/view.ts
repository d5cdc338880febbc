import { createHash } from 'node:crypto';
import { defined } from '@meshgate/core/parts';
import type { Reading } from '@meshgate/core/parts';
import {
  compileChain,
  NO_ENTRIES,
  queryServerName,
  serviceIdentity,
  upstreamLimits,
  upstreamSetting,
  upstreamTargets,
} from '@meshgate/mesh';
import type {
  ChainTarget,
  ConfigEntries,
  GatewayGroup,
  Intention,
  MutualTlsMode,
  ProxyDefinition,
  ProxyUpstream,
  ProxyView,
  Selection,
  MeshAround,
  UpstreamDefinition,
} from '@meshgate/mesh';
import { reasonOf } from '../agent.ts';
import { chainOf } from './chain.ts';
import { attributedMode } from './own-entries.ts';
import type { QueryResult } from './queries.ts';

/** The state of a proxy and its upstreams, as an agent reports it. */
export interface ProxyObservation {
  readonly proxy: ProxyDefinition;
  readonly datacenter: string;
  readonly trustDomain: string;
  readonly entries: ConfigEntries;
  readonly gateways: readonly GatewayGroup[];
  /** Intentions for the proxy's service, for display only: the agent decides on each connection. */
  readonly intentions: readonly Intention[];
  chain(upstream: UpstreamDefinition): Reading<unknown> | undefined;
  instances(target: ChainTarget): Selection | undefined;
  query(upstream: UpstreamDefinition): Reading<QueryResult> | undefined;
}

/** Derives the view of a proxy. Pure. */
export function viewOf(
  observation: ProxyObservation,
  mutualTls: MutualTlsMode,
  warnings: readonly string[],
): ProxyView {
  const { proxy, datacenter, trustDomain, intentions } = observation;
  const upstreams = proxy.upstreams.map((upstream) => upstreamOf(upstream, observation));
  const view = {
    proxy,
    datacenter,
    trustDomain,
    upstreams,
    intentions,
    intentionDefault: 'deny' as const,
    ...(mutualTls === 'strict' ? {} : { mutualTls }),
  };
  const version = createHash('sha1')
    .update(JSON.stringify([view, warnings]))
    .digest('base64url');
  return { ...view, version, ...(warnings.length === 0 ? {} : { warnings }) };
}

/** Returns the targets of an upstream whose instances must be queried. */
export function chainTargets(upstream: UpstreamDefinition, observation: ProxyObservation): readonly ChainTarget[] {
  const compiled = upstream.kind === 'service' ? compiledChain(upstream, observation) : undefined;
  return compiled?.kind === 'compiled' ? compiled.chain.targets : [];
}

function upstreamOf(definition: UpstreamDefinition, observation: ProxyObservation): ProxyUpstream {
  if (definition.kind === 'prepared-query') return queryUpstream(definition, observation);
  const compiled = compiledChain(definition, observation);
  if (compiled === undefined) return unknown(definition, 'discovery chain', observation.chain(definition));
  if (compiled.kind === 'refused')
    return { kind: 'refused', definition, reason: `${compiled.path.join('.')}: ${compiled.message}` };
  const { chain } = compiled;
  const limits = upstreamLimits(definition, observation.proxy.service, observation.entries);
  return { kind: 'reachable', definition, chain, targets: upstreamTargets(chain, meshAround(observation)), ...limits };
}

function unknown(definition: UpstreamDefinition, what: string, reading: Reading<unknown> | undefined): ProxyUpstream {
  return {
    kind: 'refused',
    definition,
    reason: `its ${what} is unknown: ${reading?.error === undefined ? 'no response yet' : reasonOf(reading.error)}`,
  };
}

function compiledChain(definition: UpstreamDefinition, observation: ProxyObservation): ReturnType<typeof chainOf> {
  const { proxy, trustDomain, entries } = observation;
  const connectTimeoutMs = upstreamSetting('connectTimeoutMs', definition, { ...proxy, entries });
  const timeout = defined({ connectTimeoutMs });
  const { name: service, namespace, peer } = definition;
  const decision = attributedMode(definition, proxy, entries);
  if (peer !== undefined) {
    const scope = defined({ namespace });
    const request = { service, peer, datacenter: observation.datacenter, decision, ...scope, ...timeout };
    return compileChain(request, NO_ENTRIES, { trustDomain });
  }
  const response = observation.chain(definition)?.value;
  if (response === undefined) return undefined;
  return chainOf(response, { service, trustDomain, decision, ...timeout });
}

function meshAround(observation: ProxyObservation): MeshAround {
  const { datacenter, gateways } = observation;
  return { datacenter, gateways, instancesOf: (target) => observation.instances(target) };
}

/**
 * Dials the instances directly, as Consul's own proxies do: no gateway routes the name of a prepared query. After a
 * failover to a peer, its export is dialled as any other.
 */
function queryUpstream(definition: UpstreamDefinition, observation: ProxyObservation): ProxyUpstream {
  const result = observation.query(definition)?.value;
  if (result === undefined) return unknown(definition, 'result', observation.query(definition));
  const { service, instances, peer } = result;
  const { trustDomain, proxy, entries } = observation;
  const reading = definition.datacenter ?? observation.datacenter;
  const datacenter = result.datacenter || reading;
  const target: ChainTarget = {
    id: `${definition.name}.query.${datacenter}`,
    service,
    datacenter,
    serverName: queryServerName(definition.name, { datacenter: reading, trustDomain }),
    identities: [serviceIdentity({ service, datacenter }, trustDomain)],
    instances: { filter: '', onlyPassing: false },
    external: false,
    decision: { kind: 'unset' },
    ...(peer === undefined
      ? {}
      : { peer, serverName: '', identities: [], decision: attributedMode(definition, proxy, entries) }),
    ...defined({ connectTimeoutMs: definition.connectTimeoutMs }),
  };
  const chain = { service: definition.name, targets: [target] as const };
  const around = { ...meshAround(observation), instancesOf: () => ({ kind: 'selected', instances }) as const };
  return { kind: 'reachable', definition, chain, targets: upstreamTargets(chain, around) };
}
