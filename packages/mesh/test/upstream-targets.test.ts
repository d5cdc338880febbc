import { describe, expect, it } from 'vitest';
import { compileChain, decideMode, dialOrder, proxyUpstream, NO_ENTRIES, upstreamTargets } from '../src/index.ts';
import type { Catalog, ChainTarget, Instance, Selection, MeshAround, UpstreamTarget } from '../src/index.ts';
import { instance } from './instance.ts';

const CRITICAL = [{ id: 'serfHealth', status: 'critical' }] as const;
const WARNING = [{ id: 'load', status: 'warning' }] as const;

/** Reached at its own address inside the datacenter, at its WAN address from others. */
function gateway(datacenter: string, host: string, over: Partial<Instance> = {}): Instance {
  const wan = { address: `203.0.113.${datacenter.slice(-1)}`, port: 443 };
  return instance('gateway', {
    id: `gw-${datacenter}`,
    kind: 'mesh-gateway',
    address: host,
    port: 8443,
    taggedAddresses: { wan },
    ...over,
  });
}

const LAN = instance('db', {
  address: '10.1.0.9',
  port: 20_000,
  taggedAddresses: { wan: { address: '198.51.100.9', port: 0 } },
});

describe('the dialled hosts', () => {
  it.each<[string, Partial<ChainTarget>, string, string, readonly string[]]>([
    ['same datacenter, none', { datacenter: 'dc1' }, 'none', 'direct', ['10.1.0.9:20000']],
    ['same datacenter, local', { datacenter: 'dc1' }, 'local', 'direct', ['10.1.0.9:20000']],
    ['same datacenter, remote', { datacenter: 'dc1' }, 'remote', 'direct', ['10.1.0.9:20000']],
    ['same datacenter, unset', { datacenter: 'dc1' }, '', 'direct', ['10.1.0.9:20000']],
    ['other datacenter, unset: the instances by WAN', { datacenter: 'dc2' }, '', 'direct', ['198.51.100.9:20000']],
    ['other datacenter, none: the instances by WAN', { datacenter: 'dc2' }, 'none', 'direct', ['198.51.100.9:20000']],
    [
      'other datacenter, local: the own gateway by LAN',
      { datacenter: 'dc2' },
      'local',
      'local-gateway',
      ['10.0.1.1:8443'],
    ],
    [
      'other datacenter, remote: its gateway by WAN',
      { datacenter: 'dc2' },
      'remote',
      'remote-gateway',
      ['203.0.113.2:443'],
    ],
    [
      'a partition is as another datacenter',
      { datacenter: 'dc1', partition: 'team' },
      'local',
      'local-gateway',
      ['10.0.1.1:8443'],
    ],
    ['a datacenter without gateways: nobody', { datacenter: 'dc3' }, 'remote', 'remote-gateway', []],
    ['a peer, local', { datacenter: 'dc1', peer: 'cloud' }, 'local', 'local-gateway', ['10.0.1.1:8443']],
    [
      'a peer, none: still its gateways',
      { datacenter: 'dc1', peer: 'cloud' },
      'none',
      'remote-gateway',
      ['198.51.100.9:20000'],
    ],
    [
      'a peer, unset: still its gateways',
      { datacenter: 'dc1', peer: 'cloud' },
      '',
      'remote-gateway',
      ['198.51.100.9:20000'],
    ],
    ['a peer, remote', { datacenter: 'dc1', peer: 'cloud' }, 'remote', 'remote-gateway', ['198.51.100.9:20000']],
    [
      'outside the mesh, whatever the mode',
      { datacenter: 'dc2', external: true },
      'local',
      'direct',
      ['198.51.100.9:20000'],
    ],
    ['a mode that is none: nobody', { datacenter: 'dc2' }, 'Local', 'undecided', []],
    ['a mode that is none, but in the same datacenter', { datacenter: 'dc1' }, 'Local', 'direct', ['10.1.0.9:20000']],
  ])('%s', (_claim, target, mode, path, addresses) => {
    const found = dial(target, { mode });
    expect(found.path).toBe(path);
    expect(found.backends.map(({ address }) => `${address.host}:${address.port}`)).toEqual(addresses);
  });

  it('have the weight of the gateway, or of the instance', () => {
    const weights = { passing: 5, warning: 3 };
    expect(dial({}, { mode: 'none', instances: [{ ...LAN, weights, checks: WARNING }] }).backends[0]?.weight).toBe(3);
    const gateways = [
      { datacenter: 'dc1', gateways: [gateway('dc1', '10.0.1.1', { weights: { passing: 7, warning: 1 } })] },
    ];
    expect(dial({}, { mode: 'local', gateways }).backends[0]?.weight).toBe(7);
  });

  it('use the newer list of gateways', () => {
    const gateways = [
      { datacenter: 'dc2', gateways: [gateway('dc2', '10.0.2.1', { modifyIndex: 3, taggedAddresses: {} })] },
      { datacenter: 'dc2', gateways: [gateway('dc2', '10.0.2.2', { modifyIndex: 9, taggedAddresses: {} })] },
    ];
    expect(dial({}, { mode: 'remote', gateways }).backends[0]?.address.host).toBe('10.0.2.2');
  });
});

