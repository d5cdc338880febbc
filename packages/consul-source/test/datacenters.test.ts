import { afterAll, beforeAll, expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { Consul, describeWithConsul } from './real-consul.ts';
import { shown, Watched } from './watched.ts';

// Consul takes some seconds to replicate the gateways of one datacenter to the other.
const REPLICATED_MS = 60_000;

describeWithConsul('with two datacenters', () => {
  let one: Consul;
  let two: Consul;

  beforeAll(async () => {
    one = await Consul.start();
    const settings = {
      datacenter: 'dc2',
      node_name: 'server-2',
      primary_datacenter: 'dc1',
      retry_join_wan: [one.wanAddress],
    };
    two = await Consul.start(settings);
  });
  afterAll(async () => {
    await one[Symbol.asyncDispose]();
    await two[Symbol.asyncDispose]();
  });

  it(
    'the gateways of the other one are found by their kind, and followed with their health and wan addresses',
    async () => {
      await using routes = new Watched(consulSource({ address: one.address }));
      await two.put('agent/service/register', gateway('edge', '198.18.0.2'));
      await routes.until((at) => shown(at, 'datacenter:dc2') === '198.18.0.2:443');
      await two.put('agent/service/maintenance/edge?enable=true');
      await routes.until((at) => shown(at, 'datacenter:dc2') === '198.18.0.2:443 unhealthy');
      await two.put('agent/service/register', gateway('edge-2', 'gw.example.com'));
      await routes.until((at) => shown(at, 'datacenter:dc2') === '198.18.0.2:443 unhealthy, gw.example.com:443');
    },
    REPLICATED_MS,
  );

  it(
    'WAN federation names follow the meta of the gateway’s own registration',
    async () => {
      await using routes = new Watched(consulSource({ address: one.address }));
      const own = { ...gateway('own', '198.18.0.1'), Meta: { 'consul-wan-federation': '1' } };
      await one.put('agent/service/register', own);
      const snapshot = await routes.until((at) => shown(at, 'servers:dc2') !== undefined);
      const names = snapshot.routes
        .filter(({ kind }) => kind?.includes('server'))
        .flatMap(({ serverNames }) => serverNames);
      expect(names.filter((name) => name.includes('server.'))).toEqual([
        '*.server.dc2.consul',
        'server.dc2.consul',
        'server.dc1.consul',
        'server-1.server.dc1.consul',
      ]);
      await one.put('agent/service/register', gateway('own', '198.18.0.1'));
      await routes.until((at) => shown(at, 'servers:dc2') === undefined);
    },
    REPLICATED_MS,
  );
});

function gateway(id: string, wan: string): object {
  return {
    Name: id,
    ID: id,
    Kind: 'mesh-gateway',
    Address: '10.0.0.2',
    Port: 8443,
    TaggedAddresses: { wan: { Address: wan, Port: 443 } },
  };
}
