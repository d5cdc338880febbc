import { standInAgent } from '@meshgate/testkit';
import type { KnownLeader, StandInFault, StandInMesh, StandInService } from '@meshgate/testkit';
import type { ProxyView } from '@meshgate/mesh';
import { describe, expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { consulProxySource } from '../src/sidecar/proxy-source.ts';
import { shown, Watched } from './watched.ts';

const DB: StandInService = {
  name: 'db-proxy',
  kind: 'connect-proxy',
  destination: 'db',
  address: '10.0.0.1',
  port: 20_000,
};
const SECOND: StandInService = { ...DB, id: 'second', node: 'second', address: '10.0.0.2' };
const GATEWAY: StandInService = { name: 'gw', kind: 'mesh-gateway', address: '198.18.0.2', port: 443 };
const mesh = (...services: readonly StandInService[]): StandInMesh => ({
  services: [{ name: 'db', port: 80 }, ...services],
});
const BOTH = '10.0.0.1:20000, 10.0.0.2:20000';

const FAULTS = (['older', 'empty'] as const).flatMap((kind) =>
  (['none', 'silent'] as const).map((leader): [string, KnownLeader, StandInFault] => [kind, leader, { kind, leader }]),
);

describe.concurrent('a server without a leader, or without contact to it for long, removes nothing', () => {
  it.each(FAULTS)(
    'from a gateway: its responses are %s, its leader %s',
    async (_kind, _leader, fault) => {
      await using agent = await standInAgent({ mesh: mesh(DB) });
      await using routes = new Watched(consulSource({ address: agent.address }));
      await routes.until((at) => shown(at, 'service:db') === '10.0.0.1:20000');
      agent.change({ ...mesh(DB, SECOND), remoteGateways: { dc2: [GATEWAY] } });
      await routes.until((at) => shown(at, 'service:db') === BOTH && shown(at, 'datacenter:dc2') !== undefined);
      const lost: (string | undefined)[] = [];
      const stop = new AbortController();
      const watching = routes.until((at) => {
        // From then on a removal is accepted.
        if (stop.signal.aborted) return true;
        if (shown(at, 'service:db') !== BOTH || shown(at, 'datacenter:dc2') !== '198.18.0.2:443')
          lost.push(shown(at, 'service:db'));
        return stop.signal.aborted;
      });
      const queried = (): number => agent.requests.filter((request) => request.includes('internal/ui/nodes')).length;
      const before = queried();
      agent.misbehave(fault);
      // Twice more: it stays behind.
      await expect.poll(() => queried() - before, { timeout: 30_000 }).toBeGreaterThan(3);
      const { warnings } = await routes.until(({ warnings: found = [] }) =>
        found.some((one) => one.includes('leader')),
      );
      expect(warnings).toContainEqual(
        expect.stringContaining('the Consul server has no leader, or no contact with it'),
      );
      agent.misbehave(undefined);
      stop.abort();
      agent.change({ ...mesh(SECOND), remoteGateways: { dc2: [GATEWAY] } });
      await watching;
      expect(lost).toEqual([]);
      // A service that is removed once there is a leader again is removed from the routes.
      await routes.until((at) => shown(at, 'service:db') === '10.0.0.2:20000');
    },
    30_000,
  );

  it('from a sidecar', async () => {
    const id = 'web-sidecar-proxy';
    const Proxy = {
      DestinationServiceName: 'web',
      Upstreams: [{ DestinationName: 'db', LocalBindPort: 9_191 }],
    };
    const web = { ID: id, Service: id, Kind: 'connect-proxy', Port: 1, Proxy };
    const responses = { 'agent/services': { [id]: web }, [`agent/service/${id}`]: web };
    await using agent = await standInAgent({ mesh: mesh(DB, SECOND), responses });
    await using views = new Watched<ProxyView>(consulProxySource({ address: agent.address }, { proxyId: id }));
    const backends = ({ upstreams: [first] }: ProxyView): number =>
      first?.kind === 'reachable' ? (first.targets[0]?.backends.length ?? 0) : 0;
    await views.until((at) => backends(at) === 2);
    const counts: number[] = [];
    const stop = new AbortController();
    const watching = views.until((at) => {
      counts.push(backends(at));
      return stop.signal.aborted;
    });
    const queried = (): number => agent.requests.filter((request) => request.includes('health/connect/db')).length;
    const before = queried();
    agent.misbehave({ kind: 'empty', leader: 'none' });
    await expect.poll(() => queried() - before, { timeout: 30_000 }).toBeGreaterThan(3);
    agent.misbehave(undefined);
    stop.abort();
    agent.change(mesh(SECOND));
    await watching;
    await views.until((at) => backends(at) === 1);
    expect(new Set(counts.slice(0, -1))).toEqual(new Set([2]));
  }, 60_000);
});

it('what a server has lost is not removed either when its response is accepted a moment after Consul’s own servers are back', async () => {
  const resolver = { Kind: 'service-resolver', Name: 'db', Subsets: { v1: { Filter: '' } } };
  const full = { ...mesh(DB), entries: [resolver] };
  await using agent = await standInAgent({ mesh: full });
  await using routes = new Watched(consulSource({ address: agent.address }));
  await routes.until((at) => shown(at, 'subset:v1.db') === '10.0.0.1:20000');
  agent.misbehave({ kind: 'empty' }, (path) => path === 'health/service/consul');
  await routes.until(({ warnings = [] }) => warnings.some((one) => one.includes('servers are not visible')));
  const queried = (): number => agent.requests.filter((request) => request.includes('config/service-resolver')).length;
  const before = queried();
  agent.misbehave(undefined);
  agent.misbehave({ kind: 'empty' }, (path) => path === 'config/service-resolver');
  // Queried again, accepted, and queried again.
  await expect.poll(() => queried() - before).toBeGreaterThan(1);
  agent.change({ ...full, ...mesh(SECOND) });
  const after = await routes.until((at) => shown(at, 'service:db') === '10.0.0.2:20000');
  expect(shown(after, 'subset:v1.db')).toBe('10.0.0.1:20000');
  agent.misbehave(undefined);
  // A blocking query for resolvers with the index of the empty response now returns.
  agent.change({ ...full, ...mesh(SECOND), entries: [{ ...resolver, ConnectTimeout: '7s' }] });
  await routes.until((at) => shown(at, 'subset:v1.db') === '10.0.0.2:20000');
});

it('new roots with the services of the former state change no name: the lost services keep theirs', async () => {
  await using agent = await standInAgent({ mesh: mesh(DB) });
  await using routes = new Watched(consulSource({ address: agent.address }));
  const before = await routes.until((at) => shown(at, 'service:db') === '10.0.0.1:20000');
  // The servers were replaced. Their list of nodes arrives after their roots.
  agent.misbehave({ kind: 'delay', ms: 1_000 }, (path) => path.startsWith('internal/ui/nodes'));
  agent.change({ services: [], trustDomain: '22222222-2222-3333-4444-555555555555.consul' });
  const seen: (readonly string[])[] = [];
  await routes.until(({ routes: list, warnings = [] }) => {
    seen.push(list.flatMap(({ serverNames }) => serverNames));
    return warnings.some((one) => one.includes('lost its state'));
  });
  const names = before.routes.flatMap(({ serverNames }) => serverNames);
  for (const later of seen) expect(later).toEqual(names);
});
