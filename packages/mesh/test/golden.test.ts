import { readFileSync } from 'node:fs';
import type { Route } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { deriveRoutes } from '../src/index.ts';
import type {
  Catalog,
  CatalogService,
  ExportChain,
  ExportedService,
  RoutingGateway,
  Instance,
  ClusterPeer,
  GatewayResolver,
} from '../src/index.ts';
import { instance } from './instance.ts';

const TD1 = '11111111-2222-3333-4444-555555555555.consul';
const PTD = '1c053652-8512-4373-90cf-5a7f6263a994.consul';

interface Golden {
  readonly names?: Readonly<Record<string, readonly string[]>>;
  readonly decrypts?: readonly string[];
  readonly connectTimeouts?: Readonly<Record<string, string>>;
  readonly balance?: Readonly<Record<string, string>>;
  readonly keepalive?: readonly string[];
}

const { cases } = JSON.parse(readFileSync(new URL('golden/consul-1.16.4.json', import.meta.url), 'utf8')) as {
  readonly cases: Readonly<Record<string, Golden>>;
};

describe("routes of the local datacenter and of others agree with Consul's golden case", () => {
  it.each<[string, Partial<Catalog>]>([
    ['mesh-gateway', { services: [foo(), bar()], gateways: remotes() }],
    ['mesh-gateway-no-services', {}],
    [
      'mesh-gateway-newer-information-in-federation-states',
      { services: [foo(), bar()], gateways: [dc2(1, '198.18.1.1', '198.18.1.2'), dc2(2, '198.18.1.3')] },
    ],
    [
      'mesh-gateway-older-information-in-federation-states',
      { services: [foo(), bar()], gateways: [dc2(2, '198.18.1.1', '198.18.1.2'), dc2(1, '198.18.1.3')] },
    ],
    ['mesh-gateway-service-subsets', { services: [foo(SUBSETS), bar(SUBSETS)], gateways: remotes() }],
    [
      'mesh-gateway-default-service-subset',
      {
        services: [foo({ ...SUBSETS, defaultSubset: 'v2' }), bar({ ...SUBSETS, defaultSubset: 'v2' })],
        gateways: [dc2()],
      },
    ],
  ])('%s', (name, given) => {
    expect(table(routes(given))).toEqual(golden(name).names);
  });

  it('mesh-gateway-service-timeouts', () => {
    const found = routes({ services: [foo(), bar({ ...SUBSETS, connectTimeoutMs: 10_000 })] });
    const timeouts = found.flatMap((route) =>
      route.connectTimeoutMs === undefined ? [] : [[short(route), `${route.connectTimeoutMs / 1_000}s`] as const],
    );
    expect(Object.fromEntries(timeouts)).toEqual(golden('mesh-gateway-service-timeouts').connectTimeouts);
  });

  it.each([
    ['mesh-gateway-non-hash-lb-injected', 'least_request'],
    ['mesh-gateway-hash-lb-ignored', 'ring_hash'],
  ])('%s', (name, loadBalancer) => {
    const found = routes({ services: [foo(), bar({ ...SUBSETS, loadBalancer })] });
    const balanced = found.flatMap((route) => (route.balance === undefined ? [] : [short(route)]));
    expect(balanced).toEqual(Object.keys(golden(name).balance ?? {}));
  });

  it('mesh-gateway-tcp-keepalives', () => {
    const gateway = { wanFederation: false, remoteKeepAlive: { idleMs: 120_000, intervalMs: 60_000, probes: 7 } };
    const found = deriveRoutes(catalog({ services: [foo()], gateways: remotes() }), gateway).routes;
    const kept = found.flatMap((route) => (route.keepAlive === undefined ? [] : [short(route)]));
    expect(kept).toEqual(golden('mesh-gateway-tcp-keepalives').keepalive);
  });
});

