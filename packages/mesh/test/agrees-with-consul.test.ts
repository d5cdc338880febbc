import { afterAll, beforeAll, expect, it } from 'vitest';
import { compileChain, decideMode, NO_ENTRIES } from '../src/index.ts';
import type { ConfigEntries, Destination, ServiceResolver } from '../src/index.ts';
import { type ConsulAgent, consulAgent, describeWithConsul } from './consul-agent.ts';

const V1_V2 = {
  v1: { filter: 'Service.Meta.version == v1', onlyPassing: false },
  v2: { filter: '', onlyPassing: true },
};

/** By service, in an order that Consul accepts: referenced entries come first. */
const CHAINS: Readonly<Record<string, Readonly<Record<string, Partial<ServiceResolver>>>>> = {
  'no resolver': {},
  'a default subset': { db: { subsets: V1_V2, defaultSubset: 'v1' } },
  'a redirect to a service': { db: { redirect: { service: 'sql' } } },
  'a redirect to a datacenter': { db: { redirect: { datacenter: 'dc2' } } },
  'a redirect to a subset': {
    sql: { subsets: V1_V2 },
    db: { redirect: { service: 'sql', subset: 'v2', datacenter: 'dc2' } },
  },
  'redirects in a row': {
    pg: { subsets: V1_V2, defaultSubset: 'v2' },
    sql: { redirect: { service: 'pg', datacenter: 'dc2' } },
    db: { redirect: { service: 'sql' } },
  },
  'failover over datacenters': { db: { failover: failover('*', { datacenter: 'dc2' }, { datacenter: 'dc3' }) } },
  'failover of one subset': {
    db: {
      subsets: V1_V2,
      defaultSubset: 'v1',
      failover: new Map([...failover('*', { datacenter: 'dc2' }), ...failover('v1', { subset: 'v2' })]),
    },
  },
  'failover that keeps its subset': {
    db: { subsets: V1_V2, defaultSubset: 'v1', failover: failover('*', { datacenter: 'dc2' }) },
  },
  'failover to another service': {
    sql: { subsets: V1_V2, defaultSubset: 'v2' },
    db: { subsets: V1_V2, defaultSubset: 'v1', failover: failover('*', { service: 'sql' }) },
  },
  'failover to a subset elsewhere': {
    sql: { subsets: V1_V2 },
    db: { failover: failover('*', { service: 'sql', subset: 'v1', datacenter: 'dc2' }) },
  },
  'failover to a redirect, which fails over itself': {
    pg: { failover: failover('*', { datacenter: 'dc9' }) },
    sql: { redirect: { service: 'pg' } },
    db: { failover: failover('*', { service: 'sql' }) },
  },
  'failover of where a redirect leads': {
    sql: { failover: failover('*', { datacenter: 'dc2' }) },
    db: { redirect: { service: 'sql' } },
  },
  'failover to where one is': { db: { failover: failover('*', { datacenter: 'dc1' }, { datacenter: 'dc2' }) } },
};

describeWithConsul('a real Consul', () => {
  let consul: ConsulAgent;
  beforeAll(async () => {
    consul = await consulAgent();
  }, START_TIMEOUT_MS);
  afterAll(() => consul[Symbol.asyncDispose]());

  it.each(Object.entries(CHAINS))('compiles the same chain: %s', async (_name, resolvers) => {
    const { TrustDomain } = (await consul.query('GET', 'agent/connect/ca/roots')) as { TrustDomain: string };
    await consul.query('PUT', 'config', { Kind: 'service-defaults', Name: 'sql', MeshGateway: { Mode: 'remote' } });
    for (const [name, resolver] of Object.entries(resolvers))
      await consul.query('PUT', 'config', toConsul(name, resolver));
    try {
      for (const datacenter of ['dc1', 'dc2'])
        for (const mode of ['', 'local'])
          expect(ours(resolvers, datacenter, mode, TrustDomain)).toEqual(await theirs(consul, datacenter, mode));
    } finally {
      for (const name of Object.keys(resolvers).toReversed())
        await consul.query('DELETE', `config/service-resolver/${name}`);
    }
  });
});

