import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Credentials, ProxyView } from '@meshgate/mesh';
import { checkServiceNode, standInAgent } from '@meshgate/testkit';
import type { ConsulVersion } from '@meshgate/testkit';
import { describe, expect, it, onTestFinished } from 'vitest';
import { consulParts, consulProxyParts } from '../src/index.ts';
import { PeerStatus } from '../src/peering/peer-trust.ts';
import { consulAuthorizer } from '../src/sidecar/authorizer.ts';
import { consulProxySource } from '../src/sidecar/proxy-source.ts';
import { caller } from './caller.ts';
import { Watched } from './watched.ts';

const { signal } = new AbortController();
const intention = (SourceName: string, Action: string, SourcePeer = ''): Readonly<Record<string, unknown>> => ({
  SourceName,
  DestinationName: 'db',
  Action,
  ...(SourcePeer === '' ? {} : { SourcePeer }),
});

/** Intentions for `web`, local or of the peer. */
const RULES: readonly (readonly (readonly [string, string])[])[] = [
  [],
  [['web', 'allow']],
  [['web', 'deny']],
  [['*', 'allow']],
  [['*', 'deny']],
  [
    ['web', 'allow'],
    ['*', 'deny'],
  ],
  [
    ['web', 'deny'],
    ['*', 'allow'],
  ],
  [['web', '']],
];
const rulesFor = (peer: string, rules: (typeof RULES)[number]) =>
  rules.map(([who, action]) => intention(who, action, peer));
const COMBINATIONS = RULES.flatMap((local) =>
  RULES.flatMap((ofPeer) => (['allow', 'deny'] as const).map((byDefault) => ({ local, ofPeer, byDefault }))),
);

/** The most specific rule for the peer decides; without one the default, unless a local wildcard rule overrides it. */
function isLetIn({ local, ofPeer, byDefault }: (typeof COMBINATIONS)[number]): boolean {
  const [first] = ofPeer;
  if (first !== undefined) return first[1] === 'allow';
  return byDefault === 'allow' && !local.some(([who]) => who === '*');
}

const EXPORTED = { peerings: [{ Name: 'cloud' }], exports: { cloud: ['db'] } };