describe('health behind a gateway', () => {
  const healthy = [LAN];
  const dead = [{ ...LAN, checks: CRITICAL }];
  const drained = [{ datacenter: 'dc1', gateways: [gateway('dc1', '10.0.1.1', { checks: CRITICAL })] }];

  it.each<[string, Given, boolean, UpstreamTarget['service']]>([
    ['a healthy gateway before a healthy service', { instances: healthy }, true, 'healthy'],
    ['a healthy gateway before a dead service', { instances: dead }, false, 'unhealthy'],
    ['a healthy gateway before a service without instances', { instances: [] }, false, 'unhealthy'],
    ['a healthy gateway before who knows what', { instances: undefined }, true, 'unknown'],
    ['a drained gateway before a healthy service', { instances: healthy, gateways: drained }, false, 'healthy'],
    ['a drained gateway before who knows what', { instances: undefined, gateways: drained }, false, 'unknown'],
  ])('%s', (_claim, given, isHealthy, service) => {
    const found = dial({}, { mode: 'local', ...given });
    expect(found.backends.map((backend) => backend.healthy)).toEqual([isHealthy]);
    expect(found.service).toBe(service);
  });

  it.each<[string, Given, string | undefined]>([
    ['a service that is there', { instances: healthy }, undefined],
    ['a dead one', { instances: dead }, 'db has no healthy instance in datacenter dc2; its gateways lead nowhere'],
    ['one that does not exist', { instances: [] }, 'db has no instance in datacenter dc2; its gateways lead nowhere'],
    ['who knows what', { instances: undefined }, undefined],
  ])('is determined by the service, not by the gateway, before %s', (_claim, given, reason) => {
    const { facts } = dial({ datacenter: 'dc2' }, { mode: 'local', ...given });
    expect([facts['unhealthyBecause'], facts['unhealthy']]).toEqual([reason, undefined]);
    expect(dial({ datacenter: 'dc2' }, { mode: 'none', ...given }).facts).not.toHaveProperty('unhealthyBecause');
  });

  it('counts only passing instances if the subset says so', () => {
    const instances = [{ ...LAN, checks: WARNING }];
    expect(dial({ instances: { filter: '', onlyPassing: true } }, { mode: 'none', instances }).service).toBe(
      'unhealthy',
    );
    expect(dial({}, { mode: 'none', instances }).service).toBe('healthy');
  });

  it('is a problem if the filter cannot be evaluated', () => {
    const refused: Selection = { kind: 'refused', reason: 'no such field' };
    const around = environment({ mode: '' }, refused);
    const [found] = upstreamTargets({ service: 'db', targets: [chainTarget({ subset: 'v1' }, '')] }, around);
    expect(found?.problems).toEqual([
      {
        path: ['service-resolver', 'db', 'Subsets', 'v1', 'Filter'],
        message: 'this filter is rejected: no such field',
      },
    ]);
  });
});

describe('the facts of a target', () => {
  it('show the path, the mode, and where it was set', () => {
    expect(dial({ datacenter: 'dc2', subset: 'v1' }, { mode: 'local' }).facts).toEqual({
      path: 'local-gateway',
      mode: 'local',
      decidedBy: 'local by the service defaults (service-defaults/web)',
      target: 'db',
      subset: 'v1',
      datacenter: 'dc2',
      service: 'healthy',
      health: '1 of 1 healthy',
    });
  });

  it.each([
    [{ datacenter: 'dc1' }, 'local', 'same datacenter: no gateway is needed, whatever the mode'],
    [
      { datacenter: 'dc2', external: true },
      'local',
      'the service is outside the mesh: no gateway is used, whatever the mode',
    ],
    [
      { datacenter: 'dc1', peer: 'cloud' },
      'none',
      'none by the service defaults (service-defaults/web); a peer is reached through its gateways only',
    ],
    [{ datacenter: 'dc2' }, '', 'no mode is set: direct'],
  ])('show why a mode has no effect: %j %s', (over, mode, reason) => {
    expect(dial(over, { mode }).facts['decidedBy']).toBe(reason);
  });

  it('distinguish an unknown target from one without instances', () => {
    expect(dial({ datacenter: 'dc2' }, { mode: 'Local' }).problems).toEqual([
      {
        path: [],
        message: 'service-defaults/web: expected none, local or remote, found "Local": write local, in lower case',
      },
    ]);
  });
});

