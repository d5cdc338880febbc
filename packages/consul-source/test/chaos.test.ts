// The routes of a gateway while its agent misbehaves: every fault, with every Consul release that the stand-in
// simulates, on all endpoints and on each endpoint alone.
import type { RouteSnapshot } from '@meshgate/core';
import { standInAgent } from '@meshgate/testkit';
import type { ConsulVersion, StandInAgent, StandInFault, StandInMesh } from '@meshgate/testkit';
import { describe, expect, it, vi } from 'vitest';
import { consulSource } from '../src/index.ts';
import { API, APPLICATIONS, CLOUD, DB, REFUNDS, REFUNDS_ITSELF } from './peered-mesh.ts';
import { shown, Watched } from './watched.ts';

// Most of their time is spent waiting.
vi.setConfig({ maxConcurrency: 24 });
const TEST_MS = 60_000;
const NOTICED_MS = 25_000;

const RESOLVER = { Kind: 'service-resolver', Name: 'db', Subsets: { v1: { Filter: 'Service.Meta.version == v1' } } };
const EARLIER: StandInMesh = {
  services: [...APPLICATIONS, DB, API],
  servers: [{ node: 'server-1', address: '10.0.0.10', meta: { grpc_tls_port: '8503' } }],
  entries: [RESOLVER],
  remoteGateways: { dc2: [{ name: 'gw', kind: 'mesh-gateway', address: '198.18.0.2', port: 443 }] },
};
const MESH: StandInMesh = {
  ...EARLIER,
  services: [...APPLICATIONS, DB, API, REFUNDS, REFUNDS_ITSELF],
  peerings: [CLOUD],
  exports: { cloud: ['db'] },
  entries: [RESOLVER, { Kind: 'mesh', Peering: { PeerThroughMeshGateways: true } }],
};
const WITHOUT_PEERS = {
  'service:db': '10.0.0.2:20000',
  'subset:v1.db': '10.0.0.2:20000',
  'service:api': '10.0.0.3:20000',
  'datacenter:dc2': '198.18.0.2:443',
};
const ROUTES = {
  ...WITHOUT_PEERS,
  'exported:cloud/db': '10.0.0.2:20000',
  'imported:cloud/refunds': '203.0.113.9:443',
  'peering-servers:dc1': '10.0.0.10:8503',
  'remote-peering-servers:cloud': '203.0.113.9:443, gw.cloud.example:443',
};

const VERSIONS: readonly ConsulVersion[] = ['1.8', '1.13', '1.15', '1.16', '1.17'];
const expectedOf = (version: ConsulVersion): Readonly<Record<string, string>> =>
  version === '1.8' ? WITHOUT_PEERS : ROUTES;

const FAULTS: readonly (readonly [string, StandInFault])[] = [
  ['is slow', { kind: 'delay', ms: 150 }],
  ['cuts connections', { kind: 'cut' }],
  ['cuts answers', { kind: 'cut', midway: true }],
  ['has no leader', { kind: 'status', status: 500 }],
  ['is asked too often', { kind: 'status', status: 429 }],
  ['tells what was before', { kind: 'older' }],
  ['says nothing any more', { kind: 'empty' }],
  ['trickles', { kind: 'trickle' }],
  ['is silent', { kind: 'silence' }],
  ['is none', { kind: 'garbage' }],
];
// 64 MiB per response: the reader that hits the limit does not know the release.
const ENDLESS = ['1.16', 'never ends', { kind: 'huge' }] as const;
const EVERYTHING = [
  ...VERSIONS.flatMap((version) => FAULTS.map(([name, fault]) => [version, name, fault] as const)),
  ENDLESS,
];