describe('a caller of a peer', () => {
  it('is checked by the intentions for that peer or by the default, and by no local one, in every combination', async () => {
    await using agent = await standInAgent();
    const authorizer = consulAuthorizer({ address: agent.address });
    const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
    for (const combination of COMBINATIONS) {
      const { local, ofPeer, byDefault } = combination;
      const intentions = [...rulesFor('', local), ...rulesFor('cloud', ofPeer)];
      agent.change({ ...EXPORTED, intentions, intentionDefault: byDefault });
      const { allowed } = await authorizer.authorize(web, { destination: 'db' });
      expect({ ...combination, allowed }).toEqual({ ...combination, allowed: isLetIn(combination) });
    }
    await authorizer.stop(signal);
  });

  it.each([
    ['to its peer', { cloud: ['db'] }, true],
    ['by a star to its peer', { cloud: ['api', 'db'] }, true],
    ['to its peer by a name that redirects to it', { cloud: ['sql'] }, true],
    ['to another peer', { other: ['db'] }, false],
    ['to nobody', {}, false],
  ] as const)(
    'is allowed by intentions if the service is exported %s, or not at all',
    async (_whom, exports, allowed) => {
      const entries = [{ Kind: 'service-resolver', Name: 'sql', Redirect: { Service: 'db' } }];
      const mesh = { ...EXPORTED, exports, entries, intentions: [intention('web', 'allow', 'cloud')] };
      await using agent = await standInAgent({ mesh });
      const authorizer = consulAuthorizer({ address: agent.address });
      const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
      const verdict = await authorizer.authorize(web, { destination: 'db' });
      expect(verdict.allowed).toBe(allowed);
      if (!allowed) expect(verdict.reason).toBe('db is not exported to peer cloud');
      await authorizer.stop(signal);
    },
  );

  it('is judged with few queries, whatever the number of exports: only those that entries connect to the service', async () => {
    const plain = Array.from({ length: 300 }, (_, index) => `plain-${index}`);
    const entries = [
      ...plain.slice(0, 100).map((Name) => ({ Kind: 'service-resolver', Name, Subsets: { v1: { Filter: '' } } })),
      { Kind: 'service-resolver', Name: 'alias', Redirect: { Service: 'sql' } },
      { Kind: 'service-resolver', Name: 'sql', Redirect: { Service: 'db' } },
    ];
    const chains = { alias: { Targets: { db: { Service: 'db' } } } };
    const intentions = [intention('web', 'allow', 'cloud')];
    const meshOf = (cloud: readonly string[]) => ({ ...EXPORTED, exports: { cloud }, entries, chains, intentions });
    await using agent = await standInAgent({ mesh: meshOf(plain) });
    const authorizer = consulAuthorizer({ address: agent.address });
    const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
    const chainQueries = (): number => agent.requests.filter((one) => one.includes('discovery-chain/')).length;
    expect(await authorizer.authorize(web, { destination: 'db' })).toMatchObject({ allowed: false });
    expect(chainQueries()).toBe(0);
    agent.change(meshOf([...plain, 'alias']));
    expect(await authorizer.authorize(web, { destination: 'db' })).toMatchObject({ allowed: true });
    expect(chainQueries()).toBe(1);
    await authorizer.stop(signal);
  });

  it.each([
    ['a failover target', { Kind: 'service-resolver', Failover: { '*': { Targets: [{ Service: 'db' }] } } }],
    ['a part of a split', { Kind: 'service-splitter', Splits: [{ Weight: 100, Service: 'db' }] }],
    ['a route', { Kind: 'service-router', Routes: [{ Destination: { Service: 'db' } }] }],
  ])('is allowed by intentions if the service is %s of an export', async (_how, entry) => {
    const chains = { front: { Targets: { front: { Service: 'front' }, db: { Service: 'db' } } } };
    const intentions = [intention('web', 'allow', 'cloud')];
    const mesh = { ...EXPORTED, exports: { cloud: ['front'] }, entries: [{ ...entry, Name: 'front' }], chains };
    await using agent = await standInAgent({ mesh: { ...mesh, intentions } });
    const authorizer = consulAuthorizer({ address: agent.address });
    const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
    expect(await authorizer.authorize(web, { destination: 'db' })).toMatchObject({ allowed: true });
    await authorizer.stop(signal);
  });

  it.each([
    ['another peer', [intention('*', 'allow', 'elsewhere')]],
    ['another service of the peer', [intention('other', 'allow', 'cloud')]],
    ['the local service of its name', [intention('web', 'allow')]],
    ['everybody here', [intention('*', 'allow')]],
  ])('is not allowed by an intention for %s', async (_whom, intentions) => {
    await using agent = await standInAgent({ mesh: { intentions, intentionDefault: 'deny' } });
    const authorizer = consulAuthorizer({ address: agent.address });
    const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
    const { allowed, reason } = await authorizer.authorize(web, { destination: 'db' });
    expect({ allowed, reason }).toEqual({ allowed: false, reason: expect.stringContaining('callers of peer cloud') });
    await authorizer.stop(signal);
  });

  it.each(['allow', 'deny'])(
    'is denied by an intention for a sameness group, whose members are not known: %s',
    async (action) => {
      const group = { ...intention('web', action), SourceSamenessGroup: 'products' };
      await using agent = await standInAgent({ mesh: { ...EXPORTED, intentions: [group], intentionDefault: 'allow' } });
      const authorizer = consulAuthorizer({ address: agent.address });
      const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
      expect(await authorizer.authorize(web, { destination: 'db' })).toMatchObject({ allowed: false });
      await authorizer.stop(signal);
    },
  );

  it('is judged by intentions alone where the token may not read exports, with a warning that names the rule', async () => {
    const id = 'db-sidecar-proxy';
    const Proxy = { DestinationServiceName: 'db', Expose: { Checks: true } };
    const responses = { [`agent/service/${id}`]: { ID: id, Service: id, Kind: 'connect-proxy', Port: 1, Proxy } };
    const mesh = { peerings: [{ Name: 'cloud' }], intentions: [intention('web', 'allow', 'cloud')] };
    const denied = { 'internal/ui/exported-services': 'filtered' };
    await using agent = await standInAgent({ mesh, responses, denied });
    const { proxy, authorizer } = consulProxyParts({ address: agent.address }, { proxyId: id });
    await using views = new Watched<ProxyView>(proxy);
    const hidden = ({ warnings = [] }: ProxyView): boolean =>
      warnings.some((one) => one.includes('exports to peer cloud'));
    const before = await views.until(() => true);
    expect(hidden(before)).toBe(false);
    expect(before.warnings).toContainEqual(expect.stringContaining('"expose", which has no effect here'));
    const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
    expect(await authorizer.authorize(web, { destination: 'db' })).toMatchObject({ allowed: true });
    const { warnings } = await views.until(hidden);
    expect(warnings).toContainEqual(expect.stringContaining('the token needs service_prefix "" { policy = "read" }'));
    agent.deny({});
    expect(await authorizer.authorize(web, { destination: 'db' })).toMatchObject({ allowed: false });
    await views.until((view) => !hidden(view));
    await authorizer.stop(signal);
  });

  it('is judged by intentions alone where the token may not read entries that could lead an export to the service', async () => {
    const mesh = { ...EXPORTED, exports: { cloud: ['front'] }, intentions: [intention('web', 'allow', 'cloud')] };
    await using agent = await standInAgent({ mesh, denied: { 'config/service-resolver': 'filtered' } });
    const peers = new PeerStatus();
    const authorizer = consulAuthorizer({ address: agent.address }, peers);
    const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
    expect(await authorizer.authorize(web, { destination: 'db' })).toMatchObject({ allowed: true });
    expect(peers.warnings([])).toEqual([expect.stringContaining('exports to peer cloud cannot be read')]);
    await authorizer.stop(signal);
  });

  it.each([403, 500])('is not allowed when the agent responds with %i', async (status) => {
    await using agent = await standInAgent();
    agent.misbehave({ kind: 'status', status }, (path) => path.startsWith('connect/intentions'));
    const authorizer = consulAuthorizer({ address: agent.address });
    const web = { ...caller('cloud.consul', 'web'), sourcePeer: 'cloud' };
    await expect(authorizer.authorize(web, { destination: 'db' })).rejects.toThrow(String(status));
    await authorizer.stop(signal);
  });
});

