import { createServer, request } from 'node:http';
import { standInAgent } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { consulParts, registrationOf } from '../src/index.ts';
import type { RegisterOptions, RegistrationBody } from '../src/index.ts';
import { registrationService } from '../src/registration-service.ts';
import { onLoopback } from './loopback.ts';
import { Consul, describeWithConsul } from './real-consul.ts';
import { Watched } from './watched.ts';

const HOST = ['10.0.0.5', '203.0.113.5', '::1'];
const isLocal = (ip: string): boolean => HOST.includes(ip);
const NO_DEFAULT = { envoy_gateway_no_default_bind: true };
const TAGGED = { envoy_gateway_bind_tagged_addresses: true };
const LISTEN = { host: '127.0.0.1', port: 8443 };
const REGISTER: RegisterOptions = { service: 'edge', address: '127.0.0.1:8443' };

describe('a registration', () => {
  it('without settings is the one of Consul’s own command', () => {
    expect(bodyOf({})).toEqual({
      Kind: 'mesh-gateway',
      Name: 'mesh-gateway',
      ID: 'mesh-gateway',
      Port: 443,
      Check: {
        Name: 'mesh-gateway listening',
        TCP: '127.0.0.1:443',
        Interval: '10s',
        DeregisterCriticalServiceAfter: '6h',
      },
    });
  });

  it('carries every setting', () => {
    const settings = {
      service: 'edge',
      id: 'edge-1',
      address: '10.0.0.5:8443',
      wanAddress: 'gw.example.com:443',
      exposeServers: true,
      deregisterAfterCritical: '1h30m',
    };
    expect(bodyOf(settings)).toEqual({
      Kind: 'mesh-gateway',
      Name: 'edge',
      ID: 'edge-1',
      Address: '10.0.0.5',
      Port: 8443,
      TaggedAddresses: {
        lan: { Address: '10.0.0.5', Port: 8443 },
        wan: { Address: 'gw.example.com', Port: 443 },
      },
      Meta: { 'consul-wan-federation': '1' },
      Check: {
        Name: 'mesh-gateway listening',
        TCP: '10.0.0.5:8443',
        Interval: '10s',
        DeregisterCriticalServiceAfter: '1h30m',
      },
    });
  });

  it.each<readonly [what: string, options: RegisterOptions, config: object | undefined]>([
    ['lan and wan of this host: both tagged addresses', both('203.0.113.5:443'), { ...NO_DEFAULT, ...TAGGED }],
    ['wan elsewhere: the registered address', both('198.18.0.1:443'), undefined],
    [
      'named addresses: these alone',
      { ...both('203.0.113.5:443'), bindAddresses: { wide: '0.0.0.0:8443', v6: '[::1]:8443' } },
      {
        ...NO_DEFAULT,
        envoy_gateway_bind_addresses: {
          wide: { Address: '0.0.0.0', Port: 8443 },
          v6: { Address: '::1', Port: 8443 },
        },
      },
    ],
  ])('binds, with %s', (_what, options, config) => {
    expect(bodyOf(options)['Proxy']).toEqual(config === undefined ? undefined : { Config: config });
  });

  it.each<readonly [options: RegisterOptions, path: readonly string[], found: string]>([
    [{ address: '10.9.9.9:8443' }, ['address'], '10.9.9.9'],
    [{ address: 'nonsense' }, ['address'], '"nonsense"'],
    [{ address: '{{ GetPrivateIP }}:443' }, ['address'], '{{ GetPrivateIP }}'],
    [{ wanAddress: '1.2.3.4:0' }, ['wanAddress'], '1.2.3.4:0'],
    [{ wanAddress: '[::ffff:0.0.0.0]:443' }, ['wanAddress'], '::ffff:0.0.0.0'],
    [{ wanAddress: '[0:0:0:0:0:0:0:0]:443' }, ['wanAddress'], '0:0:0:0:0:0:0:0'],
    [{ wanAddress: ':443' }, ['wanAddress'], '":443"'],
    [{ address: ':0' }, ['address'], '":0"'],
    [{ address: '10.0.0.5:99999' }, ['address'], '"10.0.0.5:99999"'],
    [{ bindAddresses: { one: ':8443' } }, ['bindAddresses', 'one'], '":8443"'],
    [{ bindAddresses: { one: 'gw' } }, ['bindAddresses', 'one'], '"gw"'],
    [{ deregisterAfterCritical: 'soon' }, ['deregisterAfterCritical'], '"soon"'],
  ])('is rejected for %j', (options, path, found) => {
    const registration = registrationOf(options, isLocal);
    const message = expect.stringContaining(found) as string;
    expect(registration).toEqual({ kind: 'invalid', problems: [{ path, message }] });
  });

  it('has port 443 for an address without a port, and the agent’s own address for a port alone', () => {
    expect(bodyOf({ address: '10.0.0.5', wanAddress: '198.18.0.1' })).toMatchObject({
      Address: '10.0.0.5',
      Port: 443,
      TaggedAddresses: { lan: { Address: '10.0.0.5', Port: 443 }, wan: { Address: '198.18.0.1', Port: 443 } },
    });
    expect(bodyOf({ bindAddresses: { lan: '10.0.0.5' } })['Proxy']).toMatchObject({
      Config: { envoy_gateway_bind_addresses: { lan: { Address: '10.0.0.5', Port: 443 } } },
    });
    const alone = bodyOf({ address: ':8443', wanAddress: '203.0.113.5:443' });
    expect(alone).toMatchObject({ Port: 8443, TaggedAddresses: { wan: { Address: '203.0.113.5' } } });
    expect(alone).toMatchObject({ Check: { TCP: '127.0.0.1:8443' } });
    expect(alone).not.toHaveProperty('Address');
    expect(alone).not.toHaveProperty(['TaggedAddresses', 'lan']);
    expect(alone).not.toHaveProperty('Proxy');
  });

  it('is checked on the IPv6 address in brackets', () => {
    expect(bodyOf({ address: '[::1]:8443' })['Check']).toMatchObject({ TCP: '[::1]:8443' });
  });
});

