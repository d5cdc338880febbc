import { X509Certificate } from 'node:crypto';
import type { RouteSnapshot } from '@meshgate/core';
import { inTurns } from '@meshgate/core/parts';
import type { ClusterPeer, ProxyView } from '@meshgate/mesh';
import { standInAgent } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { consulSource } from '../src/index.ts';
import { readingNodes } from '../src/inventory.ts';
import { exportedNamesOf, exportsInEntries, peerOf, peersOf } from '../src/peering/peering-records.ts';
import { exportChainOf } from '../src/peering/peering-records.ts';
import type { JsonObject } from '../src/json.ts';
import { instancesOf, meshSettingsOf } from '../src/records.ts';
import { consulAuthorizer } from '../src/sidecar/authorizer.ts';
import { proxyDefinitionOf } from '../src/sidecar/proxy-definition.ts';
import { consulProxySource } from '../src/sidecar/proxy-source.ts';
import { caller } from './caller.ts';
import { ALPHA, responsesOf, BETA, recorded } from './recorded/recorded.ts';
import { shown, Watched } from './watched.ts';

const body = (number: number): unknown => recorded(number).body;
const onlyPeer = (number: number): ClusterPeer | undefined => peersOf(body(number))?.[0];

describe('a recorded response about', () => {
  it.each([
    [15, { name: 'beta', state: 'PENDING', isDeleted: false, serverAddresses: [] }],
    [25, { name: 'alpha', state: 'ACTIVE', serverName: `server.alpha.peering.${ALPHA}` }],
    [33, { name: 'alpha', serverAddresses: ['127.0.71.1:8503'] }],
    [79, { name: 'alpha', state: 'ACTIVE', serverAddresses: ['127.0.71.1:8443'] }],
  ])('peerings (%i) is parsed', (number, expected) => {
    expect(onlyPeer(number)).toMatchObject(expected);
  });

  it.each([
    [30, { name: 'beta', datacenter: 'beta', isDeleted: false, serverAddresses: [] }],
    [77, { serverName: `server.alpha.peering.${ALPHA}`, serverAddresses: ['127.0.71.1:8443'] }],
    [85, { state: 'ACTIVE', isDeleted: true, roots: [] }],
    [88, { state: 'TERMINATED', isDeleted: false }],
    [96, { state: 'TERMINATED', serverAddresses: ['127.0.71.1:8443'] }],
  ])('one peering (%i) is parsed', (number, expected) => {
    expect(peerOf(body(number))).toMatchObject(expected);
  });

  it('a peer after the rotation of its authority has both roots, each with its trust domain', () => {
    const roots = peerOf(body(70))?.roots ?? [];
    expect(roots).toHaveLength(2);
    for (const root of roots) expect(new X509Certificate(root).subjectAltName).toBe(`URI:spiffe://${ALPHA}`);
  });

  it('exports is parsed, by the entry and by the names for one peer', () => {
    const names = ['api', 'cache', 'db', 'ghost'];
    expect(exportedNamesOf(body(39))?.map(({ name }) => name)).toEqual(names);
    expect(
      exportsInEntries(body(37), 'beta')
        ?.map(({ name }) => name)
        .toSorted(),
    ).toEqual(names.toSorted());
    expect(exportsInEntries(body(37), 'gamma')).toEqual([]);
    expect(meshSettingsOf(body(76) as JsonObject).peersThroughGateways).toBe(true);
  });

  it.each([
    [40, { protocol: 'tcp', target: { service: 'db', datacenter: 'alpha' } }],
    [41, { protocol: 'http', target: { service: 'api', datacenter: 'alpha' } }],
    [61, { protocol: 'tcp', target: { service: 'db', subset: 'v1', datacenter: 'alpha' } }],
  ])('the discovery chain of an export (%i) is parsed', (number, expected) => {
    expect(exportChainOf(body(number))).toMatchObject(expected);
  });

  it.each([
    [43, 2, {}],
    [44, 1, { serverNames: [`db.default.default.beta.external.${ALPHA}`], protocol: 'tcp' }],
    [46, 1, { serverNames: [`api.default.default.beta.external.${ALPHA}`], protocol: 'http' }],
    [62, 1, { identities: ['db', 'gateway', 'api2'].map(identityOfAlpha) }],
    [72, 1, { serverNames: [`db.default.default.beta.external.${ALPHA}`] }],
    [73, 2, { serverNames: [`db.default.default.beta.external.${ALPHA}`] }],
    [83, 1, {}],
  ])('instances (%i) is parsed', (number, count, peerMeta) => {
    const instances = instancesOf(body(number)) ?? [];
    expect(instances).toHaveLength(count);
    if (Object.keys(peerMeta).length > 0) expect(instances[0]?.peerMeta).toMatchObject(peerMeta);
    else expect(instances[0]?.peerMeta).toBeUndefined();
  });

  it('a gateway of a peer in maintenance is not healthy', () => {
    expect(instancesOf(body(72))?.[0]?.checks).toMatchObject([{ status: 'maintenance' }]);
  });

  it('nodes keeps imported services apart from local ones', async () => {
    const inventory = await inTurns(readingNodes(JSON.stringify(body(35))));
    expect([...(inventory?.services.keys() ?? [])]).toContain('default/web');
    expect([...(inventory?.services.keys() ?? [])]).not.toContain('default/db');
    expect(inventory?.imports.map(({ name, peer }) => `${peer}/${name}`).toSorted()).toEqual(['alpha/api', 'alpha/db']);
  });

  it('a sidecar with an upstream of a peer is parsed', () => {
    expect(proxyDefinitionOf(body(55))).toMatchObject({ service: 'web', upstreams: [{ name: 'db', peer: 'alpha' }] });
  });
});

