import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { carrierVitals, exposition, expositionStream, gatewayVitals } from '../src/index.ts';
import { VITALS } from './vitals.ts';

async function linesOf(registry: Registry, accept?: string): Promise<readonly string[]> {
  const { body } = await exposition(registry, accept);
  return body.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
}

describe('the metrics of a gateway as a whole', () => {
  it.each([undefined, 'application/openmetrics-text'])('are its state at the scrape, in %s', async (accept) => {
    const registry = new Registry();
    gatewayVitals(registry, VITALS);
    expect(await linesOf(registry, accept)).toEqual([
      'meshgate_ready 1',
      'meshgate_route_backends{route="api"} 2',
      'meshgate_route_backends{route="web"} 1',
      'meshgate_route_backends_healthy{route="api"} 1',
      'meshgate_route_backends_healthy{route="web"} 0',
      'meshgate_remote_gateways{remote="datacenter dc2"} 2',
      'meshgate_remote_gateways_healthy{remote="datacenter dc2"} 0',
      'meshgate_connections_limit 1000',
      'meshgate_pending_hellos_limit 100',
      'meshgate_memory_limit_bytes 1073741824',
    ]);
  });

  it('drop a removed route, and are computed anew each time', async () => {
    const registry = new Registry();
    let routes = ['a', 'b'];
    gatewayVitals(registry, { ...VITALS, routes: () => routes.map((name) => ({ name, total: 1, healthy: 1 })) });
    const ofRoutes = async () => (await linesOf(registry)).filter((line) => line.includes('route_backends{'));
    expect(await ofRoutes()).toHaveLength(2);
    routes = ['b'];
    expect(await ofRoutes()).toEqual(['meshgate_route_backends{route="b"} 1']);
  });

  it('of ten thousand routes arrive in pieces, none of which blocks others', async () => {
    const registry = new Registry();
    const routes = Array.from({ length: 10_000 }, (_, index) => ({ name: `route-${index}`, total: 2, healthy: 1 }));
    gatewayVitals(registry, { ...VITALS, routes: () => routes });
    let pieces = 0;
    let lines = 0;
    for await (const piece of expositionStream(registry, undefined).stream) {
      pieces += 1;
      lines += piece.split('\n').length;
    }
    expect(pieces).toBeGreaterThan(400);
    expect(lines).toBeGreaterThan(20_000);
  });

  it('of a process omit what its transport does not have', async () => {
    const registry = new Registry();
    carrierVitals(registry, { pendingHellos: () => 3, pipes: () => undefined });
    expect(await linesOf(registry)).toEqual(['meshgate_pending_hellos 3']);
  });
});
