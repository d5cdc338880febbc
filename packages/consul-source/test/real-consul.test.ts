import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { Consul, describeWithConsul } from './real-consul.ts';
import { node, proxyOf, register } from './register.ts';
import type { Registration } from './register.ts';
import { shown, summary, Watched } from './watched.ts';

describeWithConsul('with a real agent', () => {
  let consul: Consul;
  let routes: Watched;

  beforeAll(async () => {
    consul = await Consul.start();
    routes = new Watched(consulSource({ address: consul.address }));
  });
  afterAll(async () => {
    await routes[Symbol.asyncDispose]();
    await consul[Symbol.asyncDispose]();
  });

  describe('an instance', () => {
    it.each<readonly [what: string, registration: Registration, expected: string]>([
      ['passing 5/3', { status: 'passing', weights: [5, 3] }, '10.0.0.1:20000 w5'],
      ['warning 5/3', { status: 'warning', weights: [5, 3] }, '10.0.0.1:20000 w3'],
      ['critical 5/3', { status: 'critical', weights: [5, 3] }, '10.0.0.1:20000 w5 unhealthy'],
      ['passing 300/1', { status: 'passing', weights: [300, 1] }, '10.0.0.1:20000 w128'],
      ['warning 4/0', { status: 'warning', weights: [4, 0] }, '10.0.0.1:20000 unhealthy'],
      ['without an address', { address: '' }, '10.9.0.1:20000'],
      ['with a wan address', { wan: '198.18.0.1' }, '10.0.0.1:20000'],
      ['with a critical node check', { nodeStatus: 'critical' }, '10.0.0.1:20000 unhealthy'],
    ])('%s is %j', async (what, registration, expected) => {
      const service = what.replaceAll(/\W+/g, '-');
      await register(consul, service, registration);
      const snapshot = await routes.until((at) => shown(at, `service:${service}`) === expected);
      expect(shown(snapshot, `service:${service}`)).toBe(expected);
    });
  });

  it('each change of an instance arrives: check, weight, address, node, another one, one less', async () => {
    const becomes = (expected: string | undefined): Promise<unknown> =>
      routes.until((snapshot) => shown(snapshot, 'service:changing') === expected);
    await register(consul, 'changing', {});
    await becomes('10.0.0.1:20000');
    await register(consul, 'changing', { status: 'critical' });
    await becomes('10.0.0.1:20000 unhealthy');
    await register(consul, 'changing', { weights: [7, 1] });
    await becomes('10.0.0.1:20000 w7');
    await register(consul, 'changing', { address: '10.0.0.9' });
    await becomes('10.0.0.9:20000');
    await register(consul, 'changing', { address: '', node: '10.9.0.7' });
    await becomes('10.9.0.7:20000');
    await register(consul, 'changing', { address: '10.0.0.2', copy: 2 });
    await becomes('10.0.0.2:20000, 10.9.0.7:20000');
    await consul.put('catalog/deregister', { Node: 'node-changing-1', ServiceID: 'changing-1-proxy' });
    await becomes('10.0.0.2:20000');
    await consul.put('catalog/deregister', { Node: 'node-changing-2' });
    await becomes(undefined);
  });

  it(
    'odd names and addresses affect their own service only: the others still change',
    { timeout: 60_000 },
    async () => {
      const odd = ['..', '.', '/a', 'a//b', '*', 'a\u0007b', 'team/web', 'x'.repeat(70)];
      const native = (Name: string, ID: string, Address?: string): object => {
        return { Name, ID, Port: 80, Connect: { Native: true }, ...(Address === undefined ? {} : { Address }) };
      };
      try {
        for (const [at, name] of odd.entries()) await consul.put('agent/service/register', native(name, `odd-${at}`));
        await consul.put('agent/service/register', native('socket', 'odd-socket', 'unix:/run/docker.sock'));
        await consul.put('agent/service/register', native('even', 'even', '10.0.7.1'));
        const { routes: found, warnings } = await routes.until((at) => shown(at, 'service:even') === '10.0.7.1:80');
        expect(found.flatMap(({ serverNames }) => serverNames.filter((name) => name.startsWith('*')))).toEqual([]);
        expect(found.find(({ name }) => name === 'service:socket')?.backends).toEqual([]);
        const text = (warnings ?? []).join('\n');
        for (const named of ['service "..', 'odd-socket', 'service:*', 'service:team/web', `service:${'x'.repeat(70)}`])
          expect(text).toContain(named);
      } finally {
        for (const at of odd.keys()) await consul.put(`agent/service/deregister/odd-${at}`);
        for (const id of ['odd-socket', 'even']) await consul.put(`agent/service/deregister/${id}`);
      }
    },
  );

  it('connect-native services have routes, ordinary ones and proxies without their service have none', async () => {
    await consul.put('catalog/register', node('plain', { Service: 'plain', Port: 80 }));
    await consul.put('catalog/register', node('lonely', { ...proxyOf('lonely'), Address: '10.0.0.1' }));
    const native = { Service: 'native', Port: 443, Address: '10.0.0.5', Connect: { Native: true } };
    await consul.put('catalog/register', node('native', native));
    const snapshot = await routes.until((at) => shown(at, 'service:native') === '10.0.0.5:443');
    expect(summary(snapshot).filter((route) => /plain|lonely/.test(route))).toEqual([]);
  });

  it('services behind a terminating gateway are routed to the gateway, as long as they are linked', async () => {
    await consul.put('catalog/register', node('legacy', { Service: 'legacy', Port: 80 }));
    const gateway = { ID: 'tgw-1', Service: 'tgw', Kind: 'terminating-gateway', Port: 8500, Address: '10.0.3.9' };
    await consul.put('catalog/register', node('tgw', gateway));
    await consul.put('config', { Kind: 'terminating-gateway', Name: 'tgw', Services: [{ Name: 'legacy' }] });
    await routes.until((at) => shown(at, 'service:legacy') === '10.0.3.9:8500');
    const check = { CheckID: 'up', Name: 'up', ServiceID: 'tgw-1', Status: 'critical' };
    await consul.put('catalog/register', { ...node('tgw', gateway), Check: check });
    await routes.until((at) => shown(at, 'service:legacy') === '10.0.3.9:8500 unhealthy');
    await consul.delete('config/terminating-gateway/tgw');
    await routes.until((at) => shown(at, 'service:legacy') === undefined);
  });

  describe('a service-resolver', () => {
    beforeAll(async () => {
      for (const version of [1, 2, 3])
        await register(consul, 'split', {
          copy: version,
          address: `10.0.1.${version}`,
          meta: { version: `v${version}` },
        });
      await register(consul, 'split', { copy: 4, address: '10.0.1.4', status: 'warning' });
    });

    it.each([
      ['Service.Meta.version == v1', '10.0.1.1:20000'],
      ['Service.Meta.version != v1', '10.0.1.2:20000, 10.0.1.3:20000, 10.0.1.4:20000'],
      ['version in Service.Meta', '10.0.1.1:20000, 10.0.1.2:20000, 10.0.1.3:20000'],
      ['Service.Meta.other == x', ''],
      ['Service.Meta.version == v1 or Service.Meta.version == v3', '10.0.1.1:20000, 10.0.1.3:20000'],
      ['', '10.0.1.1:20000, 10.0.1.2:20000, 10.0.1.3:20000, 10.0.1.4:20000'],
    ])('with filter %j selects %s', async (Filter, expected) => {
      await consul.put('config', { Kind: 'service-resolver', Name: 'split', Subsets: { some: { Filter } } });
      await routes.until((at) =>
        at.routes.some(({ origin }) => origin?.['rule'] === `subset some: ${Filter || 'no filter'}`),
      );
      const snapshot = await routes.until((at) => shown(at, 'subset:some.split') === expected);
      expect(shown(snapshot, 'service:split')?.split(', ')).toHaveLength(4);
    });

    it('with OnlyPassing and a default subset changes the meaning of the unnamed name', async () => {
      const Subsets = { strict: { Filter: 'Service.ID == "split-4-proxy"', OnlyPassing: true } };
      const entry = { Kind: 'service-resolver', Name: 'split', DefaultSubset: 'strict', Subsets, ConnectTimeout: '2s' };
      await consul.put('config', entry);
      const snapshot = await routes.until((at) => shown(at, 'service:split') === '10.0.1.4:20000 unhealthy');
      expect(snapshot.routes.find(({ name }) => name === 'service:split')?.connectTimeoutMs).toBe(2_000);
    });

    it('with a filter that Consul cannot evaluate only disables that subset, and reports it', async () => {
      const Subsets = { bad: { Filter: 'Service.Nope == x' }, good: { Filter: 'Service.Meta.version == v2' } };
      await consul.put('config', { Kind: 'service-resolver', Name: 'split', Subsets });
      const snapshot = await routes.until((at) => shown(at, 'subset:good.split') === '10.0.1.2:20000');
      expect(shown(snapshot, 'subset:bad.split')).toBe('');
      expect(snapshot.warnings?.join()).toContain('Selector "Service.Nope" is not valid');
    });

    it('that is deleted removes its subsets as well', async () => {
      await consul.delete('config/service-resolver/split');
      const snapshot = await routes.until((at) => shown(at, 'subset:good.split') === undefined);
      expect(snapshot.warnings ?? []).not.toContainEqual(expect.stringContaining('Nope'));
    });
  });
});