const START_TIMEOUT_MS = 30_000;

function failover(subset: string, ...legs: readonly Destination[]): ReadonlyMap<string, readonly Destination[]> {
  return new Map([[subset, legs]]);
}

/** Both results for one target. Consul 1.8 has no mode for targets of the local datacenter, where none is needed. */
interface Leg {
  readonly id: string;
  readonly sni: string;
  readonly mode: string;
  readonly filter: string;
}

function ours(
  resolvers: Readonly<Record<string, Partial<ServiceResolver>>>,
  datacenter: string,
  mode: string,
  trustDomain: string,
): readonly Leg[] {
  const complete = Object.entries(resolvers).map(
    ([name, part]) => [name, { subsets: {}, failover: new Map(), ...part }] as const,
  );
  const sql = { upstreamOverrides: [], mode: { value: 'remote', object: 'service-defaults/sql' } };
  const entries: ConfigEntries = {
    ...NO_ENTRIES,
    resolvers: new Map(complete),
    serviceDefaults: new Map([['sql', sql]]),
  };
  const decision = decideMode([{ scope: 'proxy-defaults', value: mode, object: 'proxy-defaults/global' }]);
  const compiled = compileChain({ service: 'db', datacenter, decision }, entries, { trustDomain });
  if (compiled.kind === 'refused') throw new Error(compiled.message);
  return compiled.chain.targets.map((target) => ({
    // Consul 1.8 has no partitions, and leaves them out of the id.
    id: target.id.replace('.default.default.', '.default.'),
    sni: target.serverName,
    mode: target.decision.kind === 'decided' && target.datacenter !== 'dc1' ? target.decision.mode : '',
    filter: target.instances.filter,
  }));
}

interface ConsulChain {
  readonly Chain: {
    readonly StartNode: string;
    readonly Nodes: Readonly<
      Record<
        string,
        { readonly Resolver: { readonly Target: string; readonly Failover?: { readonly Targets: readonly string[] } } }
      >
    >;
    readonly Targets: Readonly<
      Record<
        string,
        {
          readonly SNI: string;
          readonly Datacenter: string;
          readonly MeshGateway: { readonly Mode?: string };
          readonly Subset: { readonly Filter?: string };
        }
      >
    >;
  };
}

async function theirs(consul: ConsulAgent, datacenter: string, mode: string): Promise<readonly Leg[]> {
  const override = mode === '' ? {} : { OverrideMeshGateway: { Mode: mode } };
  const response = (await consul.query('POST', `discovery-chain/db?compile-dc=${datacenter}`, override)) as ConsulChain;
  const { StartNode, Nodes, Targets } = response.Chain;
  const start = Nodes[StartNode]?.Resolver;
  return [start?.Target ?? '', ...(start?.Failover?.Targets ?? [])].map((id) => {
    const target = Targets[id];
    const ownMode = target?.Datacenter === 'dc1' ? '' : target?.MeshGateway.Mode;
    return {
      id: id.replace('.default.default.', '.default.'),
      sni: target?.SNI ?? '',
      mode: ownMode ?? '',
      filter: target?.Subset.Filter ?? '',
    };
  });
}

function toConsul(
  name: string,
  { subsets = {}, defaultSubset, redirect, failover: legs }: Partial<ServiceResolver>,
): object {
  return {
    Kind: 'service-resolver',
    Name: name,
    Subsets: Object.fromEntries(
      Object.entries(subsets).map(([subset, { filter, onlyPassing }]) => [
        subset,
        { Filter: filter, OnlyPassing: onlyPassing },
      ]),
    ),
    ...(defaultSubset === undefined ? {} : { DefaultSubset: defaultSubset }),
    ...(redirect === undefined ? {} : { Redirect: { ...destination(redirect), Datacenter: redirect.datacenter } }),
    Failover: Object.fromEntries(
      Array.from(legs ?? [], ([subset, list]) => [
        subset,
        { ...destination(list[0] ?? {}), Datacenters: list.flatMap((leg) => leg.datacenter ?? []) },
      ]),
    ),
  };
}

function destination({ service, subset }: Destination): object {
  return { Service: service, ServiceSubset: subset };
}