it('a caller with many concurrent connections is checked once, and again for the next', async () => {
  await using agent = await standInAgent({ mesh: { intentions: [intention('web', 'allow')] } });
  const authorizer = consulAuthorizer({ address: agent.address });
  const query = () => authorizer.authorize(caller('td.consul', 'web'), { destination: 'db' });
  const verdicts = await Promise.all(Array.from({ length: 20 }, query));
  expect(verdicts.every(({ allowed }) => allowed)).toBe(true);
  agent.change({ intentions: [intention('web', 'deny')] });
  expect(await query()).toMatchObject({ allowed: false });
  expect(agent.requests.filter((path) => path.startsWith('POST agent/connect/authorize'))).toHaveLength(2);
  await authorizer.stop(signal);
});

it('a caller with an intention with permissions is refused, with the reason', async () => {
  const Permissions = [{ Action: 'allow', HTTP: { PathPrefix: '/' } }];
  const mesh = { intentions: [{ ...intention('web', ''), Permissions }] };
  await using agent = await standInAgent({ mesh });
  const authorizer = consulAuthorizer({ address: agent.address });
  const verdict = await authorizer.authorize(caller('td.consul', 'web'), { destination: 'db' });
  expect(verdict).toEqual({ allowed: false, reason: expect.stringContaining('permissions are for HTTP requests') });
  await authorizer.stop(signal);
});

