import type { RouteSnapshot } from '@meshgate/core';
import { standInAgent } from '@meshgate/testkit';
import type { ConsulVersion, StandInMesh } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { API, APPLICATIONS, CLOUD, DB, PTD, REFUNDS, REFUNDS_ITSELF } from './peered-mesh.ts';
import { shown, Watched } from './watched.ts';

const TD = '11111111-2222-3333-4444-555555555555.consul';
const MESH: StandInMesh = {
  services: [...APPLICATIONS, DB, API, REFUNDS, REFUNDS_ITSELF],
  servers: [{ node: 'server-1', address: '10.0.0.10', meta: { grpc_tls_port: '8503' } }],
  peerings: [CLOUD],
  exports: { cloud: ['db'] },
  entries: [{ Kind: 'mesh', Peering: { PeerThroughMeshGateways: true } }],
};

const ROUTES = {
  'service:db': '10.0.0.2:20000',
  'service:api': '10.0.0.3:20000',
  'exported:cloud/db': '10.0.0.2:20000',
  'imported:cloud/refunds': '203.0.113.9:443',
  'peering-servers:dc1': '10.0.0.10:8503',
  'remote-peering-servers:cloud': '203.0.113.9:443, gw.cloud.example:443',
};

function byName(snapshot: RouteSnapshot): Readonly<Record<string, string | undefined>> {
  return Object.fromEntries(snapshot.routes.map(({ name }) => [name, shown(snapshot, name)]));
}

/** No gateway is registered here, which has a warning of its own. */
function warningsOf({ warnings = [] }: RouteSnapshot): readonly string[] {
  return warnings.filter((warning) => !warning.startsWith('definition: '));
}

describe.each<ConsulVersion>(['1.13', '1.15', '1.16', '1.17'])('peering with an agent of %s', (version) => {
  it('has exports, imports, and the servers, all in the first snapshot', async () => {
    await using agent = await standInAgent({ version, mesh: MESH });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const first = await routes.until(() => true);
    expect(byName(first)).toEqual(ROUTES);
    const names = Object.fromEntries(first.routes.map(({ name, serverNames }) => [name, serverNames[0]]));
    expect(names['exported:cloud/db']).toBe(`db.default.default.cloud.external.${TD}`);
    expect(names['imported:cloud/refunds']).toBe(`refunds.default.default.here.external.${PTD}`);
    expect(names['peering-servers:dc1']).toBe(`server.dc1.peering.${TD}`);
    expect(names['remote-peering-servers:cloud']).toBe(`server.cloud-dc.peering.${PTD}`);
    expect(warningsOf(first)).toEqual([]);
  });

  it('removes all names of a peering at once when its deletion begins', { timeout: 30_000 }, async () => {
    await using agent = await standInAgent({ version, mesh: MESH });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => at.routes.length === 6);
    agent.change({ ...MESH, peerings: [{ ...CLOUD, State: 'ACTIVE', DeletedAt: '2026-11-28T02:43:12Z' }] });
    const after = await routes.until((at) => at.routes.length < 6);
    expect(Object.keys(byName(after)).toSorted()).toEqual(['peering-servers:dc1', 'service:api', 'service:db']);
  });
});

it('an agent of 1.8 has no peering, without a warning', async () => {
  await using agent = await standInAgent({ version: '1.8', mesh: { ...MESH, services: [...APPLICATIONS, DB] } });
  await using routes = new Watched(consulSource({ address: agent.address }));
  const first = await routes.until(() => true);
  expect(Object.keys(byName(first))).toEqual(['service:db']);
  expect(warningsOf(first)).toEqual([]);
});

