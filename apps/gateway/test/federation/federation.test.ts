import { formatEndpoint } from '@meshgate/core';
import type { TlsClient, TlsTestBackend } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Resources } from './resources.ts';
import { describeInNetworks } from './consul.ts';
import { SIDECAR_PORT } from './datacenter.ts';
import { eventually } from './eventually.ts';
import { Federation, GATEWAY_PORT, membersSeenBy, wanAddress } from './federation.ts';
import type { Member } from './federation.ts';
import type { RouteShown } from './daemon.ts';

const SET_UP_MS = 120_000;
// Writes are replicated to the other datacenter within seconds.
const REPLICATED_MS = 30_000;

describeInNetworks('two datacenters that are connected by their gateways only', () => {
  const resources = new Resources();
  let federation: Federation;
  let instances: Readonly<Record<'dc1' | 'dc2', readonly TlsTestBackend[]>>;

  beforeAll(async () => {
    federation = resources.add(await Federation.create(1));
    const { one, two } = federation;
    instances = { dc1: await instancesIn(one), dc2: await instancesIn(two) };
    const Subsets = { v1: { Filter: 'Service.Meta.version == v1' } };
    await one.datacenter.consul.put('config', { Kind: 'service-resolver', Name: 'db', Subsets });
    for (const member of [one, two]) {
      await member.gateways[0].route('service:db', ({ backends }) => backends.length === 2);
      await member.gateways[0].route('subset:v1.db', ({ backends }) => backends.length === 1);
    }
  }, SET_UP_MS);
  afterAll(() => resources[Symbol.asyncDispose]());

  function sides(from: string): readonly [here: Member, there: Member] {
    const { one, two } = federation;
    return from === 'dc1' ? [one, two] : [two, one];
  }

  describe.each([
    ['dc1', 'dc2'],
    ['dc2', 'dc1'],
  ] as const)('a client in %s', (from, to) => {
    it('reaches a service in the other one through both gateways, with end-to-end mutual TLS', async () => {
      const [here, there] = sides(from);
      await using client = await clientOf(here, federation.nameOf('db', there));
      expect(await client.echo('across')).toBe('across');
      expect(client.serverCertificate.subjectaltname).toBe(
        `URI:spiffe://${federation.trustDomain}/ns/default/dc/${to}/svc/db`,
      );
      expect(await carriedBy(here)).toMatchObject([
        { route: `datacenter:${to}`, backend: `${wanAddress(there.datacenter.number, 0)}:443` },
      ]);
      expect(await carriedBy(there)).toMatchObject([{ route: 'service:db' }]);
    });

    it('reaches the instances of a subset and no others', async () => {
      const [here, there] = sides(from);
      const [v1, v2] = instances[to];
      const before = { v1: handshakes(v1), v2: handshakes(v2) };
      const name = federation.nameOf('v1.db', there);
      for (let count = 1; count <= 4; count += 1) {
        await using client = await clientOf(here, name);
        expect(await client.echo('v1')).toBe('v1');
      }
      expect({ v1: handshakes(v1), v2: handshakes(v2) }).toEqual({ v1: before.v1 + 4, v2: before.v2 });
    });

    it('reaches the local service of that name when it requests that', async () => {
      const [here] = sides(from);
      await using client = await clientOf(here, federation.nameOf('db', here));
      expect(await client.echo('at home')).toBe('at home');
      expect(client.serverCertificate.subjectaltname).toContain(`/dc/${from}/svc/db`);
    });

    it('is closed, not misrouted, when it requests an unknown service', async () => {
      const [here, there] = sides(from);
      await expect(clientOf(here, federation.nameOf('nobody', there))).rejects.toThrow();
      await expect(
        clientOf(here, federation.nameOf('db', there).replace('.internal.', '.external.')),
      ).rejects.toThrow();
    });

    it('reaches nothing of the other one without the gateways', async () => {
      const [here, there] = sides(from);
      const { inside } = here.datacenter;
      for (const last of [2, 11, 21, 22]) {
        const ports = last === 2 ? [8300, 8301, 8302, 8500] : [SIDECAR_PORT, GATEWAY_PORT];
        for (const port of ports) expect(await inside.probe(there.datacenter.lan(last, port))).toBe('ENETUNREACH');
      }
      for (const port of [8300, 8301, 8302, 8500, GATEWAY_PORT, SIDECAR_PORT])
        expect(await inside.probe({ host: wanAddress(there.datacenter.number, 0), port })).toBe('ECONNREFUSED');
    });

    it('has a Consul server that sees the other datacenter as alive, queries it and writes to it', async () => {
      const [here, there] = sides(from);
      expect((await membersSeenBy(here)).toSorted()).toEqual(['server-1.dc1', 'server-2.dc2']);
      const nodes = await eventually(
        'an answer from the other datacenter',
        () => here.datacenter.consul.get(`catalog/nodes?dc=${to}`),
        REPLICATED_MS,
      );
      expect(nodes).toMatchObject([{ Node: `server-${there.datacenter.number}` }]);
      expect(await here.datacenter.consul.put(`kv/from-${from}?dc=${to}`, 'hello')).toBe(true);
      const read = await there.datacenter.consul.get(`kv/from-${from}?raw`);
      expect(read).toBe('hello');
    });
  });

  it(
    'send no client to an instance in maintenance, and do so again afterwards',
    async () => {
      const { one, two } = federation;
      const [serving, resting] = instances.dc2;
      const proxy = 'agent/service/maintenance/db-22-sidecar-proxy';
      const healthy = (count: number) => (route: RouteShown) => healthyOf(route).length === count;
      await two.datacenter.consul.put(`${proxy}?enable=true`);
      await two.gateways[0].route('service:db', healthy(1));
      const before = { serving: handshakes(serving), resting: handshakes(resting) };
      for (let count = 1; count <= 4; count += 1) {
        await using client = await clientOf(one, federation.nameOf('db', two));
        expect(await client.echo('served')).toBe('served');
      }
      expect({ serving: handshakes(serving), resting: handshakes(resting) }).toEqual({
        serving: before.serving + 4,
        resting: before.resting,
      });
      await two.datacenter.consul.put(`${proxy}?enable=false`);
      await two.gateways[0].route('service:db', healthy(2));
    },
    REPLICATED_MS,
  );

  it(
    'reach the gateways of the other one at the addresses that Consul selects for other datacenters',
    async () => {
      const { one, two } = federation;
      const chosen = Object.entries(ADDRESSES);
      for (const [address, { node = {}, ...service }] of chosen) {
        const location = { Node: `node-of-${address}`, Address: '10.2.9.9', TaggedAddresses: node };
        // Critical, so that no client is sent to an address without a listener.
        const Check = { CheckID: 'up', Name: 'up', ServiceID: address, Status: 'critical' };
        const gateway = { ID: address, Service: 'mesh-gateway', Kind: 'mesh-gateway', Port: GATEWAY_PORT, ...service };
        await two.datacenter.consul.put('catalog/register', { ...location, Service: gateway, Check });
      }
      const isAll = ({ backends }: RouteShown): boolean => backends.length === chosen.length + 1;
      const { backends } = await one.gateways[0].route('datacenter:dc2', isAll);
      const unhealthy = backends.filter(({ healthy }) => !healthy).map(({ host, port }) => `${host}:${port}`);
      expect(unhealthy.toSorted()).toEqual(Object.keys(ADDRESSES).toSorted());
      await using client = await clientOf(one, federation.nameOf('db', two));
      expect(await client.echo('through the healthy one')).toBe('through the healthy one');
      for (const [address] of chosen)
        await two.datacenter.consul.put('catalog/deregister', { Node: `node-of-${address}` });
    },
    REPLICATED_MS,
  );

  it.each([
    ['v1.db', 'dc1', { service: 'db', subset: 'v1', datacenter: 'dc1' }],
    ['db', 'dc2', { datacenter: 'dc2' }],
  ] as const)('have gateways that explain why %s in %s is routed as it is', async (service, datacenter, origin) => {
    const { one, two } = federation;
    const name = federation.nameOf(service, datacenter === 'dc1' ? one : two);
    expect(await one.gateways[0].query(`/explain?serverName=${name}`)).toMatchObject({
      found: true,
      origin: { ...origin, rule: expect.any(String) },
    });
  });

  it('have a route for every name that their servers request from each other', async () => {
    const routes = await federation.one.gateways[0].routes();
    expect(routes.filter(({ kind }) => kind.includes('server')).map(({ name }) => name)).toEqual([
      'servers:dc2',
      'servers:dc1',
      'server:server-1',
    ]);
  });

  it('have gateways that carry the gossip of their servers, and count none of its ends as a failure', () => {
    const { one, two } = federation;
    const lines = [one, two].flatMap(({ gateways }) => gateways.flatMap((gateway) => gateway.lines));
    const gossip = lines.filter(({ route, bytesDown }) => /^servers?:/.test(String(route)) && Number(bytesDown) > 0);
    expect(gossip.length).toBeGreaterThan(0);
    expect(gossip.filter(({ code }) => code !== undefined)).toEqual([]);
  });

  it(
    'have gateways that route to local services within a second of their start, whatever the other one does',
    async () => {
      const { one, two } = federation;
      // On a busy machine a second is too short for any start.
      const limitMs = Math.max(1_000, 3 * (await startMs()));
      two.datacenter.consul.freeze(true);
      await one.datacenter.namespace.ip('link', 'set', 'wan', 'down');
      // A busy machine makes a start slower, and never faster.
      let quickestMs = await startMs();
      for (let attempts = 1; quickestMs >= limitMs && attempts < 10; attempts += 1)
        quickestMs = Math.min(quickestMs, await startMs());
      await one.datacenter.namespace.ip('link', 'set', 'wan', 'up');
      two.datacenter.consul.freeze(false);
      expect(quickestMs).toBeLessThan(limitMs);
    },
    REPLICATED_MS,
  );

  /** From the start of a process to a connection through it. */
  async function startMs(): Promise<number> {
    const { datacenter } = federation.one;
    const lan = datacenter.lan(12, GATEWAY_PORT);
    const name = federation.nameOf('db', federation.one);
    const at = performance.now();
    const flags = ['--register', '--proxy-id', 'late', '--address', formatEndpoint(lan)];
    await using newcomer = datacenter.gateway(19_009, ...flags);
    await using client = await eventually('a way through', () => datacenter.client(lan, name), REPLICATED_MS);
    const tookMs = performance.now() - at;
    expect(await client.echo('here')).toBe('here');
    expect((await newcomer.ready()).warnings).toEqual([]);
    return tookMs;
  }
});

