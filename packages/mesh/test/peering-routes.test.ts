import { describe, expect, it } from 'vitest';
import { derivePeeringRoutes, deriveRoutes, replicated, serviceIdentity } from '../src/index.ts';
import type {
  Catalog,
  ExportedService,
  RoutingGateway,
  ImportedService,
  Instance,
  ClusterPeer,
  PeeringCatalog,
} from '../src/index.ts';
import { instance } from './instance.ts';

const TD = '11111111-2222-3333-4444-555555555555.consul';
const GATEWAY_ID = `spiffe://${TD}/gateway/mesh/dc/dc1`;
const PTD = '1c053652-8512-4373-90cf-5a7f6263a994.consul';

describe('an exported service', () => {
  it('is routed by one name for each peer that may use it, to its own instances', () => {
    expect(summary({ peers: [peer('east'), peer('west')], exports: [exported(['east', 'west'])] })).toEqual([
      [`exported:east/db db.default.default.east.external.${TD}`, '10.0.0.1:8080'],
      [`exported:west/db db.default.default.west.external.${TD}`, '10.0.0.1:8080'],
    ]);
  });

  it('shows its consumer, the rule behind it, and the state of the peering', () => {
    const { routes } = derive({ peers: [peer('east')], exports: [exported(['east'])] });
    expect(routes[0]?.origin).toEqual({
      rule: 'exported to peer east',
      instances: 'all Connect instances',
      health: '1 of 1 healthy',
      service: 'db',
      namespace: 'default',
      datacenter: 'dc1',
      peer: 'east',
      peering: 'ACTIVE',
      protocol: 'tcp',
    });
  });

  it('leads to the subset and the service of its chain, with the timeout, the balance and the health rule there', () => {
    const [one, two] = [at('10.0.0.2'), at('10.0.0.3', { checks: [{ id: 'mem', status: 'warning' }] })];
    const api = {
      name: 'api',
      instances: [one, two, at('10.0.0.4')],
      resolver: {
        subsets: { v2: { filter: 'Service.Meta.version == v2', onlyPassing: true } },
        connectTimeoutMs: 33_000,
        loadBalancer: 'least_request',
      },
      selections: { v2: { kind: 'selected', instances: [one, two] } as const },
    };
    const target = { service: 'api', subset: 'v2', datacenter: 'dc1' };
    const exports = [exported(['east'], { protocol: 'tcp', target })];
    const { routes } = derive({ peers: [peer('east')], exports }, { services: [db(), api] });
    expect(routes[0]?.backends.map(({ address, healthy }) => [address.host, healthy])).toEqual([
      ['10.0.0.2', true],
      ['10.0.0.3', false],
    ]);
    expect(routes[0]).toMatchObject({
      connectTimeoutMs: 33_000,
      balance: 'least_connections',
      origin: { target: 'api', subset: 'v2' },
    });
  });

  it.each([
    ['has no instance that speaks Connect', { services: [{ ...db(), instances: [] }] }],
    ['does not exist', { services: [] }],
  ])('has no route while it %s', (_why, over) => {
    expect(derive({ peers: [peer('east')], exports: [exported(['east'])] }, over)).toEqual({
      routes: [],
      problems: [],
    });
  });

  it.each([
    ['is not peered', []],
    ['is being deleted', [{ ...peer('east'), isDeleted: true }]],
  ])('has no route for a cluster that %s', (_why, peers) => {
    expect(derive({ peers, exports: [exported(['east'])] }).routes).toEqual([]);
  });

  it('is never the service of Consul itself', () => {
    const exports = [{ ...exported(['east']), name: 'consul' }];
    expect(derive({ peers: [peer('east')], exports }, { services: [{ ...db(), name: 'consul' }] }).routes).toEqual([]);
  });

  it('has its name in lower case for a peer with capitals', () => {
    const { routes } = derive({ peers: [peer('East')], exports: [exported(['east'])] });
    expect(routes[0]?.serverNames).toEqual([`db.default.default.east.external.${TD}`]);
  });

  it.each(['http', 'http2', 'grpc'])('with protocol %s has no backend, and shows what to set', (protocol) => {
    const { routes, problems } = derive({ peers: [peer('east')], exports: [exported(['east'], chain(protocol))] });
    expect(routes[0]?.backends).toEqual([]);
    expect(routes[0]?.origin?.['refused']).toMatch(
      /^not routed, .* deny intention .*; set Protocol = "tcp" in service-defaults\/db, or httpExports: passthrough$/,
    );
    expect(problems).toEqual([{ path: ['exported-services', 'db'], message: routes[0]?.origin?.['refused'] }]);
  });

  it('with protocol http is forwarded if that is enabled, with a warning', () => {
    const given = { peers: [peer('east')], exports: [exported(['east'], chain('http'))] };
    const { routes, problems } = derive(given, {}, { wanFederation: false, httpExports: 'passthrough' });
    expect(routes[0]?.backends).toHaveLength(1);
    expect(routes[0]?.origin?.['warning']).toContain('deny intention');
    expect(problems).toEqual([{ path: ['exported-services', 'db'], message: routes[0]?.origin?.['warning'] }]);
  });

  it('leads to the local failover targets of its chain, as backups, if that is enabled', () => {
    const api = { name: 'api', instances: [at('10.0.0.9')], selections: {} };
    const failover = [
      { service: 'db', datacenter: 'dc2' },
      { service: 'api', datacenter: 'dc1' },
      { service: 'db', datacenter: 'dc1', peer: 'cloud' },
      { service: 'ghost', datacenter: 'dc1' },
    ];
    const exports = [exported(['east'], { protocol: 'tcp', target: { service: 'db', datacenter: 'dc1' }, failover })];
    const given = { peers: [peer('east')], exports };
    const services = { services: [db(), api] };
    const backends = (gateway: RoutingGateway): readonly unknown[] =>
      (derive(given, services, gateway).routes[0]?.backends ?? []).map(({ address, priority }) => [
        address.host,
        priority ?? 0,
      ]);
    expect(backends({ wanFederation: false })).toEqual([['10.0.0.1', 0]]);
    const failing = { wanFederation: false, exportFailover: true };
    expect(backends(failing)).toEqual([
      ['10.0.0.1', 0],
      ['10.0.0.9', 1],
    ]);
    expect(derive(given, services, failing).routes[0]?.origin).toMatchObject({ failover: 'api, ghost' });
  });

  it('with an unknown chain leads nowhere: it might be one that must not be forwarded', () => {
    const { chain: _chain, ...unknown } = exported(['east']);
    const { routes, problems } = derive({ peers: [peer('east')], exports: [unknown] });
    expect(routes[0]).toMatchObject({
      backends: [],
      origin: { refused: expect.stringContaining('unknown') as string },
    });
    expect(problems).toEqual([]);
  });
});

