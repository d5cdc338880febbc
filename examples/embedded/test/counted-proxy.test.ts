import { exposition } from '@meshgate/metrics';
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { startCountedProxy } from '../src/counted-proxy.ts';

it('two proxies in one process share one registry, and remove their series when they stop', async () => {
  await using api = await tlsBackend('api.example.com');
  const backends = [{ address: api.address, weight: 1, healthy: true }];
  const routes = [{ name: 'api', serverNames: ['api.example.com'], backends }];
  const listen = { host: '127.0.0.1', port: 0 };
  const registry = new Registry();
  const [edge, mesh] = await Promise.all([
    startCountedProxy('edge', registry, { listen, routes }),
    startCountedProxy('mesh', registry, { listen, routes }),
  ]);
  const accepted = async (): Promise<readonly string[]> =>
    (await exposition(registry, undefined)).body.split('\n').filter((line) => line.startsWith(ACCEPTED));
  for (const { address } of [edge, mesh, mesh]) {
    await using client = await tlsClient(address, 'api.example.com', { ca: api.ca });
    expect(await client.echo('hello')).toBe('hello');
  }
  expect(await accepted()).toEqual([
    `${ACCEPTED}{listener="main",proxy="edge"} 1`,
    `${ACCEPTED}{listener="main",proxy="mesh"} 2`,
  ]);
  await mesh.stop();
  expect(await accepted()).toEqual([`${ACCEPTED}{listener="main",proxy="edge"} 1`]);
  await (await startCountedProxy('mesh', registry, { listen, routes })).stop();
  await edge.stop();
});

const ACCEPTED = 'meshgate_connections_accepted_total';