const CHECKED = { timeout: 18_000, interval: 200 };

describe('a gateway that only the catalog has', () => {
  const AT_NODE = {
    name: 'mesh-gateway',
    kind: 'mesh-gateway',
    node: 'k8s-virtual',
    address: '127.0.0.9',
    port: 8443,
    meta: { 'consul-wan-federation': '1' },
  };
  const listenersOf = (snapshot: readonly { readonly endpoint: object }[]) => snapshot.map(({ endpoint }) => endpoint);

  it('has its listeners and settings from there, followed, and a registration is neither made nor taken back', async () => {
    await using agent = await standInAgent({ mesh: { services: [AT_NODE] } });
    const { routes, listeners, registration } = consulParts({ address: agent.address, node: 'k8s-virtual' });
    const { signal } = new AbortController();
    await registration.start(signal);
    await using snapshots = new Watched(routes);
    await using addresses = new Watched(listeners);
    const { routes: found, warnings } = await snapshots.until(() => true);
    expect(warnings).toBeUndefined();
    expect(found.map(({ kind }) => kind)).toContain('local-servers');
    expect(listenersOf(await addresses.until(() => true))).toEqual([{ host: '127.0.0.9', port: 8443 }]);
    agent.change({ services: [{ ...AT_NODE, port: 9443 }] });
    await addresses.until((at) => at[0]?.endpoint.port === 9443);
    await registration.stop(signal);
    expect(agent.requests.filter((one) => one.startsWith('PUT'))).toEqual([]);
  });

  it.each([
    ['nowhere', {}, 'expected one mesh gateway on node nowhere, found none'],
    ['k8s-virtual', {}, 'expected one mesh gateway on node k8s-virtual, found one, two'],
  ])('is missed on node %s, with what is there', async (node, options, message) => {
    const services = ['one', 'two'].map((id) => ({ ...AT_NODE, id }));
    await using agent = await standInAgent({ mesh: { services } });
    await using snapshots = new Watched(consulParts({ address: agent.address, node, ...options }).routes);
    await snapshots.until(({ warnings }) => warnings?.some((one) => one.includes(message)) === true);
    await using named = new Watched(
      consulParts({ address: agent.address, node: 'k8s-virtual', proxyId: 'two' }).routes,
    );
    expect((await named.until(() => true)).warnings).toBeUndefined();
  });
});