describe('a name that no gateway can route', () => {
  it.each([
    ['a/b', 'found "/"'],
    ['x'.repeat(64), 'found one of 64'],
  ])('is a problem if a gateway is dialled, and the target stays: %s', (service, found) => {
    const decision = decideMode([{ scope: 'upstream', value: 'local', object: 'upstream' }]);
    const compiled = compileChain({ service, datacenter: 'dc2', decision }, NO_ENTRIES, { trustDomain: 'td.consul' });
    if (compiled.kind === 'refused') throw new Error(compiled.message);
    const gateways = [{ datacenter: 'dc1', gateways: [instance('gateway', { address: '10.0.0.1', port: 8_443 })] }];
    const around = { datacenter: 'dc1', gateways, instancesOf: () => undefined };
    const [target] = upstreamTargets(compiled.chain, around);
    expect(target?.backends).toHaveLength(1);
    expect(target?.problems).toEqual([{ path: [], message: expect.stringContaining(found) as string }]);
    const [near] = upstreamTargets(compiled.chain, { ...around, datacenter: 'dc2' });
    expect(near?.problems).toEqual([]);
  });
});

describe('why there is no address to dial', () => {
  it.each<[string, Partial<ChainTarget>, Given, string | undefined]>([
    ['somebody is there', {}, { mode: 'none' }, undefined],
    ['an unhealthy one is there', {}, { mode: 'none', instances: [{ ...LAN, checks: CRITICAL }] }, undefined],
    ['nobody is', {}, { mode: 'none', instances: [] }, 'db has no instance in datacenter dc2'],
    [
      'nobody is in the subset',
      { subset: 'v1' },
      { mode: '', instances: [] },
      'v1.db has no instance in datacenter dc2',
    ],
    ['nobody knows', {}, { mode: 'none', instances: undefined }, 'instances of db in datacenter dc2 unknown yet'],
    ['there is no gateway', { datacenter: 'dc3' }, { mode: 'remote' }, 'no mesh gateway of datacenter dc3 is known'],
    ['there is no own gateway', {}, { mode: 'local', gateways: [] }, 'no mesh gateway of datacenter dc1 is known'],
    [
      'nobody can be dialled',
      {},
      { mode: 'none', instances: [{ ...LAN, port: 0 }] },
      'instance db-1 on node node-1 has no address and port that can be dialled, found "10.1.0.9:0"',
    ],
    [
      'the way is undecided',
      {},
      { mode: 'Local' },
      'service-defaults/web: expected none, local or remote, found "Local": write local, in lower case',
    ],
  ])('%s', (_claim, over, given, nobody) => {
    const found = dial(over, given);
    expect(found.unreachableReason).toBe(nobody);
    expect(found.facts['unreachable']).toBe(nobody);
  });
});

describe('the order of dialling', () => {
  it('puts targets without a healthy backend after the others, and keeps them', () => {
    const [dead, alive, empty] = [
      dial({ id: 'dead' }, { mode: 'none', instances: [{ ...LAN, checks: CRITICAL }] }),
      dial({ id: 'alive' }, { mode: 'none' }),
      dial({ id: 'empty' }, { mode: 'none', instances: [] }),
    ];
    expect(dialOrder([dead, alive, empty]).map(({ target: { id } }) => id)).toEqual(['alive', 'dead', 'empty']);
  });
});

describe('an upstream of a proxy', () => {
  const bind = { host: '127.0.0.1', port: 10_000 };

  it('leads to the own datacenter when it names none', () => {
    const around = { ...environment({ mode: '' }, { kind: 'selected', instances: [LAN] }), trustDomain: 'td.consul' };
    const upstream = proxyUpstream({ name: 'db', kind: 'service', bind }, { service: 'web' }, NO_ENTRIES, around);
    expect(upstream).toMatchObject({
      kind: 'reachable',
      targets: [{ path: 'direct', target: { serverName: 'db.default.dc1.internal.td.consul' } }],
    });
  });

  it('that is a prepared query is rejected: only Consul can execute it', () => {
    const around = { ...environment({ mode: '' }, undefined), trustDomain: 'td.consul' };
    const definition = { name: 'db', kind: 'prepared-query' as const, bind };
    expect(proxyUpstream(definition, { service: 'web' }, NO_ENTRIES, around)).toMatchObject({
      kind: 'refused',
      reason: 'only Consul can execute a prepared query',
    });
  });
});