describe('peering', () => {
  it('that the token cannot read gives no names of peers, and one warning with the missing rule', async () => {
    await using agent = await standInAgent({ mesh: MESH, denied: { 'peering*': 'peering:read' } });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const first = await routes.until(() => true);
    expect(Object.keys(byName(first)).toSorted()).toEqual(['service:api', 'service:db']);
    expect(warningsOf(first)).toEqual([expect.stringContaining('the token needs peering = "read"')]);
  });

  it('that is disabled has no names, without a warning', async () => {
    await using agent = await standInAgent({ mesh: { services: [...APPLICATIONS, DB] } });
    const body = 'peering must be enabled to use this endpoint';
    agent.misbehave({ kind: 'status', status: 500, body }, (path) => path === 'peerings');
    await using routes = new Watched(consulSource({ address: agent.address }));
    const first = await routes.until(() => true);
    expect(byName(first)).toEqual({ 'service:db': '10.0.0.2:20000' });
    expect(warningsOf(first)).toEqual([]);
  });

  it('follows exports and their protocols', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => at.routes.length === 6);
    agent.change({ ...MESH, exports: { cloud: ['db', 'api'] } });
    await routes.until((at) => shown(at, 'exported:cloud/api') === '10.0.0.3:20000');
    const entries = [...(MESH.entries ?? []), { Kind: 'service-defaults', Name: 'db', Protocol: 'http' }];
    agent.change({ ...MESH, entries, exports: { cloud: ['db', 'api'] } });
    const after = await routes.until((at) => shown(at, 'exported:cloud/db') === '');
    expect(warningsOf(after)).toEqual([expect.stringContaining('set Protocol = "tcp" in service-defaults/db')]);
    agent.change({ ...MESH, exports: { cloud: [] } });
    await routes.until((at) => shown(at, 'exported:cloud/api') === undefined);
  });

  it.each<[string, ConsulVersion, Readonly<Record<string, string>>]>([
    ['what its servers make of the entry', '1.16', {}],
    ['the list of exports', '1.17', { 'internal/ui/exported-services': 'service:read' }],
    ['the entry', '1.16', { 'internal/ui/exported-services': 'service:read' }],
    ['the entry', '1.17', { 'internal/ui/exported-services': 'service:read', 'exported-services': 'mesh:read' }],
  ])('has its exports from %s, by an agent of %s', async (_from, version, denied) => {
    const Services = [{ Name: 'db', Consumers: [{ Peer: 'cloud' }] }];
    const entries = [...(MESH.entries ?? []), { Kind: 'exported-services', Name: 'default', Services }];
    await using agent = await standInAgent({ version, mesh: { ...MESH, entries }, denied });
    await using routes = new Watched(consulSource({ address: agent.address }));
    expect(byName(await routes.until(() => true))).toEqual(ROUTES);
  });

  it('forwards http where that is enabled', async () => {
    const entries = [{ Kind: 'proxy-defaults', Name: 'global', Config: { protocol: 'http' } }];
    await using agent = await standInAgent({ mesh: { ...MESH, entries } });
    await using routes = new Watched(consulSource({ address: agent.address, httpExports: 'passthrough' }));
    const first = await routes.until(() => true);
    expect(shown(first, 'exported:cloud/db')).toBe('10.0.0.2:20000');
    expect(warningsOf(first)).toEqual([expect.stringContaining('deny intention')]);
  });

  it('has the failover targets of exports as backups where that is enabled', async () => {
    const [primary, backup] = ['db.default.default.dc1', 'api.default.default.dc1'];
    const location = { Namespace: 'default', Partition: 'default', Datacenter: 'dc1' };
    const Resolver = { Target: primary, Failover: { Targets: [backup] } };
    const db = {
      Protocol: 'tcp',
      StartNode: 'resolver:db',
      Nodes: { 'resolver:db': { Type: 'resolver', Name: primary, Resolver } },
      Targets: { [primary]: { Service: 'db', ...location }, [backup]: { Service: 'api', ...location } },
    };
    await using agent = await standInAgent({ mesh: { ...MESH, chains: { db } } });
    const options = { address: agent.address, exportFailover: true };
    await using routes = new Watched(consulSource(options));
    const { routes: found } = await routes.until(() => true);
    const { backends = [] } = found.find(({ name }) => name === 'exported:cloud/db') ?? {};
    expect(backends.map(({ address: { host }, priority }) => [host, priority])).toEqual([
      ['10.0.0.2', undefined],
      ['10.0.0.3', 1],
    ]);
  });

  it('keeps its routes while it is failing, and reports it', { timeout: 30_000 }, async () => {
    await using agent = await standInAgent({ mesh: MESH });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => at.routes.length === 6);
    agent.change({ ...MESH, peerings: [{ ...CLOUD, State: 'FAILING' }] });
    const after = await routes.until((at) => warningsOf(at).length > 0);
    expect(byName(after)).toEqual(ROUTES);
    expect(warningsOf(after)).toEqual([expect.stringContaining('the peering is FAILING')]);
  });

  it('that disappears from the list is only removed when the agent does not know it by name either', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => at.routes.length === 6);
    const queried = agent.requests.length;
    agent.misbehave({ kind: 'empty' }, (path) => path === 'peerings');
    await expect.poll(() => agent.requests.slice(queried)).toContain('GET peering/cloud');
    expect(byName(routes.latest ?? { version: '', routes: [] })).toEqual(ROUTES);
    agent.misbehave(undefined);
    const { peerings: _peerings, exports: _exports, ...rest } = MESH;
    agent.change({ ...rest, services: [...APPLICATIONS, DB, API] });
    const after = await routes.until((at) => at.routes.length < 4);
    // The next peer will connect through the gateways, too.
    expect(Object.keys(byName(after)).toSorted()).toEqual(['peering-servers:dc1', 'service:api', 'service:db']);
  });

  it('follows the gateways of a peer: a new one, and one in maintenance', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => at.routes.length === 6);
    const second = { ...REFUNDS, node: 'gw-2', wan: { address: 'gw.cloud.example', port: 443 } };
    const gateways = [{ ...REFUNDS, status: 'maintenance' }, second];
    agent.change({ ...MESH, services: [...APPLICATIONS, DB, API, ...gateways, REFUNDS_ITSELF] });
    await routes.until(
      (at) => shown(at, 'imported:cloud/refunds') === '203.0.113.9:443 unhealthy, gw.cloud.example:443',
    );
  });

  it.each([`db.default.dc1.internal.${TD}`, `*.default.external.${PTD}`, '*', `db.default.default.x.external.${TD}`])(
    'rejects a name that is not the peer’s own: %s',
    async (name) => {
      const { peerMeta } = REFUNDS;
      const stolen = { ...REFUNDS, peerMeta: { ...peerMeta, SNI: [name], SpiffeID: [], Protocol: 'tcp' } };
      const services = [...APPLICATIONS, DB, API, stolen, REFUNDS_ITSELF];
      await using agent = await standInAgent({ mesh: { ...MESH, services } });
      await using routes = new Watched(consulSource({ address: agent.address }));
      const first = await routes.until(() => true);
      expect(shown(first, 'imported:cloud/refunds')).toBeUndefined();
      expect(warningsOf(first)).toEqual([expect.stringContaining(`found "${name}": not routed`)]);
    },
  );

  it('that sends proxies of a service without an instance has no route to it, as in Consul, and a warning', async () => {
    await using agent = await standInAgent({ mesh: { ...MESH, services: [...APPLICATIONS, DB, API, REFUNDS] } });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const first = await routes.until(() => true);
    expect(shown(first, 'imported:cloud/refunds')).toBeUndefined();
    expect(warningsOf(first)).toEqual([expect.stringContaining('no instance of refunds itself')]);
    agent.change(MESH);
    const after = await routes.until((at) => shown(at, 'imported:cloud/refunds') !== undefined);
    expect(warningsOf(after)).toEqual([]);
  });

  it('has a name for its own servers before there is any peer, as soon as they are reached through gateways', async () => {
    const { peerings: _peerings, exports: _exports, entries = [], ...alone } = MESH;
    await using agent = await standInAgent({ mesh: { ...alone, services: [...APPLICATIONS, DB] } });
    await using routes = new Watched(consulSource({ address: agent.address }));
    expect(byName(await routes.until(() => true))).toEqual({ 'service:db': '10.0.0.2:20000' });
    agent.change({ ...alone, services: [...APPLICATIONS, DB], entries });
    await routes.until((at) => shown(at, 'peering-servers:dc1') === '10.0.0.10:8503');
    agent.change({ ...alone, services: [...APPLICATIONS, DB] });
    await routes.until((at) => shown(at, 'peering-servers:dc1') === undefined);
  });

  it.each(['filtered', 'mesh:read'])(
    'has names for servers where the token may read the entry mesh by its name, and not the list: %s',
    async (permission) => {
      await using agent = await standInAgent({ mesh: MESH, denied: { 'config/mesh': permission } });
      await using routes = new Watched(consulSource({ address: agent.address }));
      const first = await routes.until(() => true);
      expect(byName(first)).toEqual(ROUTES);
      expect(warningsOf(first)).toEqual([]);
      const { entries: _entries, ...without } = MESH;
      agent.change(without);
      await routes.until((at) => shown(at, 'peering-servers:dc1') === undefined);
      agent.change(MESH);
      await routes.until((at) => shown(at, 'peering-servers:dc1') !== undefined);
    },
  );

  it('keeps the exports to all peers when another one comes, however many there are', async () => {
    const meshOf = (count: number): StandInMesh => {
      const peers = Array.from({ length: count }, (_, index) => `peer-${index}`);
      return {
        ...MESH,
        peerings: peers.map((Name) => ({ Name })),
        exports: Object.fromEntries(peers.map((peer) => [peer, ['db']])),
        services: [...APPLICATIONS, DB],
      };
    };
    const exportsIn = ({ routes }: RouteSnapshot): number =>
      routes.filter(({ kind, backends }) => kind === 'exported-service' && backends.length > 0).length;
    await using agent = await standInAgent({ mesh: meshOf(2) });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => exportsIn(at) === 2);
    const seen: number[] = [];
    const complete = routes.until((at) => seen.push(exportsIn(at)) > 0 && exportsIn(at) === 8);
    for (let count = 3; count <= 8; count += 1) {
      agent.change(meshOf(count));
      await routes.until((at) => exportsIn(at) === count);
    }
    await complete;
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  it('outlives one answer that there is none, and ends with the second', { timeout: 60_000 }, async () => {
    await using agent = await standInAgent({ mesh: MESH });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => at.routes.length === 6);
    agent.misbehave({ kind: 'status', status: 404 }, (path) => path === 'peerings');
    const doubted = await routes.until((at) => warningsOf(at).some((one) => one.includes('keeping the peers')));
    expect(byName(doubted)).toEqual(ROUTES);
    const after = await routes.until((at) => at.routes.length < 6);
    expect(byName(after)).toEqual({ 'service:db': '10.0.0.2:20000', 'service:api': '10.0.0.3:20000' });
    expect(warningsOf(after)).toEqual([]);
  });

  it('keeps what peers export while the agent denies the list of nodes, and follows services by their names', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => at.routes.length === 6);
    const lost: string[] = [];
    const over = new AbortController();
    const watching = routes.until((at) => {
      for (const name of Object.keys(ROUTES)) if ((shown(at, name) ?? '') === '') lost.push(name);
      return over.signal.aborted;
    });
    agent.misbehave({ kind: 'status', status: 404 }, (path) => path === 'internal/ui/nodes');
    await expect.poll(() => agent.requests.filter((one) => one.includes('catalog/services')).length).toBeGreaterThan(1);
    agent.change({ ...MESH, services: [...APPLICATIONS, DB, { ...API, status: 'critical' }, REFUNDS, REFUNDS_ITSELF] });
    const changed = await routes.until((at) => shown(at, 'service:api') === '10.0.0.3:20000 unhealthy');
    expect(warningsOf(changed)).toEqual([]);
    over.abort();
    agent.misbehave(undefined);
    agent.change({ ...MESH, services: [...APPLICATIONS, DB, API] });
    await watching;
    expect(lost).toEqual([]);
    await routes.until((at) => shown(at, 'imported:cloud/refunds') === undefined);
  }, 30_000);

  it('queries exports of many peers over few connections', { timeout: 20_000 }, async () => {
    const peers = Array.from({ length: 40 }, (_, index) => `peer-${index}`);
    const mesh = {
      ...MESH,
      peerings: peers.map((Name) => ({ Name })),
      exports: Object.fromEntries(peers.map((peer) => [peer, ['db']])),
      services: [...APPLICATIONS, DB],
    };
    await using agent = await standInAgent({ mesh });
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => at.routes.filter(({ kind }) => kind === 'exported-service').length === 40);
    expect(agent.connections).toBeLessThanOrEqual(32);
  });
});
