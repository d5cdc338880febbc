import { describe, expect, it } from 'vitest';
import { compileChain, NO_ENTRIES, serviceIdentity } from '../src/index.ts';
import type { ChainRequest, ConfigEntries, ModeDecision, ServiceResolver } from '../src/index.ts';

const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';
const UNSET: ModeDecision = { kind: 'unset' };
const LOCAL: ModeDecision = {
  kind: 'decided',
  mode: 'local',
  by: { scope: 'proxy-defaults', value: 'local', object: 'proxy-defaults/global' },
  others: [],
};

const V1_V2 = {
  v1: { filter: 'Service.Meta.version == v1', onlyPassing: false },
  v2: { filter: '', onlyPassing: true },
};

describe('targets', () => {
  it.each<[string, Readonly<Record<string, Partial<ServiceResolver>>>, readonly string[]]>([
    ['a service without a resolver is itself', {}, ['db.default.default.dc1']],
    ['a default subset is taken', { db: { subsets: V1_V2, defaultSubset: 'v1' } }, ['v1.db.default.default.dc1']],
    ['a redirect to a service', { db: { redirect: { service: 'sql' } } }, ['sql.default.default.dc1']],
    ['a redirect to a datacenter', { db: { redirect: { datacenter: 'dc2' } } }, ['db.default.default.dc2']],
    [
      'a redirect to a subset of another service',
      { db: { redirect: { service: 'sql', subset: 'v2', datacenter: 'dc2' } }, sql: { subsets: V1_V2 } },
      ['v2.sql.default.default.dc2'],
    ],
    [
      'a chain of redirects, then a default subset',
      {
        db: { redirect: { service: 'sql' } },
        sql: { redirect: { service: 'pg', datacenter: 'dc2' } },
        pg: { subsets: V1_V2, defaultSubset: 'v2' },
      },
      ['v2.pg.default.default.dc2'],
    ],
    [
      'failover over datacenters',
      { db: { failover: new Map([['*', [{ datacenter: 'dc2' }, { datacenter: 'dc3' }]]]) } },
      ['db.default.default.dc1', 'db.default.default.dc2', 'db.default.default.dc3'],
    ],
    [
      'failover of a subset goes before that of any',
      {
        db: {
          subsets: V1_V2,
          defaultSubset: 'v1',
          failover: new Map([
            ['*', [{ datacenter: 'dc2' }]],
            ['v1', [{ subset: 'v2' }]],
          ]),
        },
      },
      ['v1.db.default.default.dc1', 'v2.db.default.default.dc1'],
    ],
    [
      'a subset is kept in another datacenter',
      { db: { subsets: V1_V2, defaultSubset: 'v1', failover: new Map([['*', [{ datacenter: 'dc2' }]]]) } },
      ['v1.db.default.default.dc1', 'v1.db.default.default.dc2'],
    ],
    [
      'failover to another service drops the subset and takes the default one there',
      {
        db: { subsets: V1_V2, defaultSubset: 'v1', failover: new Map([['*', [{ service: 'sql' }]]]) },
        sql: { subsets: V1_V2, defaultSubset: 'v2' },
      },
      ['v1.db.default.default.dc1', 'v2.sql.default.default.dc1'],
    ],
    [
      "a failover's own failover is not followed, its redirect is",
      {
        db: { failover: new Map([['*', [{ service: 'sql' }]]]) },
        sql: { redirect: { service: 'pg' } },
        pg: { failover: new Map([['*', [{ datacenter: 'dc9' }]]]) },
      },
      ['db.default.default.dc1', 'pg.default.default.dc1'],
    ],
    [
      'the failover of where a redirect ends',
      { db: { redirect: { service: 'sql' } }, sql: { failover: new Map([['*', [{ datacenter: 'dc2' }]]]) } },
      ['sql.default.default.dc1', 'sql.default.default.dc2'],
    ],
    [
      'failover to where one is already is none',
      { db: { failover: new Map([['*', [{ datacenter: 'dc1' }, { datacenter: 'dc2' }]]]) } },
      ['db.default.default.dc1', 'db.default.default.dc2'],
    ],
  ])('%s', (_claim, resolvers, ids) => expect(targetsOf(resolvers).map(({ id }) => id)).toEqual(ids));

  it('have the server name and the identity of their location; the subset is only in the first', () => {
    const [, second] = targetsOf({
      db: { subsets: V1_V2, defaultSubset: 'v1', failover: new Map([['v1', [{ datacenter: 'dc2' }]]]) },
    });
    expect(second).toMatchObject({
      serverName: `v1.db.default.dc2.internal.${TRUST_DOMAIN}`,
      identities: [`spiffe://${TRUST_DOMAIN}/ns/default/dc/dc2/svc/db`],
      instances: V1_V2.v1,
      external: false,
    });
    expect(serviceIdentity({ service: 'db', partition: 'team', datacenter: 'dc2' }, TRUST_DOMAIN)).toBe(
      `spiffe://${TRUST_DOMAIN}/ap/team/ns/default/dc/dc2/svc/db`,
    );
  });

  it('have the timeout of the dialling side, else of their resolver', () => {
    const resolvers = { db: { connectTimeoutMs: 2_000 } };
    expect(targetsOf(resolvers)[0]?.connectTimeoutMs).toBe(2_000);
    expect(targetsOf(resolvers, { connectTimeoutMs: 700 })[0]?.connectTimeoutMs).toBe(700);
    expect(targetsOf({})[0]).not.toHaveProperty('connectTimeoutMs');
  });

  it('outside the mesh have the configured name', () => {
    const entries = { serviceDefaults: new Map([['db', { upstreamOverrides: [], externalSni: 'db.example.com' }]]) };
    expect(targetsOf({}, {}, entries)[0]).toMatchObject({ serverName: 'db.example.com', external: true });
  });
});

