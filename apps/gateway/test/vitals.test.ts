import type { Route } from '@meshgate/core';
import { rawClient, tlsBackend } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { vitalsOf } from '../src/run/vitals.ts';
import { gatewayFolder, startGateway, TEST_CONFIG } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';

async function scrape(gateway: ReadyDaemon): Promise<ReadonlyMap<string, number>> {
  const text = await (await fetch(new URL('/metrics', gateway.admin))).text();
  return new Map(
    Array.from(text.matchAll(/^([a-z]\S*) (\S+)$/gm), ([, series = '', value]) => [series, Number(value)]),
  );
}

describe.each([1, 2])('the metrics of a gateway with workers: %i', (workers) => {
  it('include readiness, healthy backends, and the usage of each limit', async () => {
    await using api = await tlsBackend('api.example.com');
    const settings = { workers, limits: { connections: 100, pendingHellos: 10 } };
    await using files = await gatewayFolder([api], settings);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    expect(Object.fromEntries(await scrape(gateway))).toMatchObject({
      meshgate_ready: 1,
      'meshgate_route_backends{route="api"}': 1,
      'meshgate_route_backends_healthy{route="api"}': 1,
      meshgate_connections_limit: 100,
      meshgate_pending_hellos_limit: 10,
      meshgate_pending_hellos: 0,
      meshgate_memory_limit_bytes: expect.any(Number) as unknown,
    });
    await using silent = await rawClient(gateway.address);
    await silent.send(Uint8Array.of(0x16));
    while ((await scrape(gateway)).get('meshgate_pending_hellos') !== 1);
    await files.write('meshgate.yaml', { ...TEST_CONFIG, ...settings, limits: { connections: 50 } });
    expect(await gateway.query('/reload', { method: 'POST' })).toMatchObject({ status: 200 });
    expect((await scrape(gateway)).get('meshgate_connections_limit')).toBe(50);
    gateway.signal('SIGTERM');
    while ((await scrape(gateway)).get('meshgate_ready') !== 0);
  });
});

describe('remote datacenters and peers', () => {
  const backend = (host: string, healthy: boolean) => ({ address: { host, port: 443 }, weight: 1, healthy });
  const lead = { serverNames: ['x'], withoutBackend: 'NO_GATEWAY' } as const;
  const routes: readonly Route[] = [
    {
      ...lead,
      name: 'a',
      kind: 'remote-datacenter',
      backends: [backend('1', true), backend('2', false)],
      origin: { datacenter: 'dc2' },
    },
    { ...lead, name: 'b', kind: 'imported-service', backends: [backend('3', true)], origin: { peer: 'beta' } },
    {
      ...lead,
      name: 'c',
      kind: 'imported-service',
      backends: [backend('3', true), backend('4', false)],
      origin: { peer: 'beta' },
    },
    { ...lead, name: 'd', kind: 'remote-datacenter', backends: [], origin: { datacenter: 'dc3' } },
    { name: 'e', serverNames: ['y'], backends: [backend('5', true)], origin: { datacenter: 'dc1' } },
  ];
  it('are counted by the gateways that lead there, each once', () => {
    const table = { indexes: [{ routes: new Map(routes.map((route) => [route.name, route])) }] } as never;
    const limits = {} as never;
    const vitals = vitalsOf({ routes: { table }, limits, readiness: () => ({ ready: true }) });
    expect(Array.from(vitals.remotes())).toEqual([
      { name: 'datacenter dc2', total: 2, healthy: 1 },
      { name: 'peer beta', total: 2, healthy: 1 },
      { name: 'datacenter dc3', total: 0, healthy: 0 },
    ]);
  });
});
