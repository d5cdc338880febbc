import { expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { FaultyAgent } from './faulty-agent.ts';
import type { Fault } from './faulty-agent.ts';
import { Consul, describeWithConsul } from './real-consul.ts';
import { register } from './register.ts';
import { shown, Watched } from './watched.ts';

// A silent agent gets ten seconds for each query.
const SILENCE_MS = 40_000;
// Roots, inventory, resolvers, servers, gateways, links: the gateway itself is not registered here. Releases with peering have more.
const WATCHES = 6;

describeWithConsul('when the agent fails, the last routes stay, and it recovers by itself', () => {
  it.each<readonly [fault: Fault, message: string]>([
    ['status 500', 'No cluster leader'],
    ['garbage', 'found <html>not Consul</html>'],
    ['wrong shape', 'found "a text"'],
    ['reset', 'Consul agent at'],
    ['silence', 'connected, but no response in time'],
  ])(
    'with %s',
    async (fault, message) => {
      await using consul = await Consul.start();
      await using agent = await FaultyAgent.before(consul.address);
      await register(consul, 'db', {});
      await using routes = new Watched(consulSource({ address: agent.address }));
      await routes.until((at) => shown(at, 'service:db') === '10.0.0.1:20000');
      await expect.poll(() => agent.held).toBeGreaterThanOrEqual(WATCHES);
      agent.misbehave(fault);
      await routes.failure(message);
      expect(shown(routes.latest ?? NOTHING, 'service:db')).toBe('10.0.0.1:20000');
      await register(consul, 'db', { status: 'critical' });
      agent.misbehave('none');
      await routes.until((at) => shown(at, 'service:db') === '10.0.0.1:20000 unhealthy');
    },
    SILENCE_MS,
  );

  it('with its death, and a restart with all of its state: nothing is held', async () => {
    await using consul = await Consul.start();
    await register(consul, 'db', {});
    await using routes = new Watched(consulSource({ address: consul.address }));
    await routes.until((at) => shown(at, 'service:db') === '10.0.0.1:20000');
    await consul.kill();
    await routes.failure('ECONNREFUSED');
    expect(shown(routes.latest ?? NOTHING, 'service:db')).toBe('10.0.0.1:20000');
    await consul.restart();
    await consul.put('catalog/deregister', { Node: 'node-db-1' });
    const snapshot = await routes.until((at) => shown(at, 'service:db') === undefined);
    expect(held(snapshot)).toEqual([]);
  });

  it('with its death, and a restart without its state: lost routes are held until they are confirmed', async () => {
    await using consul = await Consul.start();
    await Promise.all(['db', 'web'].map((service) => register(consul, service, {})));
    await using routes = new Watched(consulSource({ address: consul.address }));
    const before = await routes.until((at) => at.routes.length === 2);
    await consul.kill();
    await consul.restart({ empty: true });
    const after = await routes.until((at) => held(at).length > 0);
    expect(after.routes).toEqual(before.routes);
    await register(consul, 'db', { address: '10.0.0.7' });
    const confirmed = await routes.until((at) => shown(at, 'service:db') === '10.0.0.7:20000');
    expect(shown(confirmed, 'service:web')).toBe('10.0.0.1:20000');
    await register(consul, 'web', {});
    await routes.until((at) => held(at).length === 0);
  });
});

describeWithConsul('the source', () => {
  it('holds few sockets however many services there are', async () => {
    await using consul = await Consul.start();
    await using agent = await FaultyAgent.before(consul.address);
    const names = Array.from({ length: MANY }, (_, at) => `s${at}`);
    // In small batches: an agent writes many in the time of one.
    while (names.length > 0) await Promise.all(names.splice(0, 25).map((name) => register(consul, name, {})));
    await using routes = new Watched(consulSource({ address: agent.address }));
    await routes.until((at) => at.routes.length === MANY);
    expect(agent.mostSockets).toBeLessThanOrEqual(24);
  });

  it('leaves no socket behind when it is aborted', async () => {
    await using consul = await Consul.start();
    await using agent = await FaultyAgent.before(consul.address);
    {
      await using routes = new Watched(consulSource({ address: agent.address }));
      await routes.until(() => true);
    }
    await expect.poll(() => agent.sockets).toBe(0);
  });
});

const NOTHING = { version: '', routes: [] };
// More than the agent's limit of HTTP connections per client.
const MANY = 250;

function held({ warnings = [] }: { readonly warnings?: readonly string[] }): readonly string[] {
  return warnings.filter((warning) => warning.includes('lost its state'));
}