describe("routes of peering agree with Consul's golden case", () => {
  it('mesh-gateway-with-exported-peered-services', () => {
    const found = routes(exporting(['foo', 'bar', 'gir'], [...G1_EXPORTS]));
    expect(table(found)).toEqual(golden('mesh-gateway-with-exported-peered-services').names);
  });

  it('mesh-gateway-with-exported-peered-services-http, but nothing is forwarded where Consul decrypts', () => {
    const found = routes(
      exporting(
        ['foo', 'bar', 'gir'],
        G1_EXPORTS.map((one) => ({ ...one, chain: chainTo(one.name, 'http') })),
      ),
    );
    const { names, decrypts = [] } = golden('mesh-gateway-with-exported-peered-services-http');
    expect(table(found)).toEqual({ ...names, ...Object.fromEntries(decrypts.map((name) => [name, []])) });
  });

  it('mesh-gateway-with-exported-peered-services-http, with the same names when forwarding is enabled', () => {
    const given = exporting(
      ['foo', 'bar', 'gir'],
      G1_EXPORTS.map((one) => ({ ...one, chain: chainTo(one.name, 'http') })),
    );
    const found = deriveRoutes(catalog(given), { ...GATEWAY, httpExports: 'passthrough' }).routes;
    expect(table(found)).toEqual(golden('mesh-gateway-with-exported-peered-services').names);
  });

  it('mesh-gateway-with-exported-peered-services-http-with-router, but a router leads nowhere', () => {
    const found = routes(exporting(['db', 'alt'], [{ name: 'db', peers: ['peer-a'], chain: { protocol: 'http' } }]));
    const { names, decrypts = [] } = golden('mesh-gateway-with-exported-peered-services-http-with-router');
    expect(table(found)).toEqual({ ...names, ...Object.fromEntries(decrypts.map((name) => [name, []])) });
  });

  it('mesh-gateway-with-imported-peered-services, but IP addresses are used besides hostnames', () => {
    const found = routes({
      peering: {
        ...NO_PEERING,
        peers: [peer('peer-a'), peer('peer-b')],
        imports: [
          imported('db', 'peer-a', ['10.40.1.1', 8080], ['10.40.1.2', 8080]),
          imported('alt', 'peer-b', ['10.40.2.1', 8080], ['alt.us-east-1.elb.notaws.com', 8443]),
        ],
      },
    });
    const { names } = golden('mesh-gateway-with-imported-peered-services');
    expect(table(found)).toEqual({
      ...names,
      'alt.default.default.peer-b.external.PTD': ['10.40.2.1:8080', 'alt.us-east-1.elb.notaws.com:8443'],
    });
  });

  it('mesh-gateway-peering-control-plane', () => {
    const servers = [
      server('replica', '127.0.0.10', { grpc_tls_port: '8503', read_replica: 'true' }),
      server('node1', '127.0.0.1', { grpc_tls_port: '8503' }),
      server(
        'node2',
        '127.0.0.2',
        { grpc_tls_port: '8503' },
        { wan: { address: 'consul.server.dc1.my-domain', port: 10_101 } },
      ),
      server('node3', '127.0.0.3', { grpc_port: '8502' }),
      server('node4', '127.0.0.4', { grpc_tls_port: 'bad' }),
    ];
    const found = routes({ servers, peering: { ...NO_PEERING, throughGateways: true } });
    expect(table(found)).toEqual(golden('mesh-gateway-peering-control-plane').names);
  });

  it('mesh-gateway-with-peer-through-mesh-gateway-enabled', () => {
    const shared = 'server.dc2.peering.6d942ff2-6a78-46f4-a52f-915e26c48797';
    const dialled = (
      name: string,
      index: number,
      serverName: string,
      ...serverAddresses: readonly string[]
    ): ClusterPeer => ({
      ...peer(name),
      modifyIndex: index,
      serverName,
      serverAddresses,
    });
    const peers = [
      {
        ...dialled('peer-a', 2, 'server.dc2.peering.f3f41279-001d-42bb-912e-f6103fb036b8', '1.2.3.4:5200'),
        state: 'TERMINATED',
      },
      { ...peer('peer-b'), modifyIndex: 3 },
      dialled('peer-c-prime', 20, shared, '9.10.11.12:5200', '13.14.15.16:5200'),
      dialled('peer-c', 10, shared, '5.6.7.8:5200'),
      dialled(
        'peer-d',
        4,
        'server.dc3.peering.f622dc37-7238-4485-ab58-0f53864a9ae5',
        'my-load-balancer-1234567890abcdef.elb.us-east-2.amazonaws.com:8080',
      ),
    ];
    const found = routes({ peering: { ...NO_PEERING, peers, throughGateways: true } });
    expect(table(found)).toEqual(golden('mesh-gateway-with-peer-through-mesh-gateway-enabled').names);
  });

  it.each([
    ['another datacenter', { datacenter: 'dc2' }],
    ['a peer', { datacenter: 'dc1', peer: 'peer-b' }],
    ['another partition', { datacenter: 'dc1', partition: 'eu' }],
  ])('of an export whose chain leads to %s: the name exists without a backend', (_name, location) => {
    const chain = { protocol: 'tcp', target: { service: 'web', ...location } };
    const given = exporting(['web'], [{ name: 'web', peers: ['peer-a'], chain }]);
    const derived = deriveRoutes(catalog(given), GATEWAY);
    expect(table(derived.routes)['web.default.default.peer-a.external.TD1']).toEqual([]);
    expect(derived.problems).toMatchObject([{ path: ['exported-services', 'web'] }]);
  });
});

const GATEWAY: RoutingGateway = { wanFederation: false };
const NO_PEERING = { peers: [], exports: [], imports: [], throughGateways: false };

const SUBSETS: GatewayResolver = {
  subsets: {
    v1: { filter: 'Service.Meta.version == v1', onlyPassing: false },
    v2: { filter: 'Service.Meta.version == v2', onlyPassing: true },
  },
};

const G1_EXPORTS: readonly ExportedService[] = [
  { name: 'foo', peers: ['peer-a'], chain: chainTo('foo', 'tcp') },
  { name: 'bar', peers: ['peer-a'], chain: chainTo('bar', 'tcp') },
  { name: 'gir', peers: ['peer-b'], chain: chainTo('gir', 'tcp') },
];