describe('an upstream of a peer', () => {
  const bind = { host: '127.0.0.1', port: 10_000 };
  const PTD = '1c053652-8512-4373-90cf-5a7f6263a994.consul';
  const exported = (name: string, wan: Instance['taggedAddresses'][string]): Instance =>
    instance(name, {
      address: '85.252.102.31',
      port: 443,
      taggedAddresses: { wan },
      peerMeta: {
        serverNames: [`${name}.default.default.cloud.external.${PTD}`],
        identities: [`spiffe://${PTD}/ns/default/dc/cloud-dc/svc/${name}`],
        protocol: 'tcp',
      },
    });
  const REFUNDS = exported('refunds', { address: '106.96.90.233', port: 443 });
  const PAYMENTS = exported('payments', { address: '123.us-east-1.elb.notaws.com', port: 8443 });
  const dialled = (name: string, mode: string, instances: readonly Instance[] | undefined) => {
    const around = { ...environment({}, instances && { kind: 'selected', instances }), trustDomain: 'td.consul' };
    const definition = {
      name,
      kind: 'service' as const,
      peer: 'cloud',
      bind,
      mode: { value: mode, object: 'upstream' },
    };
    const upstream = proxyUpstream(definition, { service: 'web' }, NO_ENTRIES, around);
    if (upstream.kind === 'refused') throw new Error(upstream.reason);
    const [target] = upstream.targets;
    return { ...target, at: target?.backends.map(({ address: { host, port } }) => `${host}:${port}`) };
  };

  it.each([
    ['refunds', '', REFUNDS, ['106.96.90.233:443'], 'remote-gateway'],
    ['payments', '', PAYMENTS, ['123.us-east-1.elb.notaws.com:8443'], 'remote-gateway'],
    ['refunds', 'none', REFUNDS, ['106.96.90.233:443'], 'remote-gateway'],
    ['refunds', 'local', REFUNDS, ['10.0.1.1:8443'], 'local-gateway'],
    // Consul dials the peer's gateway by its hostname here.
    ['payments', 'local', PAYMENTS, ['10.0.1.1:8443'], 'local-gateway'],
  ])('%s, mode %j: has the name and the identity from the peer', (name, mode, of, at, path) => {
    expect(dialled(name, mode, [of])).toMatchObject({
      at,
      path,
      target: { serverName: of.peerMeta?.serverNames[0], identities: of.peerMeta?.identities, peer: 'cloud' },
    });
  });

  it('shows its peer, and no datacenter: that of the proxy is not its own', () => {
    const { facts } = dialled('refunds', '', [REFUNDS]);
    expect(facts).toMatchObject({ target: 'refunds', peer: 'cloud' });
    expect(facts).not.toHaveProperty('datacenter');
  });

  it('is not dialled through a local gateway while its server name is unknown', () => {
    const { at, unreachableReason } = dialled('refunds', 'local', undefined);
    expect([at, unreachableReason]).toEqual([[], 'exports of refunds by peer cloud unknown yet']);
  });

  it('that the peer does not export is not dialled', () => {
    const { at, unreachableReason } = dialled('refunds', 'local', []);
    expect([at, unreachableReason]).toEqual([
      [],
      'peer cloud exports no refunds to this cluster, or has no mesh gateway',
    ]);
  });
});

interface Given {
  readonly mode?: string;
  readonly instances?: readonly Instance[] | undefined;
  readonly gateways?: Catalog['gateways'];
}

/** What a proxy in dc1 dials for one target. */
function dial(over: Partial<ChainTarget>, given: Given): UpstreamTarget {
  const instances = 'instances' in given ? given.instances : [LAN];
  const around = environment(given, instances && { kind: 'selected', instances });
  const [found] = upstreamTargets({ service: 'db', targets: [chainTarget(over, given.mode ?? '')] }, around);
  if (found === undefined) throw new Error('expected a target, found none');
  return found;
}

function environment({ gateways }: Given, known: Selection | undefined): MeshAround {
  const all = ['dc1', 'dc2'].map((datacenter) => ({
    datacenter,
    gateways: [gateway(datacenter, `10.0.${datacenter.slice(-1)}.1`)],
  }));
  return { datacenter: 'dc1', gateways: gateways ?? all, instancesOf: () => known };
}

function chainTarget(over: Partial<ChainTarget>, mode: string): ChainTarget {
  return {
    id: 'db.default.default.dc2',
    service: 'db',
    datacenter: 'dc2',
    serverName: 'db.default.dc2.internal.td.consul',
    identities: [],
    instances: { filter: '', onlyPassing: false },
    external: false,
    decision: decideMode([{ scope: 'service-defaults', value: mode, object: 'service-defaults/web' }]),
    ...over,
  };
}