it('an upstream of a peer is queried at the peer, and has its name and identity', async () => {
  const PTD = '1c053652-8512-4373-90cf-5a7f6263a994.consul';
  const id = 'web-sidecar-proxy';
  const upstream = { DestinationName: 'refunds', DestinationPeer: 'cloud', LocalBindPort: 9191 };
  const responses = {
    [`agent/service/${id}`]: {
      ID: id,
      Service: id,
      Kind: 'connect-proxy',
      Port: 20_000,
      Proxy: { DestinationServiceName: 'web', Mode: 'transparent', Upstreams: [upstream] },
    },
  };
  const refunds = {
    name: 'refunds-sidecar-proxy',
    kind: 'connect-proxy',
    destination: 'refunds',
    port: 8443,
    peer: 'cloud',
    wan: { address: '203.0.113.9', port: 443 },
    peerMeta: {
      SNI: [`refunds.default.default.here.external.${PTD}`],
      SpiffeID: [`spiffe://${PTD}/x`],
      Protocol: 'tcp',
    },
  };
  await using agent = await standInAgent({ mesh: { services: [refunds] }, responses });
  await using views = new Watched<ProxyView>(consulProxySource({ address: agent.address }, { proxyId: id }));
  const { upstreams, warnings } = await views.until(
    ({ upstreams: [first] }) => first?.kind === 'reachable' && first.targets[0]?.backends.length === 1,
  );
  expect(upstreams[0]).toMatchObject({
    targets: [
      {
        target: { serverName: refunds.peerMeta.SNI[0], identities: refunds.peerMeta.SpiffeID, peer: 'cloud' },
        backends: [{ address: { host: '203.0.113.9', port: 443 } }],
      },
    ],
  });
  expect(warnings).toContainEqual(expect.stringContaining('mode "transparent", which has no effect'));
});

it('a prepared query that has failed over to a peer is dialled at the peer, by its name and identity', async () => {
  const id = 'web-sidecar-proxy';
  const upstream = { DestinationType: 'prepared_query', DestinationName: 'geo', LocalBindPort: 9191 };
  const Proxy = { DestinationServiceName: 'web', Upstreams: [upstream] };
  const peerMeta = { SNI: ['db.default.default.here.external.ptd'], SpiffeID: ['spiffe://ptd/x'], Protocol: 'tcp' };
  const db = { name: 'db-proxy', port: 8443, wan: { address: '203.0.113.9', port: 443 }, peerMeta };
  const result = { Service: 'db', Datacenter: '', PeerName: 'cloud', Nodes: [checkServiceNode(db, 'dc1')] };
  const responses = {
    [`agent/service/${id}`]: { ID: id, Service: id, Kind: 'connect-proxy', Port: 1, Proxy },
    'query/geo/execute': result,
  };
  await using agent = await standInAgent({ responses });
  await using views = new Watched<ProxyView>(consulProxySource({ address: agent.address }, { proxyId: id }));
  const { upstreams } = await views.until(({ upstreams: [first] }) => first?.kind === 'reachable');
  expect(upstreams).toMatchObject([
    {
      targets: [
        {
          path: 'remote-gateway',
          target: { peer: 'cloud', serverName: peerMeta.SNI[0], identities: peerMeta.SpiffeID },
          backends: [{ address: { host: '203.0.113.9', port: 443 } }],
        },
      ],
    },
  ]);
});

