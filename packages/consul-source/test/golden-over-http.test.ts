// Catalogs of Consul 1.16.4's golden test cases as its agent returns them, and the xDS output of its servers for each.
import { readFileSync } from 'node:fs';
import type { RouteSnapshot } from '@meshgate/core';
import { checkServiceNode, standInAgent } from '@meshgate/testkit';
import type { StandInAgentOptions, StandInMesh, StandInService } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { shown, Watched } from './watched.ts';

const TD1 = '11111111-2222-3333-4444-555555555555.consul';
const PTD = '1c053652-8512-4373-90cf-5a7f6263a994.consul';

interface Golden {
  readonly names: Readonly<Record<string, readonly string[]>>;
  /** Server names at which Consul's gateway terminates TLS, which Meshgate does not route. */
  readonly decrypts?: readonly string[];
}

const GOLDEN = new URL('../../mesh/test/golden/consul-1.16.4.json', import.meta.url);
const { cases } = JSON.parse(readFileSync(GOLDEN, 'utf8')) as { readonly cases: Readonly<Record<string, Golden>> };

function proxy(destination: string, address: string, over: Partial<StandInService> = {}): StandInService {
  const id = `${destination}-${address}`;
  const name = `${destination}-sidecar-proxy`;
  return { name, id, node: `node-${id}`, kind: 'connect-proxy', destination, address, port: 2_222, ...over };
}

const application = (name: string): StandInService => ({ name, port: 80 });
const inOrder = (name: string, suffixes: readonly string[]) => suffixes.map((one) => proxy(name, `172.16.1.${one}`));
const NINE = proxy('foo', '172.16.1.9', { status: 'warning' });
const FOO = [...inOrder('foo', ['3', '4', '5']), NINE];
const BAR = inOrder('bar', ['6', '7', '8']);
const LOCAL = [application('foo'), application('bar'), ...FOO, ...BAR];

function gateway(address: string, over: Partial<StandInService> = {}): StandInService {
  return {
    name: 'mesh-gateway',
    id: address,
    node: address,
    kind: 'mesh-gateway',
    port: 8_443,
    wan: { address, port: 443 },
    ...over,
  };
}

const DC2 = ['198.18.1.1', '198.18.1.2'].map((address) => gateway(address));
const REMOTE = {
  dc2: DC2,
  dc4: [gateway('123.us-west-2.elb.notaws.com')],
  dc6: [gateway('123.us-east-1.elb.notaws.com', { status: 'critical' })],
};

/** Resolvers of both services, and the instances that Consul selects by their filters. */
function subsets(defaultSubset?: string): StandInAgentOptions {
  const Subsets = {
    v1: { Filter: 'Service.Meta.version == v1' },
    v2: { Filter: 'Service.Meta.version == v2', OnlyPassing: true },
  };
  const entries = ['foo', 'bar'].map((Name) => {
    return { Kind: 'service-resolver', Name, Subsets, ...(defaultSubset && { DefaultSubset: defaultSubset }) };
  });
  const selected = { foo: { v1: FOO.slice(0, 2), v2: FOO.slice(2) }, bar: { v1: BAR.slice(0, 2), v2: BAR.slice(2) } };
  const responses = Object.entries(selected).flatMap(([name, { v1, v2 }]) =>
    Object.entries({ v1, v2 }).map(([version, instances]): [string, unknown] => [
      `health/connect/${name}?filter=Service.Meta.version+==+${version}`,
      instances.map((one) => checkServiceNode(one, 'dc1')),
    ]),
  );
  return { mesh: { services: LOCAL, entries }, responses: Object.fromEntries(responses) };
}

/** Each service has both instances of the golden cases. */
function exporting(names: readonly string[], exports: Readonly<Record<string, readonly string[]>>): StandInMesh {
  const services = names.flatMap((name) => [
    application(name),
    ...['10.10.1.1', '10.10.1.2'].map((address) => proxy(name, address, { port: 8_080 })),
  ]);
  return { services, peerings: [{ Name: 'peer-a' }, { Name: 'peer-b' }], exports };
}

function imported(name: string, peer: string, address: string, port: number): StandInService {
  const peerMeta = {
    SNI: [`${name}.default.default.${peer}.external.${PTD}`],
    SpiffeID: [`spiffe://${PTD}/ns/default/dc/dc1/svc/${name}`],
    Protocol: 'tcp',
  };
  return proxy(name, '1.23.45.67', {
    id: `${name}-${address}`,
    node: address,
    peer,
    peerMeta,
    port: 9_090,
    wan: { address, port },
  });
}

const HTTP = [{ Kind: 'proxy-defaults', Name: 'global', Config: { protocol: 'http' } }];
const THROUGH = [{ Kind: 'mesh', Peering: { PeerThroughMeshGateways: true } }];
const G1 = { 'peer-a': ['foo', 'bar'], 'peer-b': ['gir'] };