function golden(name: string): Golden {
  return cases[name] ?? {};
}

function catalog(over: Partial<Catalog>): Catalog {
  return { datacenter: 'dc1', trustDomain: TD1, dnsDomain: 'consul', services: [], gateways: [], servers: [], ...over };
}

function routes(over: Partial<Catalog>): readonly Route[] {
  return deriveRoutes(catalog(over), GATEWAY).routes;
}

/** Backends by server name, as in the golden file. The bare datacenter name, which Consul leaves out, is left out. */
function table(found: readonly Route[]): Readonly<Record<string, readonly string[]>> {
  const backends = ({ backends: list }: Route): readonly string[] =>
    list.map(({ address, healthy }) => `${address.host}:${address.port}${healthy ? '' : ' unhealthy'}`);
  return Object.fromEntries(found.map((route) => [short(route), backends(route)]));
}

function short({ serverNames }: Route): string {
  return (serverNames[0] ?? '').replace(TD1, 'TD1').replace(PTD, 'PTD');
}

function foo(resolver?: GatewayResolver): CatalogService {
  const [three, four, five] = ['.3', '.4', '.5'].map((suffix) => at('foo', suffix)) as [Instance, Instance, Instance];
  const nine = at('foo', '.9', { checks: [{ id: 'mem', status: 'warning' }] });
  return service('foo', [three, four, five, nine], resolver, [
    [three, four],
    [five, nine],
  ]);
}

function bar(resolver?: GatewayResolver): CatalogService {
  const [six, seven, eight] = ['.6', '.7', '.8'].map((suffix) => at('bar', suffix)) as [Instance, Instance, Instance];
  return service('bar', [six, seven, eight], resolver, [[six, seven], [eight]]);
}

function service(
  name: string,
  instances: readonly Instance[],
  resolver: GatewayResolver | undefined,
  [v1, v2]: readonly [readonly Instance[], readonly Instance[]],
): CatalogService {
  if (resolver === undefined) return { name, instances, selections: {} };
  const selections = { v1: { kind: 'selected', instances: v1 }, v2: { kind: 'selected', instances: v2 } } as const;
  return { name, instances, resolver, selections };
}

function at(name: string, suffix: string, over: Partial<Instance> = {}): Instance {
  return instance(name, { address: `172.16.1${suffix}`, port: 2222, ...over });
}

function remotes(): Catalog['gateways'] {
  const critical = { checks: [{ id: 'mem', status: 'critical' }] } as const;
  return [
    dc2(),
    { datacenter: 'dc4', gateways: [gatewayAt('123.us-west-2.elb.notaws.com', 1)] },
    { datacenter: 'dc6', gateways: [gatewayAt('123.us-east-1.elb.notaws.com', 1, critical)] },
  ];
}

function dc2(modifyIndex = 1, ...addresses: readonly string[]): Catalog['gateways'][number] {
  const used = addresses.length === 0 ? ['198.18.1.1', '198.18.1.2'] : addresses;
  return { datacenter: 'dc2', gateways: used.map((address) => gatewayAt(address, modifyIndex)) };
}

function gatewayAt(address: string, modifyIndex: number, over: Partial<Instance> = {}): Instance {
  const taggedAddresses = { wan: { address, port: 443 } };
  return instance('mesh-gateway', { kind: 'mesh-gateway', port: 8443, taggedAddresses, modifyIndex, ...over });
}

function exporting(names: readonly string[], exports: readonly ExportedService[]): Partial<Catalog> {
  const instances = ['10.10.1.1', '10.10.1.2'].map((address) => instance('db', { address, port: 8080 }));
  return {
    services: names.map((name) => ({ name, instances, selections: {} })),
    peering: { ...NO_PEERING, peers: [peer('peer-a'), peer('peer-b')], exports },
  };
}

function chainTo(name: string, protocol: string): ExportChain {
  return { protocol, target: { service: name, datacenter: 'dc1' } };
}

function peer(name: string): ClusterPeer {
  return { name, state: 'ACTIVE', isDeleted: false, serverAddresses: [], roots: [], modifyIndex: 1 };
}

function imported(name: string, from: string, ...wan: readonly (readonly [string, number])[]) {
  const peerMeta = {
    serverNames: [`${name}.default.default.${from}.external.${PTD}`],
    identities: [`spiffe://${PTD}/ns/default/dc/dc1/svc/${name}`],
    protocol: 'tcp',
  };
  const instances = wan.map(([address, port]) =>
    instance(name, { nodeAddress: '1.23.45.67', port: 9090, taggedAddresses: { wan: { address, port } }, peerMeta }),
  );
  return { name, peer: from, instances };
}

function server(
  node: string,
  nodeAddress: string,
  meta: Readonly<Record<string, string>>,
  taggedAddresses: Instance['taggedAddresses'] = {},
): Instance {
  return instance('consul', { node, nodeAddress, address: '', port: 8300, meta, taggedAddresses });
}
