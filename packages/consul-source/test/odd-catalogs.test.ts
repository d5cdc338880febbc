// Catalogs as found in the field, and the routes of Consul 1.16 for them, by its rules for exports, names, health and
// addresses.
import type { RouteSnapshot } from '@meshgate/core';
import { standInAgent } from '@meshgate/testkit';
import type { StandInMesh, StandInService } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { shown, Watched } from './watched.ts';

const TD = '11111111-2222-3333-4444-555555555555.consul';
const EXPORTS = 'internal/ui/exported-services';

function proxy(destination: string, over: Partial<StandInService> = {}): StandInService {
  const name = `${destination}-sidecar-proxy`;
  return { name, kind: 'connect-proxy', destination, address: '10.0.0.1', port: 21_000, ...over };
}

/** What the peer `east` sends about its service `db`, for one of its gateways. */
function imported(id: string, over: Partial<StandInService>): StandInService {
  const peerMeta = { SNI: ['db.default.default.us.external.PEER.consul'], SpiffeID: [], Protocol: 'tcp' };
  return proxy('db', { id, node: id, peer: 'east', peerMeta, ...over });
}

/** Services with one proxy each. */
function services(...names: readonly string[]): readonly StandInService[] {
  return names.flatMap((name, index) => [{ name, port: 80 }, proxy(name, { port: 21_000 + index })]);
}

/** Routes by name: server names without the trust domain, and backends. */
function table({ routes }: RouteSnapshot, ofKind: string): Readonly<Record<string, string>> {
  const found = routes.filter(({ kind }) => kind === ofKind);
  return Object.fromEntries(
    found.map(({ name, serverNames }) => [serverNames[0]?.replace(`.${TD}`, '') ?? '', `${name} ${backends(name)}`]),
  );
  function backends(name: string): string {
    return shown({ version: '', routes }, name) ?? '';
  }
}

interface Case {
  readonly mesh: StandInMesh;
  readonly kind: string;
  readonly expected: Readonly<Record<string, string>>;
}

/** From the config entry alone: the agent does not report how the servers resolve it. */
const BY_ENTRY: Readonly<Record<string, Case>> = {
  'a wildcard stands for every service but Consul itself, beside others by name': {
    mesh: {
      services: services('db', 'api'),
      peerings: [{ Name: 'east' }, { Name: 'west' }],
      entries: [
        {
          Kind: 'exported-services',
          Name: 'default',
          Services: [
            { Name: '*', Consumers: [{ Peer: 'east' }] },
            { Name: 'db', Consumers: [{ Peer: 'west' }, { Peer: 'east' }, { Partition: 'other' }] },
          ],
        },
      ],
    },
    kind: 'exported-service',
    expected: {
      'api.default.default.east.external': 'exported:east/api 10.0.0.1:21001',
      'db.default.default.east.external': 'exported:east/db 10.0.0.1:21000',
      'db.default.default.west.external': 'exported:west/db 10.0.0.1:21000',
    },
  },
};

