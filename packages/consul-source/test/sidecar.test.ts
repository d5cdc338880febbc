import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import type { Credentials, ProxyUpstream, ProxyView } from '@meshgate/mesh';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { consulAuthorizer } from '../src/sidecar/authorizer.ts';
import { consulCredentials } from '../src/sidecar/credentials.ts';
import { consulProxySource } from '../src/sidecar/proxy-source.ts';
import type { ProxyChoice } from '@meshgate/mesh';
import { caller } from './caller.ts';
import { Consul, describeWithConsul } from './real-consul.ts';
import { Watched } from './watched.ts';

// Consul may take half a minute to replicate the gateways of one datacenter to the other.
const REPLICATED_MS = 120_000;
// After a CA change agents request new leafs at a random time within half a minute, to spread the load.
const CHANGED_AUTHORITY_MS = 90_000;
const web = { sidecarFor: 'web-1' } as const;

/** The only upstream of this name. */
function upstream(view: ProxyView, name: string): ProxyUpstream {
  const found = view.upstreams.find(({ definition }) => definition.name === name);
  if (found === undefined) throw new Error(`expected an upstream ${name}, found ${JSON.stringify(view.upstreams)}`);
  return found;
}

/** Its targets, in order: path, addresses and health. */
function targets(view: ProxyView, name: string): readonly string[] {
  const found = view.upstreams.find(({ definition }) => definition.name === name);
  if (found?.kind !== 'reachable') return [found?.reason ?? 'missing'];
  return found.targets.map(({ target, path, backends }) => {
    const at = backends.map(({ address, healthy }) => `${address.host}:${address.port}${healthy ? '' : '!'}`);
    return `${target.id} ${path} ${at.join(',')}`.trim();
  });
}

function decidedBy(view: ProxyView, name: string): string | undefined {
  const found = upstream(view, name);
  return found.kind === 'reachable' ? found.targets[0]?.facts['decidedBy'] : found.reason;
}

/** Whether the leaf was issued by the certificate that follows it, and that one by a root. */
function leadsToRoot({ certificate, roots }: Credentials): boolean {
  const chain = certificate.match(/-----BEGIN[^-]+-----[^-]+-----END[^-]+-----/g) ?? [];
  const [leaf, intermediate] = chain.map((pem) => new X509Certificate(pem));
  if (leaf === undefined || intermediate === undefined || !leaf.checkIssued(intermediate)) return false;
  return roots.some((root) => intermediate.checkIssued(new X509Certificate(root)));
}

function registration(over: object = {}) {
  const upstreams = [{ DestinationName: 'db', LocalBindPort: 19_191, Datacenter: 'dc2', ...over }];
  return {
    ID: 'web-1',
    Name: 'web',
    Port: 8080,
    Connect: { SidecarService: { Port: 20_000, Proxy: { Upstreams: upstreams } } },
  };
}

function instance(service: string, address: string, status = 'passing', wan?: string) {
  const tagged = wan === undefined ? {} : { TaggedAddresses: { wan: { Address: wan, Port: 443 } } };
  return {
    Node: `node-${service}`,
    Address: '10.9.0.1',
    Service: {
      ID: `${service}-proxy`,
      Service: `${service}-sidecar-proxy`,
      Kind: 'connect-proxy',
      Port: 20_000,
      Address: address,
      Proxy: { DestinationServiceName: service },
      ...tagged,
    },
    Checks: [{ Node: `node-${service}`, CheckID: `${service}-up`, ServiceID: `${service}-proxy`, Status: status }],
  };
}

function gateway(name: string, wan: string) {
  return {
    Name: name,
    Kind: 'mesh-gateway',
    Port: 8443,
    Address: `10.7.${name.length}.1`,
    TaggedAddresses: { wan: { Address: wan, Port: 443 } },
  };
}