describe('roots of a peer', () => {
  const ID = 'web-sidecar-proxy';
  const proxy = (upstreams: readonly object[]): Readonly<Record<string, unknown>> => ({
    [`agent/service/${ID}`]: {
      ID,
      Service: ID,
      Kind: 'connect-proxy',
      Port: 20_000,
      Proxy: { DestinationServiceName: 'web', Upstreams: upstreams },
    },
    'agent/connect/ca/leaf/web': { CertPEM: 'leaf', PrivateKeyPEM: 'key' },
  });
  const OF_CLOUD = proxy([{ DestinationName: 'refunds', DestinationPeer: 'cloud', LocalBindPort: 9191 }]);
  const PEM = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
  const MESH = { roots: ['root'], peerings: [{ Name: 'cloud', PeerCAPems: [PEM] }] };
  const trusted = ({ peers = [] }: Credentials): readonly string[] => peers.map(({ peer }) => peer);

  it('are those of the agent, followed', async () => {
    await using agent = await standInAgent({ mesh: MESH, responses: OF_CLOUD });
    const { credentials } = consulProxyParts({ address: agent.address }, { proxyId: ID });
    await using watched = new Watched<Credentials>(credentials);
    await watched.until((at) => at.peers?.[0]?.roots[0] === PEM);
    agent.change({ ...MESH, peerings: [{ Name: 'cloud', PeerCAPems: [PEM, 'next'] }] });
    const both = await watched.until((at) => at.peers?.[0]?.roots.length === 2);
    expect(both.peers).toEqual([{ peer: 'cloud', roots: [PEM, 'next'] }]);
    // A caller of a peer has the trust domain in its server names, for roots that do not include it.
    const dialled = { Name: 'cloud', PeerCAPems: [PEM], PeerServerName: 'server.us-east.peering.cloud.consul' };
    agent.change({ ...MESH, peerings: [dialled] });
    await watched.until((at) => at.peers?.[0]?.trustDomain === 'cloud.consul');
    agent.change({ ...MESH, peerings: [{ Name: 'cloud', PeerCAPems: [PEM], DeletedAt: '2026-11-28T02:43:12Z' }] });
    await watched.until((at) => trusted(at).length === 0);
  });

  it.each([
    ['the token may not read them', '1.16', 'the token needs peering = "read"'],
    ['the agent does not show them', '1.13', 'Consul before 1.14 never does'],
  ] as const)(
    'are missing with the reason where %s, and read from a file that is followed',
    async (_case, version, why) => {
      const denied = version === '1.16' ? { 'peering*': 'peering:read' } : {};
      await using agent = await standInAgent({ version, mesh: MESH, responses: OF_CLOUD, denied });
      const without = consulProxyParts({ address: agent.address }, { proxyId: ID });
      await using views = new Watched<ProxyView>(without.proxy);
      await using none = new Watched<Credentials>(without.credentials);
      expect(trusted(await none.until(() => true))).toEqual([]);
      const { warnings } = await views.until(
        (at) => at.warnings?.some((one) => one.includes('roots of peer cloud')) === true,
      );
      expect(warnings).toContainEqual(expect.stringContaining(why));
      expect(warnings).toContainEqual(expect.stringContaining('set trustBundles: { cloud: FILE }'));

      const folder = mkdtempSync(join(tmpdir(), 'meshgate-bundle-'));
      onTestFinished(() => rmSync(folder, { recursive: true }));
      const file = join(folder, 'cloud.pem');
      writeFileSync(file, PEM);
      const parts = consulProxyParts({ address: agent.address, trustBundles: { cloud: file } }, { proxyId: ID });
      await using bundled = new Watched<Credentials>(parts.credentials);
      await using viewed = new Watched<ProxyView>(parts.proxy);
      await bundled.until((at) => at.peers?.[0]?.roots[0] === PEM);
      const odd = (at: ProxyView): readonly string[] => (at.warnings ?? []).filter((one) => one.includes('peer'));
      expect(odd(await viewed.until(() => true))).toEqual([]);
      writeFileSync(file, PEM + PEM);
      await bundled.until((at) => at.peers?.[0]?.roots[0] === PEM + PEM);
      writeFileSync(file, 'nothing');
      await viewed.until((at) => odd(at).some((one) => one.includes('trust bundle of peer cloud')));
      expect(bundled.latest && trusted(bundled.latest)).toEqual(['cloud']);
    },
  );

  it('do not cause queries by name for entries that mostly do not exist, which the agent logs as errors', async () => {
    await using agent = await standInAgent({ mesh: MESH, responses: proxy([]) });
    const parts = consulProxyParts({ address: agent.address }, { proxyId: ID });
    await using views = new Watched<ProxyView>(parts.proxy);
    await views.until(() => true);
    const ofEntries = agent.requests.map((one) => one.split('?')[0] ?? '').filter((one) => one.includes('config/'));
    expect([...new Set(ofEntries)].toSorted()).toEqual([
      'GET config/mesh',
      'GET config/proxy-defaults',
      'GET config/service-defaults/web',
    ]);
  });

  it('are required where an intention names the peer, and nowhere else', async () => {
    const denied = { 'peering*': 'peering:read' };
    const intentions = [{ ...intention('shop', 'allow', 'cloud'), DestinationName: 'web' }];
    await using agent = await standInAgent({ mesh: { ...MESH, intentions }, responses: proxy([]), denied });
    const parts = consulProxyParts({ address: agent.address }, { proxyId: ID });
    await using views = new Watched<ProxyView>(parts.proxy);
    await using credentials = new Watched<Credentials>(parts.credentials);
    await credentials.until(() => true);
    await views.until((at) => at.warnings?.some((one) => one.includes('roots of peer cloud')) === true);
    agent.change(MESH);
    await views.until((at) => at.warnings === undefined);
  });
});