describe('an imported service', () => {
  it('is routed by the name from the peer, to the WAN addresses of its gateways: hostnames and IP addresses together', () => {
    const imports = [imported(['10.40.2.1', 8080], ['gw.example.com', 8443])];
    expect(summary({ peers: [peer('cloud')], imports })).toEqual([
      [`imported:cloud/db db.default.default.us.external.${PTD}`, '10.40.2.1:8080', 'gw.example.com:8443'],
    ]);
  });

  it('is not reached through a gateway in maintenance while there is another one', () => {
    const [service] = [imported(['10.40.2.1', 8080], ['10.40.2.2', 8080])];
    const [first, second] = service.instances;
    const maintained = { ...first, checks: [{ id: 'db:overall-check', status: 'maintenance' }] } as Instance;
    const { routes } = derive({
      peers: [peer('cloud')],
      imports: [{ ...service, instances: [maintained, second as Instance] }],
    });
    expect(routes[0]?.backends.map(({ healthy }) => healthy)).toEqual([false, true]);
    expect(routes[0]?.origin?.['unhealthy']).toContain('maintenance');
  });

  it('has the same backends for any order of gateways that share an address, a healthy one first', () => {
    const service = imported(['198.18.0.1', 443], ['198.18.0.1', 443]);
    const [one, two] = service.instances as [Instance, Instance];
    const down: Instance = { ...one, checks: [{ id: 'overall-check', status: 'critical' }] };
    const backends = (...instances: readonly Instance[]) =>
      derive({ peers: [peer('cloud')], imports: [{ ...service, instances }] }).routes[0]?.backends;
    expect(backends(down, two)?.map(({ healthy }) => healthy)).toEqual([true, false]);
    expect(backends(two, down)).toEqual(backends(down, two));
  });

  it('keeps its route while the peering fails, and reports it', () => {
    const { routes, problems } = derive({
      peers: [peer('cloud', 'FAILING')],
      imports: [imported(['10.40.2.1', 8080])],
    });
    expect(routes[0]).toMatchObject({ backends: [{ healthy: true }], origin: { peering: 'FAILING' } });
    expect(problems).toEqual([
      { path: ['peering', 'cloud'], message: 'the peering is FAILING, keeping the routes replicated last' },
    ]);
  });

  it('loses its name as soon as the deletion of its peering begins, whatever is still replicated', () => {
    const peers = [{ ...peer('cloud', 'ACTIVE'), isDeleted: true }];
    expect(derive({ peers, imports: [imported(['10.40.2.1', 8080])] })).toEqual({ routes: [], problems: [] });
  });

  it('of which the peer sent only proxies has no route, as in Consul, and this is reported', () => {
    const imports = [{ ...imported(['10.40.2.1', 8080]), proxiesOnly: true }];
    const { routes, problems } = derive({ peers: [peer('cloud')], imports });
    expect(routes).toEqual([]);
    expect(problems).toMatchObject([{ path: ['imported', 'cloud', 'db'] }]);
  });

  it('without its own name is ignored by a gateway', () => {
    const service = imported(['10.40.2.1', 8080]);
    const instances = service.instances.map(({ peerMeta: _peerMeta, ...plain }) => plain);
    expect(derive({ peers: [peer('cloud')], imports: [{ ...service, instances }] }).routes).toEqual([]);
  });

  it('has both names while the peer changes its trust domain', () => {
    const [one, two] = [imported(['10.40.2.1', 8080]), imported(['10.40.2.2', 8080])];
    const renamed = two.instances.map((each) => ({
      ...each,
      peerMeta: { serverNames: ['db.default.default.us.external.other.consul'], identities: [], protocol: 'tcp' },
    }));
    const imports = [{ ...one, instances: [...one.instances, ...renamed] }];
    expect(summary({ peers: [peer('cloud')], imports })).toEqual([
      [`imported:cloud/db db.default.default.us.external.${PTD}`, '10.40.2.1:8080'],
      ['imported:cloud/db#2 db.default.default.us.external.other.consul', '10.40.2.2:8080'],
    ]);
  });
});

