import type { ProxyView } from '@meshgate/mesh';
import { standInAgent } from '@meshgate/testkit';
import type { StandInAgent } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { consulProxySource } from '../src/sidecar/proxy-source.ts';
import { Watched } from './watched.ts';

const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';
const FEDERATION = 'internal/federation-states/mesh-gateways';
const PROXY = 'web-sidecar-proxy';

type Objects = Readonly<Record<string, unknown>>;

function instance(service: string, address: string, status: string, kind = 'mesh-gateway'): object {
  return {
    Node: { Node: 'node', Address: '10.0.0.1' },
    Service: { ID: service, Service: service, Kind: kind, Address: address, Port: 8443 },
    Checks: [{ CheckID: 'up', Status: status }],
  };
}

/** A mesh in which `web` of dc1 has the upstream `db` of dc2, with all gateways healthy in the federation states. */
function mesh(mode: string, more: Objects): Objects {
  const upstream = { DestinationName: 'db', Datacenter: 'dc2', LocalBindPort: 9191, MeshGateway: { Mode: mode } };
  const target = { Service: 'db', Datacenter: 'dc2', SNI: `db.default.dc2.internal.${TRUST_DOMAIN}` };
  return {
    [`agent/service/${PROXY}`]: {
      ID: PROXY,
      Service: PROXY,
      Port: 20_000,
      Proxy: { DestinationServiceName: 'web', Upstreams: [upstream] },
    },
    'agent/connect/ca/roots': { TrustDomain: TRUST_DOMAIN },
    'discovery-chain/web': { Chain: { Datacenter: 'dc1' } },
    'discovery-chain/db': {
      Chain: {
        StartNode: 'resolver:db',
        Nodes: { 'resolver:db': { Type: 'resolver', Resolver: { Target: 'db.dc2' } } },
        Targets: { 'db.dc2': target },
      },
    },
    'health/connect/db': [instance('db-proxy', '10.2.0.1', 'passing', 'connect-proxy')],
    [FEDERATION]: {
      dc1: [instance('near', '10.1.0.5', 'passing'), instance('nearer', '10.1.0.6', 'passing')],
      dc2: [instance('far', '10.2.0.5', 'passing')],
    },
    ...more,
  };
}

/** The gateways that are dialled; unhealthy ones are marked. */
function dialled({ upstreams }: ProxyView): readonly string[] {
  const [upstream] = upstreams;
  const [target] = upstream?.kind === 'reachable' ? upstream.targets : [];
  return (target?.backends ?? []).map(({ address, healthy }) => `${address.host}${healthy ? '' : '!'}`);
}

describe('the gateways that a sidecar dials', () => {
  it.each([
    ['local', 'near', 'dc1', ['10.1.0.5!', '10.1.0.6']],
    ['remote', 'far', 'dc2', ['10.2.0.5!']],
  ])(
    'in mode %s: their own datacenter reports their health, sooner than federation states do',
    async (mode, name, datacenter, expected) => {
      const [healthy] = [instance('nearer', '10.1.0.6', 'passing')];
      const ill = instance(name, name === 'near' ? '10.1.0.5' : '10.2.0.5', 'critical');
      const responses = { [`health/service/${name}`]: [ill], 'health/service/nearer': [healthy] };
      await using agent = await standInAgent({ responses: mesh(mode, responses) });
      await using views = new Watched<ProxyView>(consulProxySource({ address: agent.address }, { proxyId: PROXY }));
      await views.until((view) => dialled(view).join() === expected.join());
      expect(healthQueried(agent)).toContain(`GET health/service/${name}?dc=${datacenter}`);
    },
  );

  it('are none when their datacenter has none any more, which is queried once', async () => {
    await using agent = await standInAgent({ responses: mesh('remote', { 'health/service/far': [] }) });
    await using views = new Watched<ProxyView>(consulProxySource({ address: agent.address }, { proxyId: PROXY }));
    const view = await views.until(({ upstreams }) => upstreams[0]?.kind === 'reachable');
    expect(dialled(view)).toEqual([]);
    expect(healthQueried(agent)).toEqual(['GET health/service/far?dc=dc2']);
  });

  it('are those of federation states while their datacenter does not respond', async () => {
    await using agent = await standInAgent({ responses: mesh('remote', {}) });
    agent.misbehave({ kind: 'status', status: 404 }, (path) => path.startsWith('health/service/'));
    await using views = new Watched<ProxyView>(consulProxySource({ address: agent.address }, { proxyId: PROXY }));
    const { warnings } = await views.until((view) => view.warnings !== undefined);
    expect(dialled(views.latest ?? fail())).toEqual(['10.2.0.5']);
    expect(warnings?.join()).toContain('health/service/far');
  });

  it('are not queried if they are not dialled', async () => {
    await using agent = await standInAgent({ responses: mesh('none', {}) });
    await using views = new Watched<ProxyView>(consulProxySource({ address: agent.address }, { proxyId: PROXY }));
    await views.until((view) => dialled(view).join() === '10.2.0.1');
    expect(healthQueried(agent)).toEqual([]);
  });
});

/** The first query for each, without blocking queries. */
function healthQueried({ requests: queried }: StandInAgent): readonly string[] {
  return queried.filter((one) => one.startsWith('GET health/service') && !one.includes('index='));
}

function fail(): never {
  throw new Error('expected a view');
}