/** The addresses that Consul gives to other datacenters for a gateway (its port is 8443) and for its node, 10.2.9.9. */
const ADDRESSES: Readonly<Record<string, { readonly node?: object } & Readonly<Record<string, unknown>>>> = {
  '198.18.9.1:444': { Address: '10.2.9.1', TaggedAddresses: { wan: { Address: '198.18.9.1', Port: 444 } } },
  '198.18.9.2:8443': { TaggedAddresses: { wan: { Address: '198.18.9.2', Port: 0 } } },
  '10.2.9.3:8443': { Address: '10.2.9.3', node: { wan: '198.18.9.3' } },
  '10.2.9.4:8443': { Address: '10.2.9.4', TaggedAddresses: { lan: { Address: '198.18.9.4', Port: 444 } } },
  '198.18.9.5:8443': { node: { wan: '198.18.9.5' } },
  '10.2.9.9:8443': {},
  'gateway.example:444': { TaggedAddresses: { wan: { Address: 'gateway.example', Port: 444 } } },
};

/** Two versions of `db`. */
function instancesIn({ datacenter }: Member): Promise<readonly TlsTestBackend[]> {
  return Promise.all([
    datacenter.instance('db', 21, { meta: { version: 'v1' } }),
    datacenter.instance('db', 22, { meta: { version: 'v2' } }),
  ]);
}

/** A client in the datacenter of `member`, through the gateway there. */
function clientOf({ datacenter }: Member, serverName: string): Promise<TlsClient> {
  return datacenter.client(datacenter.lan(11, GATEWAY_PORT), serverName);
}

/** Currently open connections of services; those between Consul's servers never end. */
async function carriedBy({ gateways }: Member): Promise<readonly { readonly route: string }[]> {
  const { connections } = (await gateways[0].query('/connections')) as { connections: readonly { route: string }[] };
  return connections.filter(({ route }) => !route.startsWith('server'));
}

function healthyOf({ backends }: RouteShown): RouteShown['backends'] {
  return backends.filter(({ healthy }) => healthy);
}

/** Connections of Consul's own checks end before there is one. */
function handshakes(backend: TlsTestBackend | undefined): number {
  return backend?.serverNames.length ?? 0;
}