it('the TLS settings of the mesh entry are part of the credentials, and followed', async () => {
  const id = 'web-sidecar-proxy';
  const responses = {
    [`agent/service/${id}`]: {
      ID: id,
      Service: id,
      Kind: 'connect-proxy',
      Port: 1,
      Proxy: { DestinationServiceName: 'web' },
    },
    'agent/connect/ca/leaf/web': { CertPEM: 'leaf', PrivateKeyPEM: 'key' },
  };
  const TLS = { Incoming: { TLSMinVersion: 'TLSv1_3' }, Outgoing: { CipherSuites: ['A', 'B'] } };
  await using agent = await standInAgent({ mesh: { roots: ['root'], entries: [{ Kind: 'mesh', TLS }] }, responses });
  await using credentials = new Watched<Credentials>(
    consulProxyParts({ address: agent.address }, { proxyId: id }).credentials,
  );
  const { tls } = await credentials.until((at) => at.tls !== undefined);
  expect(tls).toMatchObject({ incoming: { minVersion: 'TLSv1_3' }, outgoing: { cipherSuites: ['A', 'B'] } });
  agent.change({ roots: ['root'] });
  await credentials.until((at) => at.tls === undefined);
});

it('the end of a registration that the agent has already lost is not a failure', async () => {
  await using agent = await standInAgent({ version: '1.16' });
  const { registration } = consulParts({ address: agent.address, register: { address: '127.0.0.1:8443' } });
  await registration.start(signal);
  await fetch(`${agent.address}/v1/agent/service/deregister/mesh-gateway`, { method: 'PUT' });
  await expect(registration.stop(signal)).resolves.toBeUndefined();
});