describeWithConsul('a sidecar in Consul', () => {
  let one: Consul;
  let two: Consul;

  beforeAll(async () => {
    one = await Consul.start();
    const settings = { datacenter: 'dc2', node_name: 'server-2', primary_datacenter: 'dc1' };
    two = await Consul.start({ ...settings, retry_join_wan: [one.wanAddress] });
    await one.put('agent/service/register', registration());
  });
  afterAll(async () => {
    await one[Symbol.asyncDispose]();
    await two[Symbol.asyncDispose]();
  });

  afterEach(async () => {
    for (const entry of ['proxy-defaults/global', 'service-defaults/web', 'service-resolver/api'])
      await one.delete(`config/${entry}`);
  });

  it('of a secondary datacenter has the whole chain up to a root of the primary', async () => {
    await two.put('agent/service/register', registration());
    await using credentials = new Watched<Credentials>(consulCredentials({ address: two.address }, web));
    const { certificate } = await credentials.until(leadsToRoot);
    expect(certificate.split('BEGIN').length).toBeGreaterThan(2);
  });

  it('checks for each caller whether it may connect', async () => {
    const authorizer = consulAuthorizer({ address: one.address });
    const { signal } = new AbortController();
    const { TrustDomain: trustDomain } = (await one.get('agent/connect/ca/roots')) as { TrustDomain: string };
    const request = () => authorizer.authorize(caller(trustDomain, 'web'), { destination: 'db' });
    expect(await request()).toMatchObject({ allowed: true });
    await one.put('connect/intentions/exact?source=web&destination=db', { Action: 'deny' }).catch(async () => {
      const intention = { SourceName: 'web', DestinationName: 'db', SourceType: 'consul', Action: 'deny' };
      await fetch(`${one.address}/v1/connect/intentions`, { method: 'POST', body: JSON.stringify(intention) });
    });
    let verdict = await request();
    for (; verdict.allowed; verdict = await request()) await new Promise((resolve) => setImmediate(resolve));
    expect(verdict.reason).toMatch(/web => default\/db|web.*db/);
    await authorizer.stop(signal);
    await expect(request()).rejects.toThrow('agent/connect/authorize');
  });

  it(
    'gets the targets of its upstreams, by the mode that each place sets, as they change',
    async () => {
      await two.put('catalog/register', instance('db', '10.2.0.1', 'passing', '198.18.2.1'));
      await one.put('agent/service/register', gateway('near', '198.18.1.9'));
      await two.put('agent/service/register', gateway('far-gateway', '198.18.2.9'));
      await using views = new Watched<ProxyView>(consulProxySource({ address: one.address }, web));
      const reached = (expected: string, by = '') =>
        views.until((view) => targets(view, 'db')[0] === expected && decidedBy(view, 'db')?.startsWith(by) === true);
      await reached('db.default.dc2 direct 198.18.2.1:443');
      await one.put('config', { Kind: 'proxy-defaults', Name: 'global', MeshGateway: { Mode: 'remote' } });
      await reached(
        'db.default.dc2 remote-gateway 198.18.2.9:443',
        'remote by the proxy defaults (proxy-defaults/global)',
      );
      await one.put('config', { Kind: 'service-defaults', Name: 'web', MeshGateway: { Mode: 'local' } });
      await reached(
        'db.default.dc2 local-gateway 10.7.4.1:8443',
        'local by the service defaults (service-defaults/web)',
      );
      await one.put('agent/service/register', registration({ MeshGateway: { Mode: 'none' } }));
      await reached('db.default.dc2 direct 198.18.2.1:443', 'none by the upstream definition');
      await one.put('agent/service/register', registration());
      await one.delete('config/service-defaults/web');
      await one.delete('config/proxy-defaults/global');
      await reached('db.default.dc2 direct 198.18.2.1:443', 'no mode is set');
    },
    REPLICATED_MS,
  );

  it(
    'follows subsets, failover and health, and connects to new upstreams',
    async () => {
      await one.put('catalog/register', instance('api', '10.1.0.1'));
      await two.put('catalog/register', instance('api', '10.2.0.2', 'passing', '198.18.2.2'));
      await one.put('agent/service/register', registration({ DestinationName: 'api', Datacenter: '' }));
      await using views = new Watched<ProxyView>(consulProxySource({ address: one.address }, web));
      await views.until((view) => targets(view, 'api')[0] === 'api.default.dc1 direct 10.1.0.1:20000');
      await one.put('config', {
        Kind: 'service-resolver',
        Name: 'api',
        ConnectTimeout: '3s',
        Failover: { '*': { Datacenters: ['dc2'] } },
      });
      const both = ['api.default.dc1 direct 10.1.0.1:20000', 'api.default.dc2 direct 198.18.2.2:443'];
      const view = await views.until((next) => targets(next, 'api').join() === both.join());
      const reachable = upstream(view, 'api');
      const [target] = reachable.kind === 'reachable' ? reachable.targets : [];
      expect(target?.target.connectTimeoutMs).toBe(3_000);
      expect(target?.target.identities[0]).toMatch(/^spiffe:\/\/.*\/ns\/default\/dc\/dc1\/svc\/api$/);
      await one.put('catalog/register', instance('api', '10.1.0.1', 'critical'));
      await views.until((next) => targets(next, 'api')[0] === 'api.default.dc1 direct 10.1.0.1:20000!');
    },
    REPLICATED_MS,
  );

  it('reaches the results of a prepared query', async () => {
    await one.put('catalog/register', instance('geo', '10.1.0.3'));
    const query = { Name: 'nearest', Service: { Service: 'geo', Connect: true } };
    await fetch(`${one.address}/v1/query`, { method: 'POST', body: JSON.stringify(query) });
    await one.put(
      'agent/service/register',
      registration({ DestinationType: 'prepared_query', DestinationName: 'nearest', Datacenter: '' }),
    );
    await using views = new Watched<ProxyView>(consulProxySource({ address: one.address }, web));
    const view = await views.until((next) => targets(next, 'nearest')[0]?.endsWith('10.1.0.3:20000') === true);
    const found = upstream(view, 'nearest');
    expect(found.kind === 'reachable' && found.targets[0]?.target).toMatchObject({
      service: 'geo',
      serverName: expect.stringMatching(/^nearest\.default\.dc1\.query\./),
      identities: [expect.stringMatching(/svc\/geo$/)],
    });
  });

  it('keeps its data when its registration is removed, and reports it', async () => {
    await one.put('agent/service/register', registration());
    await using views = new Watched<ProxyView>(
      consulProxySource({ address: one.address }, { proxyId: 'web-1-sidecar-proxy' }),
    );
    await views.until((view) => targets(view, 'db')[0] !== 'missing');
    await one.put('agent/service/deregister/web-1-sidecar-proxy');
    const view = await views.until(
      ({ warnings }) => warnings?.some((text) => text.includes('no longer knows')) === true,
    );
    expect(view.proxy.service).toBe('web');
  });

  it('reports an unresponsive agent in one sentence, however many queries wait for it', async () => {
    await using consul = await Consul.start();
    await consul.put('agent/service/register', registration({ Datacenter: '' }));
    await using views = new Watched<ProxyView>(consulProxySource({ address: consul.address }, web));
    const { upstreams } = await views.until((view) => view.warnings === undefined);
    await consul.kill();
    const refused = `Consul agent at ${consul.address}: connect ECONNREFUSED ${new URL(consul.address).host}`;
    const silent = await views.until(({ warnings }) => warnings?.join() === refused);
    expect(silent.upstreams).toEqual(upstreams);
    await consul.restart();
    await views.until((view) => view.warnings === undefined);
  });

  it('has an upstream of an unknown datacenter, and reports the problem', async () => {
    await one.put('agent/service/register', registration({ Datacenter: 'dc9' }));
    await using views = new Watched<ProxyView>(consulProxySource({ address: one.address }, web));
    const { warnings } = await views.until((view) => view.warnings !== undefined);
    expect(warnings?.join()).toMatch(/health\/connect\/db of dc9: .*No path to datacenter/);
  });

  it.each<readonly [choice: ProxyChoice, message: string]>([
    [
      { sidecarFor: 'nobody' },
      'expected one proxy registered with the agent for nobody, found proxies for web-1; waiting for its registration',
    ],
    [
      { proxyId: 'nobody-sidecar-proxy' },
      'expected a proxy registered with the agent as nobody-sidecar-proxy, found web-1-sidecar-proxy; waiting for its registration',
    ],
  ])('waits for an unregistered proxy, and reports it once: %o', async (choice, message) => {
    await one.put('agent/service/register', registration());
    await using views = new Watched<ProxyView>(consulProxySource({ address: one.address }, choice));
    await using credentials = new Watched<Credentials>(consulCredentials({ address: one.address }, choice));
    await views.failure(message);
    await one.put('agent/service/register', { ...registration(), ID: 'nobody', Name: 'nobody' });
    await views.until((view) => view.proxy.service === 'nobody');
    await credentials.until(() => true);
    expect([views.errors.length, credentials.errors.length]).toEqual([1, 0]);
    await one.put('agent/service/deregister/nobody');
  });

  it('that lacks its kind uses its catalog entry, and reports this until there is a kind', async () => {
    const kindless = (mode: string) => ({
      ID: 'shop-proxy',
      Name: 'shop-proxy',
      Port: 8181,
      Proxy: {
        DestinationServiceName: 'shop',
        MeshGateway: { Mode: mode },
        Upstreams: [{ DestinationName: 'db', Datacenter: 'dc2', LocalBindPort: 19_191 }],
      },
    });
    const choice = { proxyId: 'shop-proxy' } as const;
    await one.put('agent/service/register', kindless('remote'));
    await using views = new Watched<ProxyView>(consulProxySource({ address: one.address }, choice));
    const decided = (by: string) => views.until((view) => decidedBy(view, 'db') === by);
    const { proxy, warnings } = await decided('remote by the service instance (the registration of shop-proxy)');
    expect(proxy).toMatchObject({ service: 'shop', listen: { port: 8181 } });
    expect(warnings?.join()).toContain(
      'shop-proxy is registered without kind = "connect-proxy": Consul treats it as an ordinary service, so nobody reaches shop through it',
    );
    await using credentials = new Watched<Credentials>(consulCredentials({ address: one.address }, choice));
    const { certificate } = await credentials.until(() => true);
    expect(new X509Certificate(certificate).subjectAltName).toMatch(/svc\/shop$/);
    // The agent sees no difference: its hash only covers the fields that it returns.
    await one.put('agent/service/register', kindless('local'));
    await decided('local by the service instance (the registration of shop-proxy)');
    await one.put('agent/service/register', { ...kindless('none'), Kind: 'connect-proxy' });
    const { warnings: none = [] } = await decided('none by the service instance (the registration of shop-proxy)');
    expect(none.join()).not.toContain('kind');
    await one.put('agent/service/deregister/shop-proxy');
  });

  it('that names no instance is found by its service', async () => {
    const Proxy = { DestinationServiceName: 'till', LocalServicePort: 7 };
    await one.put('agent/service/register', { Name: 'till-proxy', Kind: 'connect-proxy', Port: 8, Proxy });
    await using views = new Watched<ProxyView>(consulProxySource({ address: one.address }, { sidecarFor: 'till' }));
    expect((await views.until(() => true)).proxy).toMatchObject({ id: 'till-proxy', application: { port: 7 } });
    await one.put('agent/service/deregister/till-proxy');
  });

  it.each<readonly [claim: string, over: object, found: string]>([
    ['is an ordinary service', {}, 'found an ordinary service, without that'],
    ['is a gateway', { Kind: 'mesh-gateway' }, 'found a mesh-gateway'],
  ])('that %s is not a proxy, and the requirement is reported', async (_claim, over, found) => {
    await one.put('agent/service/register', { ID: 'plain', Name: 'plain', Port: 8181, ...over });
    await using views = new Watched<ProxyView>(consulProxySource({ address: one.address }, { proxyId: 'plain' }));
    const { message } = await views.failure(found);
    expect(message).toBe(
      `expected plain to be a proxy, with kind = "connect-proxy" and proxy.destination_service_name, ${found}`,
    );
    await one.put('agent/service/deregister/plain');
  });
});

describeWithConsul('the credentials of a sidecar', () => {
  it(
    'has the leaf of its service, the roots, and is notified when the CA changes',
    { timeout: CHANGED_AUTHORITY_MS },
    async () => {
      await using consul = await Consul.start();
      await consul.put('agent/service/register', registration());
      const source = consulCredentials({ address: consul.address }, web);
      await using credentials = new Watched<Credentials>(source);
      const first = await credentials.until(() => true);
      const leaf = new X509Certificate(first.certificate);
      expect(leaf.subjectAltName).toBe(`URI:spiffe://${first.trustDomain}/ns/default/dc/dc1/svc/web`);
      expect(first.roots).toHaveLength(1);
      const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
      await consul.put('connect/ca/configuration', {
        Provider: 'consul',
        Config: { PrivateKey: privateKey.export({ type: 'sec1', format: 'pem' }), LeafCertTTL: '72h' },
      });
      const rotated = await credentials.until(
        ({ roots, certificate }) => roots.length === 2 && certificate !== first.certificate,
      );
      expect(rotated.trustDomain).toBe(first.trustDomain);
    },
  );
});