describe("the servers' own connections", () => {
  const dialled: ClusterPeer = {
    ...peer('cloud'),
    serverName: `server.cloud-dc.peering.${PTD}`,
    serverAddresses: ['gw.example.com:8443', '203.0.113.5:8443', '[2001:db8::1]:8443'],
  };

  it('are routed to every address of a peer, hostnames and IP addresses together', () => {
    expect(summary({ peers: [dialled], throughGateways: true })).toEqual([
      [
        `remote-peering-servers:cloud server.cloud-dc.peering.${PTD}`,
        '203.0.113.5:8443',
        '[2001:db8::1]:8443',
        'gw.example.com:8443',
      ],
    ]);
  });

  it('are not routed unless they are to go through the gateways', () => {
    expect(summary({ peers: [dialled] })).toEqual([]);
  });

  it('are not routed to a peer under deletion', () => {
    expect(summary({ peers: [{ ...dialled, isDeleted: true }], throughGateways: true })).toEqual([]);
  });

  it('are routed to a peer that has ended the peering, with a warning, as by Consul', () => {
    const { routes, problems } = derive({ peers: [{ ...dialled, state: 'TERMINATED' }], throughGateways: true });
    expect(routes).toHaveLength(1);
    expect(problems).toMatchObject([{ path: ['peering', 'cloud'] }]);
  });

  it('are routed in the default partition only', () => {
    expect(derive({ peers: [dialled], throughGateways: true }, { partition: 'eu' }).routes).toEqual([]);
  });

  it('have a name without a backend while no server has a port for them, and none if all servers are read replicas', () => {
    const server = { ...instance('consul'), meta: { grpc_port: '8502' } };
    const { routes, problems } = derive({ throughGateways: true }, { servers: [server] });
    expect(routes).toMatchObject([{ serverNames: [`server.dc1.peering.${TD}`], backends: [] }]);
    expect(problems).toMatchObject([
      { path: ['service', 'consul'], message: expect.stringContaining('ports.grpc_tls') },
    ]);
    const replica = { ...server, meta: { grpc_tls_port: '8503', read_replica: 'true' } };
    expect(derive({ throughGateways: true }, { servers: [replica] })).toEqual({ routes: [], problems: [] });
  });

  it.each(['nonsense', '203.0.113.5', '203.0.113.5:0', 'unix:/run/consul.sock', '2001:db8::1:8443'])(
    'skip an invalid address, and report it: %s',
    (address) => {
      const peers = [{ ...dialled, serverAddresses: [address, '203.0.113.5:8443'] }];
      const { routes, problems } = derive({ peers, throughGateways: true });
      expect(routes[0]?.backends).toHaveLength(1);
      expect(problems).toEqual([
        {
          path: ['peering', 'cloud'],
          message: `expected a server address HOST:PORT, found ${JSON.stringify(address)}`,
        },
      ]);
    },
  );
});