const BY_SERVERS: Readonly<Record<string, Case>> = {
  'names with dots, underscores and capitals are exported as they are, in lower case': {
    mesh: {
      services: services('v1.db', 'my_db', 'Api'),
      peerings: [{ Name: 'cloud-2' }],
      exports: { 'cloud-2': ['v1.db', 'my_db', 'Api'] },
    },
    kind: 'exported-service',
    expected: {
      'api.default.default.cloud-2.external': 'exported:cloud-2/Api 10.0.0.1:21002',
      'my_db.default.default.cloud-2.external': 'exported:cloud-2/my_db 10.0.0.1:21001',
      'v1.db.default.default.cloud-2.external': 'exported:cloud-2/v1.db 10.0.0.1:21000',
    },
  },
  'names that every object of JavaScript has are names like others': {
    mesh: {
      services: services('__proto__', 'constructor', 'toString'),
      peerings: [{ Name: 'constructor', State: 'constructor' }],
      exports: { constructor: ['__proto__', 'constructor', 'toString'] },
      entries: [
        {
          Kind: 'service-resolver',
          Name: 'constructor',
          DefaultSubset: 'toString',
          Subsets: { toString: { Filter: '' }, constructor: { Filter: '' } },
        },
      ],
    },
    kind: 'local-service',
    expected: {
      '__proto__.default.dc1.internal': 'service:__proto__ 10.0.0.1:21000',
      'constructor.default.dc1.internal': 'service:constructor 10.0.0.1:21001',
      'tostring.default.dc1.internal': 'service:toString 10.0.0.1:21002',
    },
  },
  'a subset that nobody defines is none, although every object has its name': {
    mesh: {
      services: services('db'),
      entries: [{ Kind: 'service-resolver', Name: 'db', DefaultSubset: 'constructor', Subsets: {} }],
    },
    kind: 'local-service',
    expected: { 'db.default.dc1.internal': 'service:db ' },
  },
  'a peer of before 1.14.4 with capitals is folded, and one that is being deleted has nothing': {
    mesh: {
      services: services('db'),
      peerings: [{ Name: 'East' }, { Name: 'west', State: 'ACTIVE', DeletedAt: '2026-11-28T00:00:00Z' }],
      exports: { East: ['db'], west: ['db'] },
    },
    kind: 'exported-service',
    expected: { 'db.default.default.east.external': 'exported:East/db 10.0.0.1:21000' },
  },
  'what is exported and redirects within the datacenter leads to the other service, and keeps its own name': {
    mesh: {
      services: services('db', 'db-new'),
      peerings: [{ Name: 'east' }],
      exports: { east: ['db'] },
      entries: [{ Kind: 'service-resolver', Name: 'db', Redirect: { Service: 'db-new' } }],
    },
    kind: 'exported-service',
    expected: { 'db.default.default.east.external': 'exported:east/db 10.0.0.1:21001' },
  },
  'what is exported and has no proxy, or is not there, has no name': {
    mesh: {
      services: [...services('db'), { name: 'plain', port: 80 }],
      peerings: [{ Name: 'east' }],
      exports: { east: ['db', 'plain', 'ghost'] },
    },
    kind: 'exported-service',
    expected: { 'db.default.default.east.external': 'exported:east/db 10.0.0.1:21000' },
  },
  'warning counts as healthy with its own weight, critical and maintenance do not': {
    mesh: {
      services: [
        { name: 'db', port: 80 },
        proxy('db'),
        proxy('db', {
          id: 'b',
          node: 'b',
          address: '10.0.0.2',
          status: 'warning',
          weights: { passing: 7, warning: 3 },
        }),
        proxy('db', { id: 'c', node: 'c', address: '10.0.0.3', status: 'critical' }),
        proxy('db', { id: 'd', node: 'd', address: '10.0.0.4', status: 'maintenance' }),
      ],
    },
    kind: 'local-service',
    expected: {
      'db.default.dc1.internal':
        'service:db 10.0.0.1:21000, 10.0.0.2:21000 w3, 10.0.0.3:21000 unhealthy, 10.0.0.4:21000 unhealthy',
    },
  },
  'gateways of another datacenter are all used, hostnames and addresses alike, by their health': {
    mesh: {
      remoteGateways: {
        dc2: [
          { name: 'gw', kind: 'mesh-gateway', port: 8_443, wan: { address: '198.18.0.1', port: 443 } },
          {
            name: 'gw',
            id: 'b',
            node: 'b',
            kind: 'mesh-gateway',
            port: 8_443,
            wan: { address: 'gw.example', port: 8_443 },
          },
          { name: 'edge', kind: 'mesh-gateway', address: '198.18.0.3', port: 443, status: 'critical' },
        ],
      },
    },
    kind: 'remote-datacenter',
    expected: {
      '*.dc2.internal': 'datacenter:dc2 198.18.0.1:443, 198.18.0.3:443 unhealthy, gw.example:8443',
    },
  },
  'what is exported to a peer is there in every state of its peering, once for each name': {
    mesh: {
      services: services('db'),
      peerings: [
        { Name: 'east', State: 'PENDING' },
        { Name: 'west', State: 'TERMINATED' },
        { Name: 'north', State: 'FAILING' },
      ],
      exports: { east: ['db', 'db'], west: ['db'], north: ['db'] },
    },
    kind: 'exported-service',
    expected: {
      'db.default.default.east.external': 'exported:east/db 10.0.0.1:21000',
      'db.default.default.north.external': 'exported:north/db 10.0.0.1:21000',
      'db.default.default.west.external': 'exported:west/db 10.0.0.1:21000',
    },
  },
  'an export that redirects to a service without instances has a name that leads nowhere': {
    mesh: {
      services: services('db'),
      peerings: [{ Name: 'east' }],
      exports: { east: ['db'] },
      entries: [{ Kind: 'service-resolver', Name: 'db', Redirect: { Service: 'gone' } }],
    },
    kind: 'exported-service',
    expected: { 'db.default.default.east.external': 'exported:east/db ' },
  },
  'gateways of a peer are reached at their WAN address, at their own where they have none, and at one that several share':
    {
      mesh: {
        peerings: [{ Name: 'east' }],
        services: [
          { name: 'db', port: 80, peer: 'east' },
          imported('1', { wan: { address: '198.18.0.1', port: 443 } }),
          imported('2', { wan: { address: '198.18.0.1', port: 443 }, status: 'critical' }),
          imported('3', { address: '10.9.0.3', port: 8_443 }),
          imported('4', { wan: { address: 'gw.example', port: 0 }, port: 9_443 }),
        ],
      },
      kind: 'imported-service',
      expected: {
        'db.default.default.us.external.peer.consul':
          'imported:east/db 10.9.0.3:8443, 198.18.0.1:443, 198.18.0.1:443 unhealthy, gw.example:9443',
      },
    },
  'gateways of other kinds have no route of their own, and an instance without a port is left out': {
    mesh: {
      services: [
        ...['ingress-gateway', 'api-gateway', 'mesh-gateway'].map((kind) => ({ name: kind, kind, port: 443 })),
        { name: 'db', port: 80 },
        proxy('db', { id: 'a', node: 'a', port: 0 }),
        proxy('db', { id: 'b', node: 'b', address: '[2001:db8::1]' }),
        proxy('db', { id: 'c', node: 'c', address: 'db.example' }),
      ],
    },
    kind: 'local-service',
    expected: { 'db.default.dc1.internal': 'service:db [2001:db8::1]:21000, db.example:21000' },
  },
  'of the own servers those take part in peering that have a port for it and vote': {
    mesh: {
      servers: [
        { node: 'a', address: '10.0.0.10', meta: { grpc_tls_port: '8503' } },
        { node: 'b', address: '10.0.0.11', meta: { grpc_port: '8502' } },
        { node: 'c', address: '10.0.0.12', meta: { grpc_tls_port: '8503', read_replica: 'true' } },
      ],
      peerings: [{ Name: 'east' }],
      entries: [{ Kind: 'mesh', Peering: { PeerThroughMeshGateways: true } }],
    },
    kind: 'peering-servers',
    expected: { 'server.dc1.peering': 'peering-servers:dc1 10.0.0.10:8503' },
  },
};

describe.concurrent('routes of an odd catalog', () => {
  const all = [
    ...Object.entries(BY_ENTRY).map(([what, each]) => [what, each, { [EXPORTS]: 'service:read' }] as const),
    ...Object.entries(BY_SERVERS).map(([what, each]) => [what, each, {}] as const),
  ];
  it.each(all)('%s', async (_what, { mesh, kind, expected }, denied) => {
    await using agent = await standInAgent({ mesh, denied });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const count = Object.keys(expected).length;
    const found = await routes.until((at) => Object.keys(table(at, kind)).length >= count);
    expect(table(found, kind)).toEqual(expected);
  });
});