describe('the defaults of a sidecar', () => {
  const id = 'web-sidecar-proxy';
  const upstream = { DestinationName: 'db', LocalBindPort: 9191 };
  const responsesFor = (Upstreams: readonly object[]) => ({
    [`agent/service/${id}`]: {
      ID: id,
      Service: id,
      Kind: 'connect-proxy',
      Port: 1,
      Proxy: { DestinationServiceName: 'web', Upstreams },
    },
  });
  const viewsOf = (address: string): Watched<ProxyView> =>
    new Watched<ProxyView>(consulProxySource({ address }, { proxyId: id }));
  const hasUpstreams = ({ upstreams }: ProxyView): boolean => upstreams.every(({ kind }) => kind === 'reachable');

  it.each<ConsulVersion>(['1.8', '1.16'])('limits its upstreams, unless they have their own: %s', async (version) => {
    const passive_health_check = { interval: '30s', max_failures: 10 };
    const own = {
      ...upstream,
      DestinationName: 'api',
      Config: { limits: { max_connections: 3 }, passive_health_check },
    };
    const PassiveHealthCheck = {
      Interval: 22_000_000_000,
      MaxFailures: 2,
      EnforcingConsecutive5xx: 0,
      MaxEjectionPercent: 50,
      BaseEjectionTime: '1m',
    };
    const UpstreamConfig = { Defaults: { Limits: { MaxConnections: 8 }, PassiveHealthCheck } };
    const entries = [{ Kind: 'service-defaults', Name: 'web', UpstreamConfig }];
    await using agent = await standInAgent({ version, mesh: { entries }, responses: responsesFor([upstream, own]) });
    await using views = viewsOf(agent.address);
    const { upstreams, warnings } = await views.until(hasUpstreams);
    expect(upstreams).toMatchObject([
      {
        maxConnections: 8,
        passiveHealthCheck: {
          intervalMs: 22_000,
          maxFailures: 2,
          enforcingPercent: 0,
          maxEjectionPercent: 50,
          baseEjectionMs: 60_000,
        },
      },
      { maxConnections: 3, passiveHealthCheck: { intervalMs: 30_000, maxFailures: 10 } },
    ]);
    expect(warnings).toBeUndefined();
  });

  it('accepts callers without TLS only as long as the mesh entry allows it', async () => {
    const entries = [{ Kind: 'service-defaults', Name: 'web', MutualTLSMode: 'permissive' }];
    await using agent = await standInAgent({ mesh: { entries }, responses: responsesFor([]) });
    await using views = viewsOf(agent.address);
    const before = await views.until(({ warnings = [] }) => warnings.length > 0);
    expect(before.mutualTls).toBeUndefined();
    expect(before.warnings).toEqual([expect.stringContaining('MutualTLSMode = "permissive" has no effect')]);
    const mesh = { Kind: 'mesh', AllowEnablingPermissiveMutualTLS: true };
    agent.change({ entries: [...entries, mesh] });
    const { warnings } = await views.until(({ mutualTls }) => mutualTls === 'permissive');
    expect(warnings).toEqual([expect.stringContaining('without TLS to the public listener reach the application')]);
    agent.change({ entries: [...entries, { ...mesh, AllowEnablingPermissiveMutualTLS: false }] });
    await views.until(({ mutualTls }) => mutualTls === undefined);
  });

  it('shows the intentions for it, each permission in words; none if the token cannot read them', async () => {
    const HTTP = { PathPrefix: '/admin', Methods: ['GET'], Header: [{ Name: 'x-user', Present: true }] };
    const intentions = [{ SourceName: 'shop', DestinationName: 'web', Permissions: [{ Action: 'allow', HTTP }] }];
    await using agent = await standInAgent({ mesh: { intentions }, responses: responsesFor([]) });
    await using views = viewsOf(agent.address);
    const { intentions: shown } = await views.until((at) => at.intentions.length > 0);
    expect(shown).toMatchObject([
      { source: 'shop', action: 'http', permissions: ['allow GET /admin with header x-user'] },
    ]);
    await using other = await standInAgent({
      mesh: { intentions },
      responses: responsesFor([]),
      denied: { 'connect/intentions/match': 'intention:read' },
    });
    await using blind = viewsOf(other.address);
    expect(await blind.until(() => true)).toMatchObject({ intentions: [] });
  });
});
