import { createHash } from 'node:crypto';
import type { Reading } from '@meshgate/core/parts';
import {
  compileChain,
  NO_ENTRIES,
  queryServerName,
  serviceIdentity,
  upstreamConnectTimeout,
  upstreamLimits,
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
import type { QueryResult } from './questions.ts';

/** Everything that an agent has told of a proxy and of what it reaches. */
export interface Account {
  readonly proxy: ProxyDefinition;
  readonly datacenter: string;
  readonly trustDomain: string;
  readonly entries: ConfigEntries;
  readonly gateways: readonly GatewayGroup[];
  /** Those for the proxy's service, for people: the agent is asked at each connection. */
  readonly intentions: readonly Intention[];
  chain(upstream: UpstreamDefinition): Reading<unknown> | undefined;
  instances(target: ChainTarget): Selection | undefined;
  query(upstream: UpstreamDefinition): Reading<QueryResult> | undefined;
}

/** The view of a proxy that follows from it. Pure. What holds where no intention matches the agent says at each connection. */
export function viewOf(account: Account, mutualTls: MutualTlsMode, warnings: readonly string[]): ProxyView {
  const { proxy, datacenter, trustDomain, intentions } = account;
  const upstreams = proxy.upstreams.map((upstream) => upstreamOf(upstream, account));
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

/** The targets of an upstream whose instances must be known. */
export function chainTargets(upstream: UpstreamDefinition, account: Account): readonly ChainTarget[] {
  const compiled = upstream.kind === 'service' ? compiledChain(upstream, account) : undefined;
  return compiled?.kind === 'compiled' ? compiled.chain.targets : [];
}

function upstreamOf(definition: UpstreamDefinition, account: Account): ProxyUpstream {
  if (definition.kind === 'prepared-query') return queryUpstream(definition, account);
  const compiled = compiledChain(definition, account);
  if (compiled === undefined) return unknown(definition, 'discovery chain', account.chain(definition));
  if (compiled.kind === 'refused')
    return { kind: 'refused', definition, reason: `${compiled.path.join('.')}: ${compiled.message}` };
  const { chain } = compiled;
  const limits = upstreamLimits(definition, account.proxy.service, account.entries);
  return { kind: 'reachable', definition, chain, targets: upstreamTargets(chain, surroundings(account)), ...limits };
}

function unknown(definition: UpstreamDefinition, what: string, asked: Reading<unknown> | undefined): ProxyUpstream {
  return {
    kind: 'refused',
    definition,
    reason: `its ${what} is not known: ${asked?.error === undefined ? 'no answer yet' : reasonOf(asked.error)}`,
  };
}

function compiledChain(definition: UpstreamDefinition, account: Account): ReturnType<typeof chainOf> {
  const { proxy, trustDomain, entries } = account;
  const connectTimeoutMs = upstreamConnectTimeout(definition, proxy.service, entries);
  const timeout = connectTimeoutMs === undefined ? {} : { connectTimeoutMs };
  const { name: service, namespace, peer } = definition;
  const decision = attributedMode(definition, proxy, entries);
  if (peer !== undefined) {
    const scope = namespace === undefined ? {} : { namespace };
    const request = { service, peer, datacenter: account.datacenter, decision, ...scope, ...timeout };
    return compileChain(request, NO_ENTRIES, { trustDomain });
  }
  const answer = account.chain(definition)?.value;
  if (answer === undefined) return undefined;
  return chainOf(answer, { service, trustDomain, decision, ...timeout });
}

function surroundings(account: Account): MeshAround {
  const { datacenter, gateways } = account;
  return { datacenter, gateways, instancesOf: (target) => account.instances(target) };
}

/** Always dialled directly, as Consul's own proxies do: no gateway has a route for the name of a query. */
function queryUpstream(definition: UpstreamDefinition, account: Account): ProxyUpstream {
  const result = account.query(definition)?.value;
  if (result === undefined) return unknown(definition, 'result', account.query(definition));
  const { service, instances } = result;
  const { trustDomain } = account;
  const asked = definition.datacenter ?? account.datacenter;
  const datacenter = result.datacenter || asked;
  const target: ChainTarget = {
    id: `${definition.name}.query.${datacenter}`,
    service,
    datacenter,
    serverName: queryServerName(definition.name, { datacenter: asked, trustDomain }),
    identities: [serviceIdentity({ service, datacenter }, trustDomain)],
    instances: { filter: '', onlyPassing: false },
    external: false,
    decision: { kind: 'unset' },
    ...(definition.connectTimeoutMs === undefined ? {} : { connectTimeoutMs: definition.connectTimeoutMs }),
  };
  const chain = { service: definition.name, targets: [target] as const };
  const around = { ...surroundings(account), instancesOf: () => ({ kind: 'selected', instances }) as const };
  return { kind: 'reachable', definition, chain, targets: upstreamTargets(chain, around) };
}