/** A gateway with all routes, which counts how often a route was missing or had no backend since. */
async function knowing(agent: StandInAgent, expected: Readonly<Record<string, string>>) {
  const routes = new Watched(consulSource({ address: agent.address }));
  const isComplete = (at: RouteSnapshot): boolean =>
    Object.entries(expected).every(([name, backends]) => shown(at, name) === backends);
  await routes.until(isComplete);
  const lost = new Set<string>();
  const over = new AbortController();
  const watching = routes.until((at) => {
    for (const name of Object.keys(expected)) if ((shown(at, name) ?? '') === '') lost.add(name);
    return over.signal.aborted;
  });
  return {
    lost,
    /** A change is picked up, and all routes are as before. */
    async recovers(mesh: StandInMesh): Promise<void> {
      const services = (mesh.services ?? []).filter((one) => one !== API);
      agent.change({ ...mesh, services: [...services, { ...API, status: 'critical' }] });
      await routes.until((at) => shown(at, 'service:api') === '10.0.0.3:20000 unhealthy');
      over.abort();
      agent.change(mesh);
      await watching;
      await routes.until(isComplete);
    },
    [Symbol.asyncDispose]: () => routes[Symbol.asyncDispose](),
  };
}

describe.concurrent('no healthy route is lost, and nothing ends, when the agent', () => {
  it.each(EVERYTHING)(
    '%s %s',
    async (version, _name, fault) => {
      const mesh = version === '1.8' ? EARLIER : MESH;
      // Before: a mesh without peers; with Consul 1.8, one without its last services.
      await using agent = await standInAgent({ version, mesh: { ...EARLIER, services: [...APPLICATIONS, DB] } });
      await using before = new Watched(consulSource({ address: agent.address }));
      await before.until((at) => shown(at, 'service:db') !== undefined);
      agent.change(mesh);
      await using gateway = await knowing(agent, expectedOf(version));
      const queried = agent.requests.length;
      agent.misbehave(fault);
      // Failed queries are retried, unless a response is still pending.
      const least = { silence: 1, trickle: 1, empty: 5 }[fault.kind as string] ?? 8;
      await expect.poll(() => agent.requests.length - queried, { timeout: NOTICED_MS }).toBeGreaterThan(least);
      agent.misbehave(undefined);
      await gateway.recovers(mesh);
      expect([...gateway.lost]).toEqual([]);
    },
    TEST_MS,
  );
});

/** Every query of a gateway, by the prefix of its path. */
const ENDPOINTS = [
  'agent/connect/ca/roots',
  'internal/ui/nodes',
  'internal/ui/services',
  'internal/ui/exported-services',
  'internal/federation-states',
  'health/connect',
  'health/service/consul',
  'config/service-resolver',
  'config/terminating-gateway',
  'config/mesh',
  'config/service-defaults',
  'discovery-chain',
  'peerings',
  'catalog/datacenters',
] as const;
const ONE_BAD_RESPONSE: readonly (readonly [string, StandInFault])[] = FAULTS.filter(([, { kind }]) =>
  ['cut', 'status', 'older', 'empty', 'garbage'].includes(kind),
);

describe.concurrent('one bad response removes no healthy route', () => {
  it.each(ENDPOINTS.flatMap((path) => ONE_BAD_RESPONSE.map(([name, fault]) => [path, name, fault] as const)))(
    'of %s: the agent %s',
    async (path, _name, fault) => {
      const isSelected = (queried: string): boolean => queried.startsWith(path);
      await using agent = await standInAgent({ mesh: EARLIER });
      await using before = new Watched(consulSource({ address: agent.address }));
      await before.until((at) => shown(at, 'service:api') !== undefined);
      agent.change(MESH);
      await using gateway = await knowing(agent, ROUTES);
      agent.misbehave(fault, isSelected);
      // Pending queries are answered at once; the others are sent when something changes.
      agent.change({ ...MESH, services: [...(MESH.services ?? []), { ...DB, id: 'more', name: 'more' }] });
      agent.misbehave(undefined);
      await gateway.recovers(MESH);
      expect([...gateway.lost]).toEqual([]);
    },
    TEST_MS,
  );
});