describeWithConsul('a gateway that only the catalog of a real agent has', () => {
  it('is found at its node', async () => {
    await using consul = await Consul.start();
    const Service = { Kind: 'mesh-gateway', Service: 'gw', Address: '127.0.0.9', Port: 8443 };
    await consul.put('catalog/register', { Node: 'k8s-virtual', Address: '127.0.0.9', Service });
    const { routes, listeners } = consulParts({ address: consul.address, node: 'k8s-virtual' });
    await using addresses = new Watched(listeners);
    expect(await addresses.until(() => true)).toMatchObject([{ endpoint: { host: '127.0.0.9', port: 8443 } }]);
    await using snapshots = new Watched(routes);
    expect((await snapshots.until(() => true)).warnings).toBeUndefined();
  });
});

describeWithConsul('a registered gateway', () => {
  const forced = new AbortController().signal;

  it('exists after the start, again when the agent has lost it, in maintenance during the drain, removed at the end', async () => {
    await using consul = await Consul.start();
    const { registration, routes } = consulParts({ address: consul.address, register: REGISTER });
    await registration.start(forced);
    expect(await consul.get('agent/service/edge')).toMatchObject({ Kind: 'mesh-gateway', Port: 8443 });
    await consul.put('agent/service/deregister/edge');
    await expect.poll(() => consul.get('agent/service/edge').catch(() => undefined)).toMatchObject({ Service: 'edge' });
    await using watched = new Watched(routes);
    await watched.until(() => true);
    await registration.drain?.(forced);
    expect(await consul.get('agent/checks')).toHaveProperty(['_service_maintenance:edge', 'Status'], 'critical');
    await registration.stop(forced);
    expect(await consul.get('agent/services')).toEqual({});
    expect(watched.latest?.warnings ?? []).toEqual([]);
  });

  it('stays in maintenance during the drain, even if the agent has lost it meanwhile', async () => {
    await using consul = await Consul.start();
    const { registration } = consulParts({ address: consul.address, register: REGISTER });
    await registration.start(forced);
    await registration.drain?.(forced);
    await consul.put('agent/service/deregister/edge');
    const checks = () => consul.get('agent/checks');
    await expect.poll(checks).toHaveProperty(['_service_maintenance:edge', 'Notes'], 'meshgate is draining');
    await registration.stop(forced);
    expect(await consul.get('agent/services')).toEqual({});
  });

  it('of another owner is in maintenance during the drain, and restored', async () => {
    await using consul = await Consul.start();
    await consul.put('agent/service/register', {
      Name: 'edge',
      Kind: 'mesh-gateway',
      Address: '127.0.0.1',
      Port: 8443,
    });
    const { registration } = consulParts({ address: consul.address, proxyId: 'edge' });
    await registration.start(forced);
    await registration.drain?.(forced);
    expect(await consul.get('agent/checks')).toHaveProperty(['_service_maintenance:edge']);
    await registration.stop(forced);
    expect(await consul.get('agent/checks')).not.toHaveProperty(['_service_maintenance:edge']);
    expect(await consul.get('agent/services')).toHaveProperty('edge');
  });

  it('that is an ordinary service is rejected, and not touched', async () => {
    await using consul = await Consul.start();
    await consul.put('agent/service/register', { Name: 'web', Port: 8080 });
    const { registration, listeners } = consulParts({ address: consul.address, proxyId: 'web' });
    const refusal = 'expected web to be a mesh gateway, found an ordinary service';
    await expect(registration.start(forced)).rejects.toThrow(refusal);
    await using watched = new Watched(listeners);
    await watched.failure(refusal);
    expect(watched.latest).toBeUndefined();
    expect(await consul.get('agent/checks')).toEqual({});
  });

  it('that another process has taken over is neither drained nor deregistered', async () => {
    await using consul = await Consul.start();
    const [first, second] = [0, 1].map(() => consulParts({ address: consul.address, register: REGISTER }).registration);
    await first?.start(forced);
    await second?.start(forced);
    await first?.drain?.(forced);
    await first?.stop(forced);
    expect(await consul.get('agent/services')).toHaveProperty('edge');
    expect(await consul.get('agent/checks')).not.toHaveProperty(['_service_maintenance:edge']);
    await second?.stop(forced);
    expect(await consul.get('agent/services')).toEqual({});
  });

  it('is not made if another live gateway has the id, and this is reported', async () => {
    await using consul = await Consul.start();
    await using listening = await onLoopback(createServer());
    const port = Number(new URL(listening.address).port);
    const first = consulParts({ address: consul.address, register: { ...REGISTER, address: `127.0.0.1:${port}` } });
    await first.registration.start(forced);
    const isPassing = async () => Object.values((await consul.get('agent/checks')) as object)[0] as { Status: string };
    await expect.poll(isPassing, { timeout: 30_000 }).toMatchObject({ Status: 'passing' });
    const second = consulParts({ address: consul.address, register: REGISTER });
    await second.registration.start(forced);
    await using routes = new Watched(second.routes);
    const { warnings } = await routes.until((at) => at.warnings !== undefined);
    expect(warnings?.join()).toContain(`another gateway is registered with the agent as edge, at 127.0.0.1:${port}`);
    await second.registration.stop(forced);
    expect(await consul.get('agent/service/edge')).toMatchObject({ Port: port });
    await first.registration.stop(forced);
  }, 60_000);

  it.each([
    ['an ordinary service', { Port: 8080 }],
    [
      'a service of the kind connect-proxy',
      { Port: 8080, Kind: 'connect-proxy', Proxy: { DestinationServiceName: 'shop' } },
    ],
  ])('with the id of %s is rejected, and not made', async (kind, service) => {
    await using consul = await Consul.start();
    await consul.put('agent/service/register', { ...service, Name: 'edge' });
    const before = await consul.get('agent/service/edge');
    const { registration } = consulParts({ address: consul.address, register: REGISTER });
    await expect(registration.start(forced)).rejects.toThrow(`expected edge to be a mesh gateway, found ${kind}`);
    expect(await consul.get('agent/service/edge')).toEqual(before);
  });

  it('that another kind of service has replaced is left alone, and this is reported', async () => {
    await using consul = await Consul.start();
    const { registration, routes } = consulParts({ address: consul.address, register: REGISTER });
    await registration.start(forced);
    const service = { Name: 'shop', ID: 'edge', Port: 8080 };
    await consul.put('agent/service/register', service);
    await using snapshots = new Watched(routes);
    await snapshots.until(
      ({ warnings }) => warnings?.join().includes('may be missing in Consul: expected edge') === true,
    );
    await registration.drain?.(forced);
    await registration.stop(forced);
    expect(await consul.get('agent/service/edge')).toMatchObject({ Service: 'shop', Port: 8080 });
    expect(await consul.get('agent/checks')).not.toHaveProperty(['_service_maintenance:edge']);
  });

  it.each([
    ['has not been checked yet', {}],
    ['runs other software', { Check: { TTL: '1h', Status: 'passing' } }],
  ])('is not made if another gateway with its id %s', async (_what, other) => {
    await using consul = await Consul.start();
    const { body } = marked({ ...REGISTER, address: '127.0.0.1:9443' });
    await consul.put('agent/service/register', { ...body, ...other });
    const { registration, listeners } = consulParts({ address: consul.address, register: REGISTER });
    await registration.start(forced);
    expect(await consul.get('agent/service/edge')).toMatchObject({ Port: 9443 });
    // It neither leaves its own address nor takes the other's.
    await using addresses = new Watched(listeners);
    expect(await addresses.until(() => true)).toEqual([{ name: 'default', endpoint: LISTEN }]);
    await registration.stop(forced);
    expect(await consul.get('agent/service/edge')).toMatchObject({ Port: 9443 });
  });

  it('does not move the listeners of the gateway that had its id before', async () => {
    await using consul = await Consul.start();
    const { registration, listeners } = consulParts({ address: consul.address, register: REGISTER });
    await registration.start(forced);
    const { Meta } = (await consul.get('agent/service/edge')) as { readonly Meta: object };
    const ports: (number | undefined)[] = [];
    await using addresses = new Watched({
      async *watch(signal) {
        for await (const at of listeners.watch(signal)) {
          ports.push(at[0]?.endpoint.port);
          yield at;
        }
      },
    });
    await addresses.until(() => true);
    // Follows whatever is registered, at the same pace.
    await using follower = new Watched(consulParts({ address: consul.address, proxyId: 'edge' }).listeners);
    await follower.until(() => true);
    const other = { Name: 'edge', Kind: 'mesh-gateway', Address: '127.0.0.1', Port: 9443 };
    await consul.put('agent/service/register', other);
    await follower.until((at) => at[0]?.endpoint.port === 9443);
    await consul.put('agent/service/register', { ...other, Meta, Port: 9444 });
    await addresses.until((at) => at[0]?.endpoint.port === 9444);
    expect(ports).toEqual([8443, 9444]);
    await registration.stop(forced);
  });

  it('replaces the one of a killed gateway, whose check now queries this gateway', async () => {
    await using consul = await Consul.start();
    await using ready = await onLoopback(createServer((_request, response) => void response.end('{"ready":true}')));
    const readyUrl = `${ready.address}/ready`;
    const { body, Check } = marked({ ...REGISTER, address: '127.0.0.1:9443', readyUrl });
    await consul.put('agent/service/register', { ...body, Check: { ...Check, Interval: '100ms' } });
    const check = async () => Object.values((await consul.get('agent/checks')) as object)[0] as object;
    await expect.poll(check, CHECKED).toMatchObject({ Status: 'passing' });
    const { registration } = consulParts({ address: consul.address, register: { ...REGISTER, readyUrl } });
    await registration.start(forced);
    expect(await consul.get('agent/service/edge')).toMatchObject({ Port: 8443 });
    await registration.stop(forced);
  }, 60_000);

  it('is checked for readiness if a URL for that is set', () => {
    const check = bodyOf({ address: '127.0.0.1:8443', readyUrl: 'http://127.0.0.1:19000/ready' })['Check'];
    expect(check).toMatchObject({ HTTP: 'http://127.0.0.1:19000/ready', Interval: '10s' });
    expect(check).not.toHaveProperty('TCP');
  });

  it('is passing while the URL for its check reports ready, and critical otherwise', async () => {
    await using consul = await Consul.start();
    let status = 200;
    const queried = createServer((_request, response) => void response.writeHead(status).end('{"ready":false}'));
    await using ready = await onLoopback(queried);
    const register = { ...REGISTER, readyUrl: `${ready.address}/ready` };
    const { registration } = consulParts({ address: consul.address, register });
    await registration.start(forced);
    const check = async () => Object.values((await consul.get('agent/checks')) as object)[0] as object;
    // An agent runs the first check at a random time within the first interval, then once per interval.
    await expect.poll(check, CHECKED).toMatchObject({ Type: 'http', Status: 'passing' });
    status = 503;
    const isQueried = expect.stringContaining('503 Service Unavailable Output: {"ready":false}');
    await expect.poll(check, CHECKED).toMatchObject({ Status: 'critical', Output: isQueried });
    await registration.stop(forced);
  }, 80_000);

  it('recovers from an aborted drain without its own maintenance, but with an operator’s', async () => {
    await using consul = await Consul.start();
    const first = consulParts({ address: consul.address, register: REGISTER }).registration;
    await first.start(forced);
    await first.drain?.(forced);
    const second = consulParts({ address: consul.address, register: REGISTER }).registration;
    await second.start(forced);
    expect(await consul.get('agent/checks')).not.toHaveProperty(['_service_maintenance:edge']);
    await consul.put('agent/service/maintenance/edge?enable=true&reason=by+hand');
    const third = consulParts({ address: consul.address, register: REGISTER }).registration;
    await third.start(forced);
    expect(await consul.get('agent/checks')).toHaveProperty(['_service_maintenance:edge', 'Notes'], 'by hand');
    for (const service of [first, second, third]) await service.stop(forced);
  });

  it('starts and stops although the agent is unavailable', async () => {
    const parts = consulParts({ address: 'http://127.0.0.1:1', register: REGISTER });
    await parts.registration.start(forced);
    await using listeners = new Watched(parts.listeners);
    expect(await listeners.until(() => true)).toEqual([{ name: 'default', endpoint: LISTEN }]);
    await expect(parts.registration.stop(forced)).rejects.toThrow('ECONNREFUSED');
  });

  it('listens on the addresses of its definition, and follows it', async () => {
    await using consul = await Consul.start();
    const service = { Name: 'found', Kind: 'mesh-gateway', Address: '127.0.0.1', Port: 8443 };
    await consul.put('agent/service/register', service);
    await using listeners = new Watched(consulParts({ address: consul.address }).listeners);
    await listeners.until((at) => at[0]?.name === 'default');
    const wide = { wide: { Address: '0.0.0.0', Port: '9443' } };
    const Proxy = { Config: { envoy_mesh_gateway_no_default_bind: 'true', envoy_gateway_bind_addresses: wide } };
    await consul.put('agent/service/register', { ...service, Proxy });
    const followed = await listeners.until((at) => at[0]?.name === 'wide');
    expect(followed).toEqual([{ name: 'wide', endpoint: { host: '0.0.0.0', port: 9443 } }]);
  });

  it('without an id must be the only one', async () => {
    await using consul = await Consul.start();
    const none = new Watched(consulParts({ address: consul.address }).listeners);
    await none.failure('expected one mesh gateway registered with the agent, found none');
    // Otherwise it would follow the first of two that are registered one after the other.
    await none[Symbol.asyncDispose]();
    for (const Name of ['one', 'two'])
      await consul.put('agent/service/register', { Name, Kind: 'mesh-gateway', Port: 8443 });
    await using several = new Watched(consulParts({ address: consul.address }).listeners);
    await several.failure('found one, two');
  });
});