describe("a target's mode", () => {
  const destinations = {
    serviceDefaults: new Map([
      ['db', { upstreamOverrides: [], mode: { value: 'remote', object: 'service-defaults/db' } }],
      ['sql', { upstreamOverrides: [], mode: { value: '', object: 'service-defaults/sql' } }],
    ]),
  };

  it("is the destination's own only when the dialling side sets none", () => {
    expect(targetsOf({}, { decision: UNSET }, destinations)[0]?.decision).toMatchObject({
      kind: 'decided',
      mode: 'remote',
      by: { scope: 'discovery-chain', object: 'service-defaults/db' },
    });
    expect(targetsOf({}, { decision: LOCAL }, destinations)[0]?.decision).toMatchObject({
      mode: 'local',
      others: [{ scope: 'discovery-chain', value: 'remote' }],
    });
  });

  it('is that of each target, not of the upstream', () => {
    const resolvers = { db: { failover: new Map([['*', [{ service: 'sql' }]]]) } };
    expect(targetsOf(resolvers, { decision: UNSET }, destinations).map(({ decision }) => decision.kind)).toEqual([
      'decided',
      'unset',
    ]);
  });

  it('stays rejected when the dialling side is invalid', () => {
    const refused = { kind: 'refused', by: LOCAL.by, message: 'no' } as const;
    expect(targetsOf({}, { decision: refused }, destinations)[0]?.decision).toBe(refused);
  });
});

describe('a service of a peer', () => {
  const cloud = {
    id: 'db.default.default.external.cloud',
    service: 'db',
    peer: 'cloud',
    datacenter: 'dc1',
    serverName: '',
    identities: [],
  };

  it('is one target, regardless of resolvers for the local service of the same name', () => {
    const resolvers = { db: { defaultSubset: 'v1', subsets: V1_V2, redirect: { service: 'sql' } } };
    const [target, ...others] = targetsOf(resolvers, { peer: 'cloud' });
    expect(target).toMatchObject({ ...cloud, instances: { filter: '', onlyPassing: false } });
    expect(others).toEqual([]);
  });

  it('is where a redirect ends', () => {
    const resolvers = { reports: { redirect: { service: 'db', peer: 'cloud' } } };
    expect(targetsOf(resolvers, { service: 'reports' })).toMatchObject([cloud]);
  });

  it('takes over in failover, in order with other targets', () => {
    const legs = [{ peer: 'cloud' }, { service: 'db-fallback' }];
    const ids = targetsOf({ db: { failover: new Map([['*', legs]]) } }).map(({ id }) => id);
    expect(ids).toEqual(['db.default.default.dc1', cloud.id, 'db-fallback.default.default.dc1']);
  });

  it('that a redirect leads to fails over like the local resolver of its name', () => {
    const legs = [{ peer: 'cloud' }, { service: 'db-fallback' }];
    const resolvers = {
      reports: { redirect: { service: 'db', peer: 'cloud' } },
      db: { failover: new Map([['*', legs]]) },
    };
    const ids = targetsOf(resolvers, { service: 'reports' }).map(({ id }) => id);
    expect(ids).toEqual([cloud.id, 'db-fallback.default.default.dc1']);
  });
});

describe('a chain is rejected', () => {
  it.each<[string, Readonly<Record<string, Partial<ServiceResolver>>>, readonly string[], string]>([
    [
      'when redirects go round in a circle',
      { db: { redirect: { service: 'sql' } }, sql: { redirect: { service: 'db' } } },
      ['service-resolver', 'sql', 'Redirect'],
      'expected redirects without a cycle, found one: db.default.default.dc1 -> sql.default.default.dc1 -> db.default.default.dc1',
    ],
    [
      'when a redirect leads to a subset that nobody defines',
      { db: { redirect: { service: 'sql', subset: 'v3' } }, sql: { subsets: V1_V2 } },
      ['service-resolver', 'sql', 'Subsets'],
      'expected a definition of subset v3, to which db.default.default.dc1 leads; subsets defined: v1, v2',
    ],
    [
      'when failover does',
      { db: { failover: new Map([['*', [{ subset: 'toString' }]]]) } },
      ['service-resolver', 'db', 'Subsets'],
      'expected a definition of subset toString, to which toString.db.default.default.dc1 leads; subsets defined: none',
    ],
  ])('%s', (_claim, resolvers, path, message) => {
    expect(compiled(resolvers)).toEqual({ kind: 'refused', path, message });
  });
});

function compiled(
  resolvers: Readonly<Record<string, Partial<ServiceResolver>>>,
  request: Partial<ChainRequest> = {},
  others: Partial<ConfigEntries> = {},
) {
  const complete = Object.entries(resolvers).map(([name, part]) => {
    const resolver: ServiceResolver = { subsets: {}, failover: new Map(), ...part };
    return [name, resolver] as const;
  });
  const entries = { ...NO_ENTRIES, resolvers: new Map(complete), ...others };
  const queried = { service: 'db', datacenter: 'dc1', decision: UNSET, ...request };
  return compileChain(queried, entries, { trustDomain: TRUST_DOMAIN });
}

function targetsOf(...args: Parameters<typeof compiled>) {
  const result = compiled(...args);
  if (result.kind === 'refused') throw new Error(result.message);
  return result.chain.targets;
}