const dialled = (Name: string, ModifyIndex: number, id: string, ...PeerServerAddresses: readonly string[]) => ({
  Name,
  ModifyIndex,
  PeerServerName: `server.${id}`,
  PeerServerAddresses,
});
const SHARED = 'dc2.peering.6d942ff2-6a78-46f4-a52f-915e26c48797';
const LOAD_BALANCER = 'my-load-balancer-1234567890abcdef.elb.us-east-2.amazonaws.com:8080';

const CASES: Readonly<Record<string, StandInAgentOptions>> = {
  'mesh-gateway': { mesh: { services: LOCAL, remoteGateways: REMOTE } },
  'mesh-gateway-no-services': {},
  'mesh-gateway-service-subsets': { ...subsets(), mesh: { ...subsets().mesh, remoteGateways: REMOTE } },
  'mesh-gateway-default-service-subset': {
    ...subsets('v2'),
    mesh: { ...subsets('v2').mesh, remoteGateways: { dc2: DC2 } },
  },
  'mesh-gateway-with-exported-peered-services': { mesh: exporting(['foo', 'bar', 'gir'], G1) },
  'mesh-gateway-with-exported-peered-services-http': {
    mesh: { ...exporting(['foo', 'bar', 'gir'], G1), entries: HTTP },
  },
  'mesh-gateway-with-imported-peered-services': {
    mesh: {
      peerings: [{ Name: 'peer-a' }, { Name: 'peer-b' }],
      services: [
        { ...application('db'), node: 'db', peer: 'peer-a' },
        { ...application('alt'), node: 'alt', peer: 'peer-b' },
        imported('db', 'peer-a', '10.40.1.1', 8_080),
        imported('db', 'peer-a', '10.40.1.2', 8_080),
        imported('alt', 'peer-b', 'alt.us-east-1.elb.notaws.com', 8_443),
      ],
    },
  },
  'mesh-gateway-peering-control-plane': {
    mesh: {
      entries: THROUGH,
      servers: [
        { node: 'replica', address: '127.0.0.10', meta: { grpc_tls_port: '8503', read_replica: 'true' } },
        { node: 'node1', address: '127.0.0.1', meta: { grpc_tls_port: '8503' } },
        { node: 'node2', address: '127.0.0.2', meta: { grpc_tls_port: '8503' } },
        { node: 'node3', address: '127.0.0.3', meta: { grpc_port: '8502' } },
        { node: 'node4', address: '127.0.0.4', meta: { grpc_tls_port: 'bad' } },
      ],
    },
  },
  'mesh-gateway-with-peer-through-mesh-gateway-enabled': {
    mesh: {
      entries: THROUGH,
      // None of them is selected.
      servers: [{ node: 'replica', address: '127.0.0.10', meta: { read_replica: 'true' } }],
      peerings: [
        {
          ...dialled('peer-a', 2, 'dc2.peering.f3f41279-001d-42bb-912e-f6103fb036b8', '1.2.3.4:5200'),
          State: 'TERMINATED',
        },
        { Name: 'peer-b', ModifyIndex: 3 },
        dialled('peer-c-prime', 20, SHARED, '9.10.11.12:5200', '13.14.15.16:5200'),
        dialled('peer-c', 10, SHARED, '5.6.7.8:5200'),
        dialled('peer-d', 4, 'dc3.peering.f622dc37-7238-4485-ab58-0f53864a9ae5', LOAD_BALANCER),
      ],
    },
  },
};

describe.concurrent('routes from HTTP are those that Consul 1.16.4 configures in Envoy in its golden case', () => {
  it.each(Object.entries(CASES))('%s', async (name, options) => {
    await using agent = await standInAgent({ version: '1.16', ...options });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const { names, decrypts = [] } = cases[name] ?? { names: {} };
    const expected = { ...names, ...Object.fromEntries(decrypts.map((one) => [one, []])) };
    // Data about other datacenters may arrive a moment later.
    const found = await routes.until((at) => Object.keys(table(at)).length >= Object.keys(expected).length);
    expect(table(found)).toEqual(expected);
  });
});

/** Backends by server name, as in the golden file, without the bare datacenter name, which Consul leaves out. */
function table(at: RouteSnapshot): Readonly<Record<string, readonly string[]>> {
  const rows = at.routes.map(({ name, serverNames: [first = ''] }): [string, readonly string[]] => {
    const backends = shown(at, name) ?? '';
    return [first.replace(TD1, 'TD1').replace(PTD, 'PTD'), backends === '' ? [] : backends.split(', ')];
  });
  return Object.fromEntries(rows);
}