describe('the replicated data of an exported service', () => {
  const identity = (service: string): string => serviceIdentity({ service, datacenter: 'dc1' }, TD);
  const gateway = instance('mesh-gateway', { kind: 'mesh-gateway', address: '10.1.1.1', port: 8443 });

  it.each([
    ['tcp with failover', 'tcp', ['mysql', 'failover'], [identity('mysql'), GATEWAY_ID, identity('failover')]],
    ['tcp', 'tcp', ['mysql'], [identity('mysql'), GATEWAY_ID]],
    ['grpc with failover', 'grpc', ['mysql', 'failover'], [identity('mysql'), GATEWAY_ID]],
  ])('lists the valid identities: %s', (_name, protocol, targets, identities) => {
    const service = { service: 'mysql', peer: 'my-peering', protocol, targetIdentities: targets.map(identity) };
    expect(replicated(service, [gateway], { datacenter: 'dc1', trustDomain: TD })).toMatchObject([
      {
        id: 'mysql-sidecar-proxy-instance-0',
        service: 'mysql-sidecar-proxy',
        kind: 'connect-proxy',
        address: '10.1.1.1',
        port: 8443,
        peerMeta: { serverNames: [`mysql.default.default.my-peering.external.${TD}`], identities, protocol },
      },
    ]);
  });

  it('has the worst status of its gateway', () => {
    const checks = (['passing', 'warning', 'critical'] as const).map((status) => ({ id: status, status }));
    const service = { service: 'mysql', peer: 'p', protocol: 'tcp', targetIdentities: [] };
    const [instanceOf] = replicated(service, [{ ...gateway, checks }], { datacenter: 'dc1', trustDomain: TD });
    expect(instanceOf?.checks).toEqual([{ id: 'mysql-sidecar-proxy-instance-0:overall-check', status: 'critical' }]);
  });
});

it('peering routes are part of the table of a gateway', () => {
  const peering = { ...NOTHING, peers: [peer('east')], exports: [exported(['east'])] };
  const { routes } = deriveRoutes(catalog({ peering }), { wanFederation: false });
  expect(routes.map(({ kind }) => kind)).toEqual(['local-service', 'exported-service']);
});

const NOTHING: PeeringCatalog = { peers: [], exports: [], imports: [], throughGateways: false };

function catalog(over: Partial<Catalog>): Catalog {
  const fixed = { datacenter: 'dc1', trustDomain: TD, dnsDomain: 'consul', gateways: [], servers: [] };
  return { ...fixed, services: [db()], ...over };
}

function derive(
  peering: Partial<PeeringCatalog>,
  over: Partial<Catalog> = {},
  gateway: RoutingGateway = { wanFederation: false },
): ReturnType<typeof deriveRoutes> {
  return derivePeeringRoutes(catalog({ peering: { ...NOTHING, ...peering }, ...over }), gateway);
}

function summary(peering: Partial<PeeringCatalog>): readonly (readonly string[])[] {
  return derive(peering).routes.map(({ name, serverNames, backends }) => [
    `${name} ${serverNames.join(' ')}`,
    ...backends.map(({ address: { host, port } }) => `${host.includes(':') ? `[${host}]` : host}:${port}`),
  ]);
}

function db(): Catalog['services'][number] {
  return { name: 'db', instances: [instance('db')], selections: {} };
}

function at(address: string, over: Partial<Instance> = {}): Instance {
  return instance('api', { address, ...over });
}

function peer(name: string, state = 'ACTIVE'): ClusterPeer {
  return { name, state, isDeleted: false, serverAddresses: [], roots: [], modifyIndex: 1 };
}

function chain(protocol: string): ExportedService['chain'] {
  return { protocol, target: { service: 'db', datacenter: 'dc1' } };
}

function exported(peers: readonly string[], of: ExportedService['chain'] = chain('tcp')): ExportedService {
  return { name: 'db', peers, ...(of === undefined ? {} : { chain: of }) };
}

function imported(...wan: readonly (readonly [string, number])[]): ImportedService {
  const peerMeta = {
    serverNames: [`db.default.default.us.external.${PTD}`],
    identities: [`spiffe://${PTD}/ns/default/dc/cloud-dc/svc/db`],
    protocol: 'tcp',
  };
  const instances = wan.map(([address, port]) =>
    instance('db', { address: '10.9.9.9', port: 9090, taggedAddresses: { wan: { address, port } }, peerMeta }),
  );
  return { name: 'db', peer: 'cloud', instances };
}