function identityOfAlpha(name: string): string {
  return name === 'gateway'
    ? `spiffe://${ALPHA}/gateway/mesh/dc/alpha`
    : `spiffe://${ALPHA}/ns/default/dc/alpha/svc/${name}`;
}

const namesAndBackends = (snapshot: RouteSnapshot): Readonly<Record<string, string | undefined>> =>
  Object.fromEntries(snapshot.routes.map(({ name, serverNames }) => [serverNames[0] ?? '', shown(snapshot, name)]));

describe('from recorded responses', () => {
  it('the gateway of the exporting cluster has the names that the importer was given', async () => {
    const responses = responsesOf(10, 30, 31, 39, 40, 41, 43, 76, 83);
    await using agent = await standInAgent({
      mesh: { datacenter: 'alpha' },
      responses: { ...responses, peerings: [body(30)] },
    });
    await using routes = new Watched(consulSource({ address: agent.address }));
    const [given] = instancesOf(body(44)) ?? [];
    expect(namesAndBackends(await routes.until(() => true))).toEqual({
      [`db.default.alpha.internal.${ALPHA}`]: '10.1.0.2:21000 w10, 127.0.71.1:21000',
      [given?.peerMeta?.serverNames[0] ?? '']: '10.1.0.2:21000 w10, 127.0.71.1:21000',
      [`server.alpha.peering.${ALPHA}`]: '127.0.71.1:8503',
    });
  });

  it('the gateway of the importing cluster has the names of its imports, and of the servers that it dials, except for services without an instance', async () => {
    const responses = { ...responsesOf(35, 76, 77, 79), 'health/service/consul': body(83) };
    await using agent = await standInAgent({ mesh: { datacenter: 'beta', trustDomain: BETA }, responses });
    await using routes = new Watched(consulSource({ address: agent.address, datacenter: 'beta' }));
    const first = await routes.until(() => true);
    expect(first.warnings).toContainEqual(expect.stringContaining('no instance of api itself'));
    expect(namesAndBackends(first)).toEqual({
      [`db.default.default.beta.external.${ALPHA}`]: '127.0.71.1:8443',
      [`server.beta.peering.${BETA}`]: '127.0.71.1:8503',
      [`server.alpha.peering.${ALPHA}`]: '127.0.71.1:8443',
    });
  });

  it('a peering under deletion has no names any more, whatever its state', async () => {
    const responses = { ...responsesOf(35, 76, 83), peerings: [body(85)], 'peering/alpha': body(85) };
    await using agent = await standInAgent({ mesh: { datacenter: 'beta', trustDomain: BETA }, responses });
    await using routes = new Watched(consulSource({ address: agent.address, datacenter: 'beta' }));
    // The cluster's own server name exists before the first peering, and after the last one.
    const own = { [`server.beta.peering.${BETA}`]: '127.0.71.1:8503' };
    expect(namesAndBackends(await routes.until(() => true))).toEqual(own);
  });

  it('a sidecar reaches an upstream of a peer, and fails over to one', async () => {
    const registration = body(55) as { readonly Proxy: object };
    const failover = { DestinationType: 'service', DestinationName: 'db', LocalBindPort: 10_001 };
    const ofPeer = { ...failover, DestinationPeer: 'alpha', LocalBindPort: 10_000 };
    const redirected = { ...failover, DestinationName: 'reports', LocalBindPort: 10_002 };
    const responses = {
      ...responsesOf(44, 56, 58),
      'agent/service/web-1-sidecar-proxy': {
        ...registration,
        Proxy: { ...registration.Proxy, Upstreams: [ofPeer, failover, redirected] },
      },
    };
    await using agent = await standInAgent({ mesh: { datacenter: 'beta', trustDomain: BETA }, responses });
    const source = consulProxySource({ address: agent.address }, { proxyId: 'web-1-sidecar-proxy' });
    await using views = new Watched<ProxyView>(source);
    const { upstreams } = await views.until(() => true);
    const db = `db.default.default.beta.external.${ALPHA}`;
    const targets = upstreams.map((upstream) =>
      upstream.kind === 'refused' ? [upstream.reason] : upstream.targets.map(({ target }) => target.serverName),
    );
    expect(targets).toEqual([
      [db],
      [`db.default.beta.internal.${BETA}`, db, `db-fallback.default.beta.internal.${BETA}`],
      [db, `db-fallback.default.beta.internal.${BETA}`],
    ]);
  });

  it.each([
    ['web', false],
    ['other', true],
  ])('%s of a peer is authorized by the intentions for that peer, whatever the agent says', async (name, allowed) => {
    const responses = { ...responsesOf(39, 66), 'agent/connect/authorize': body(allowed ? 68 : 67) };
    await using agent = await standInAgent({ responses });
    const authorizer = consulAuthorizer({ address: agent.address });
    const { signal } = new AbortController();
    const ofBeta = { ...caller(BETA, name), sourcePeer: 'beta' };
    expect(await authorizer.authorize(ofBeta, { destination: 'db' })).toMatchObject({ allowed });
    await authorizer.stop(signal);
  });

  it.each([99, 100])(
    'refused to a token without peering:read (%i), peering is none, with the missing rule',
    async (number) => {
      await using agent = await standInAgent({ responses: responsesOf(10, 31, 43) });
      const refusal = String(body(number));
      agent.misbehave({ kind: 'status', status: 403, body: refusal }, (path) => path.startsWith('peering'));
      await using routes = new Watched(consulSource({ address: agent.address }));
      const { warnings } = await routes.until(() => true);
      expect(warnings).toContainEqual(expect.stringContaining('peering = "read"'));
    },
  );
});