/** The registration of another process. */
function marked(options: RegisterOptions): { readonly body: object; readonly Check: object } {
  const body = bodyOf(options);
  return { body: { ...body, Meta: { 'meshgate-process': 'other' } }, Check: body['Check'] as object };
}

function both(wanAddress: string): RegisterOptions {
  return { address: '10.0.0.5:8443', wanAddress };
}

function bodyOf(options: RegisterOptions): RegistrationBody {
  const registration = registrationOf(options, isLocal);
  if (registration.kind === 'invalid') throw new Error(registration.problems.map(({ message }) => message).join());
  return registration.body;
}

const NO_CHECKS = { responses: { 'agent/checks': {} } };

it('a gateway with several agents behind one address leaves nothing at any of them', async () => {
  const { signal } = new AbortController();
  await using one = await standInAgent(NO_CHECKS);
  await using two = await standInAgent(NO_CHECKS);
  await using three = await standInAgent(NO_CHECKS);
  const agents = [one, two, three];
  let turn = 0;
  const balancer = createServer((incoming, outgoing) => {
    turn += 1;
    const { address } = agents[turn % agents.length] ?? one;
    const forwarded = request(
      `${address}${incoming.url}`,
      { method: incoming.method, headers: incoming.headers },
      (response) => {
        outgoing.writeHead(response.statusCode ?? 500, response.headers);
        response.pipe(outgoing);
      },
    );
    forwarded.on('error', () => outgoing.destroy());
    outgoing.once('close', () => forwarded.destroy());
    incoming.pipe(forwarded);
  });
  await using listening = await onLoopback(balancer);
  const registration = registrationService({
    agent: { address: listening.address },
    body: bodyOf(REGISTER),
    mark: 'this process',
    onProblem: () => undefined,
    onDeregister: () => undefined,
  });
  await registration.start(signal);
  const count = (): number => agents.filter((agent) => agent.registered.size > 0).length;
  await expect.poll(count).toBeGreaterThan(1);
  expect(agents.map(({ requests: queried }) => queried.length).reduce((sum, more) => sum + more)).toBeLessThan(40);
  await registration.stop(signal);
  expect(agents.map(({ registered }) => registered.size)).toEqual([0, 0, 0]);
});

it('a registration that disappears repeatedly is not repeated forever: the probable cause is reported until it stays', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true });
  onTestFinished(() => void vi.useRealTimers());
  const { signal } = new AbortController();
  await using agent = await standInAgent(NO_CHECKS);
  const problems: (string | undefined)[] = [];
  const onProblem = (problem: string | undefined): number => problems.push(problem);
  const options = {
    agent: { address: agent.address },
    body: bodyOf(REGISTER),
    mark: 'this process',
    onProblem,
    onDeregister: () => undefined,
  };
  const registration = registrationService(options);
  await registration.start(signal);
  for (let loss = 0; loss < 2; loss += 1) {
    await expect.poll(() => agent.registered.size).toBe(1);
    await fetch(`${agent.address}/v1/agent/service/deregister/edge`, { method: 'PUT' });
  }
  await expect.poll(() => problems.at(-1)).toContain('several agents or servers respond at its address');
  // An agent that was only restarted a few times: the rests between the attempts pass, and it has been kept since.
  await expect.poll(() => (vi.advanceTimersByTime(1_000), problems.at(-1)), { timeout: 30_000 }).toBeUndefined();
  expect(agent.registered.size).toBe(1);
  await registration.stop(signal);
});
