import { describe, expect, it } from 'vitest';
import { standInAgent } from '../src/index.ts';
import type { ConsulVersion, StandInAgent, StandInFault, StandInMesh } from '../src/index.ts';

const DB = { name: 'db-proxy', kind: 'connect-proxy', destination: 'db', port: 20_000 };
const MESH: StandInMesh = {
  services: [DB, { name: 'api-proxy', destination: 'api', port: 1, peer: 'cloud' }],
  peerings: [{ Name: 'cloud', PeerCAPems: ['PEM'] }],
  exports: { cloud: ['db'] },
  entries: [{ Kind: 'mesh', Peering: { PeerThroughMeshGateways: true } }],
};

interface Got {
  readonly status: number;
  readonly body: string;
  readonly index: number;
  readonly headers: Headers;
}

async function get(agent: StandInAgent, path: string, init: RequestInit = {}): Promise<Got> {
  const response = await fetch(`${agent.address}/v1/${path}`, init);
  const index = Number(response.headers.get('x-consul-index'));
  return { status: response.status, body: await response.text(), index, headers: response.headers };
}

describe('a stand-in agent', () => {
  it('responds from a mesh description: local and imported nodes, health, chains, exports', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    const nodes = JSON.parse((await get(agent, 'internal/ui/nodes')).body) as { Node: string; PeerName?: string }[];
    expect(nodes.map(({ Node, PeerName }) => [Node, PeerName])).toEqual([
      ['server-1', undefined],
      ['node-db-proxy', undefined],
      ['node-api-proxy', 'cloud'],
    ]);
    expect((await get(agent, 'health/connect/db')).body).toContain('"Port":20000');
    expect((await get(agent, 'health/connect/api')).body).toBe('[]');
    expect((await get(agent, 'health/connect/api?peer=cloud')).body).toContain('"PeerName":"cloud"');
    expect((await get(agent, 'discovery-chain/db')).body).toContain('"Protocol":"tcp"');
    expect((await get(agent, 'internal/ui/exported-services?peer=cloud')).body).toContain('"Name":"db"');
  });

  it('holds a query until its response changes, and only that one', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    const { index } = await get(agent, 'health/connect/db');
    const waiting = get(agent, `health/connect/db?index=${index}&wait=30s`);
    const other = get(agent, `peerings?index=${index}&wait=30s`).catch(() => undefined);
    await expect.poll(() => agent.held).toBe(2);
    agent.change({ ...MESH, services: [{ ...DB, status: 'critical' }] });
    const reply = await waiting;
    expect(reply.index).toBeGreaterThan(index);
    expect(reply.body).toContain('critical');
    expect(agent.held).toBe(1);
    await agent[Symbol.asyncDispose]();
    await other;
  });

  it('answers a blocking query with the current data on timeout', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    const { index, body } = await get(agent, 'peerings');
    expect(await get(agent, `peerings?index=${index}&wait=10ms`)).toMatchObject({ index, body });
  });

  it.each<[ConsulVersion, Readonly<Record<string, number>>]>([
    ['1.8', { peerings: 404, 'exported-services': 404, 'config/mesh/mesh': 500, 'internal/ui/nodes': 200 }],
    ['1.13', { peerings: 200, 'exported-services': 404, 'config/mesh/mesh': 200, 'internal/ui/nodes': 200 }],
    ['1.15', { peerings: 200, 'exported-services': 404, 'config/mesh/mesh': 200 }],
    ['1.16', { peerings: 200, 'exported-services': 404, 'config/mesh/mesh': 200 }],
    ['1.17', { peerings: 200, 'exported-services': 200, 'config/mesh/mesh': 200 }],
  ])('of %s has the endpoints of that release', async (version, expected) => {
    await using agent = await standInAgent({ version, mesh: MESH });
    const found = Object.keys(expected).map(async (path) => [path, (await get(agent, path)).status]);
    expect(Object.fromEntries(await Promise.all(found))).toEqual(expected);
  });

  it.each<[ConsulVersion, boolean, boolean]>([
    ['1.13', false, false],
    ['1.15', false, true],
    ['1.16', true, true],
    ['1.17', true, true],
  ])('of %s holds a query for peerings: %s, and shows their roots: %s', async (version, isHeld, showsRoots) => {
    await using agent = await standInAgent({ version, mesh: MESH });
    const { index, body } = await get(agent, 'peerings');
    expect(index > 0).toBe(isHeld);
    expect(body.includes('PeerCAPems')).toBe(showsRoots);
  });

  it('rejects what the token may not read, or filters it and reports that', async () => {
    const denied = { 'peering*': 'peering:read', 'config/exported-services': 'filtered' };
    await using agent = await standInAgent({ mesh: MESH, denied });
    expect(await get(agent, 'peerings')).toMatchObject({
      status: 403,
      body: expect.stringContaining("lacks permission 'peering:read'") as string,
    });
    const { body, headers } = await get(agent, 'config/exported-services');
    expect([body, headers.get('x-consul-results-filtered-by-acls')]).toEqual(['[]', 'true']);
  });

  it('returns recorded responses before its own, by path with query or without', async () => {
    await using agent = await standInAgent({
      responses: { 'health/connect/db?peer=cloud': [1], 'health/connect/db': [2] },
    });
    expect((await get(agent, 'health/connect/db?peer=cloud&index=1')).body).toBe('[1]');
    expect((await get(agent, 'health/connect/db')).body).toBe('[2]');
  });

  it.each<[ConsulVersion, number]>([
    ['1.8', 200],
    ['1.16', 404],
  ])(
    'of %s keeps registrations, and responds with %s to the deregistration of an unknown one',
    async (version, status) => {
      await using agent = await standInAgent({ version });
      const gateway = { Name: 'gw', Kind: 'mesh-gateway', Port: 8443 };
      await get(agent, 'agent/service/register', { method: 'PUT', body: JSON.stringify(gateway) });
      expect((await get(agent, 'agent/service/gw')).body).toContain('mesh-gateway');
      expect((await get(agent, 'agent/service/deregister/gw', { method: 'PUT' })).status).toBe(200);
      expect((await get(agent, 'agent/service/gw')).status).toBe(404);
      expect((await get(agent, 'agent/service/deregister/gw', { method: 'PUT' })).status).toBe(status);
    },
  );

  it('lists the requests that it received', async () => {
    await using agent = await standInAgent();
    await get(agent, 'peerings?index=1&wait=1ms');
    expect(agent.requests).toEqual(['GET peerings?index=1&wait=1ms']);
  });
});

describe('a stand-in agent that misbehaves', () => {
  it.each<[StandInFault, string]>([
    [{ kind: 'status', status: 500 }, '500 No cluster leader'],
    [
      { kind: 'status', status: 429 },
      '429 Your IP is issuing too many concurrent connections, please rate limit your calls',
    ],
    [{ kind: 'garbage' }, '200 <html>not Consul</html>'],
    [{ kind: 'empty' }, '200 []'],
    [{ kind: 'cut' }, 'failed'],
    [{ kind: 'cut', midway: true }, 'failed'],
    [{ kind: 'silence' }, 'failed'],
    [{ kind: 'trickle' }, 'failed'],
    [{ kind: 'huge' }, 'failed'],
  ])('with %j', async (fault, expected) => {
    await using agent = await standInAgent({ mesh: MESH });
    agent.misbehave(fault, (path) => path === 'peerings');
    const signal = AbortSignal.timeout(500);
    const outcome = await get(agent, 'peerings', { signal }).then(
      ({ status, body }) => `${status} ${body}`,
      () => 'failed',
    );
    expect(outcome).toBe(expected);
    expect((await get(agent, 'internal/ui/nodes')).status).toBe(200);
    agent.misbehave(undefined);
    expect((await get(agent, 'peerings')).body).toContain('cloud');
  });

  it('returns the previous response, with its index', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    const before = await get(agent, 'health/connect/db');
    agent.change({ ...MESH, services: [{ ...DB, status: 'critical' }] });
    const now = await get(agent, 'health/connect/db');
    agent.misbehave({ kind: 'older' });
    expect(await get(agent, 'health/connect/db')).toMatchObject({ body: before.body, index: before.index });
    agent.misbehave(undefined);
    expect(await get(agent, 'health/connect/db')).toMatchObject({ body: now.body, index: now.index });
  });

  it('returns nothing, with a newer index', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    const { index } = await get(agent, 'health/connect/db');
    agent.misbehave({ kind: 'empty' });
    const { body, index: next } = await get(agent, 'health/connect/db');
    expect([body, next > index]).toEqual(['[]', true]);
  });

  it('responds late', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    agent.misbehave({ kind: 'delay', ms: 30 });
    const from = performance.now();
    expect((await get(agent, 'peerings')).status).toBe(200);
    expect(performance.now() - from).toBeGreaterThan(25);
  });

  it('aborts blocking queries', async () => {
    await using agent = await standInAgent({ mesh: MESH });
    const { index } = await get(agent, 'peerings');
    const waiting = get(agent, `peerings?index=${index}&wait=30s`).then(
      () => 'answered',
      () => 'cut',
    );
    await expect.poll(() => agent.held).toBe(1);
    agent.misbehave({ kind: 'cut' });
    expect(await waiting).toBe('cut');
  });
});
