import { connect as tlsConnect } from 'node:tls';
import { certificateAuthority, rawClient, tcpBackend, tlsBackend } from '@meshgate/testkit';
import type { Endpoint } from '@meshgate/core';
import type { Credentials, Intention, PeerTrust } from '@meshgate/mesh';
import { describe, expect, it } from 'vitest';
import { identityOf } from '../src/identity.ts';
import { tlsLimits } from '../src/tls-limits.ts';
import { credentialsOf, leafOf, targetOf, upstreamOf, uriOf, viewOf } from './mesh.ts';
import { startSidecar } from './sidecar.ts';

const CLOUD_DOMAIN = '1c053652-8512-4373-90cf-5a7f6263a994.consul';
const CLOUD_SNI = `db.default.default.here.external.${CLOUD_DOMAIN}`;

const root = certificateAuthority('root');
const cloud = certificateAuthority('cloud', { uris: [`spiffe://${CLOUD_DOMAIN}`] });
const CLOUD: PeerTrust = { peer: 'cloud', roots: [cloud.certificate], datacenter: 'cloud-dc' };
/** Another datacenter of the same federation, which has the same authorities. */
const SIBLING: PeerTrust = { peer: 'another', roots: [cloud.certificate], datacenter: 'another-dc' };
const ofCloud = (service: string): string => uriOf(service, 'cloud-dc', CLOUD_DOMAIN);

function trusting(service: string, ...peers: readonly PeerTrust[]): Credentials {
  return { ...credentialsOf(leafOf(root, service), root), peers };
}

/** A sidecar of `web` with the upstream `db`, by default of the peer `cloud`. */
function webWith(at: Endpoint, identities: readonly string[], peers: readonly PeerTrust[] = [CLOUD]) {
  const target = targetOf({ service: 'db', identities, at: [at] });
  const ofPeer = { ...target, target: { ...target.target, peer: 'cloud', serverName: CLOUD_SNI } };
  const view = viewOf({ service: 'web', upstreams: [upstreamOf('db', [ofPeer])] });
  return startSidecar({ credentials: trusting('web', ...peers), view });
}

describe('a service of a peer', () => {
  it('is dialled by the name from the peer, with its roots, its identity, and our own leaf', async () => {
    const identity = leafOf(cloud, 'db', { uris: [ofCloud('db')] });
    await using far = await tlsBackend('far', { identity, clientCa: root.certificate });
    await using one = await webWith(far.address, [ofCloud('db')]);
    await using client = await rawClient(await one.address('upstream:db'));
    await client.send('GET / HTTP/1.1\r\nhost: db\r\n\r\n');
    expect((await client.receiveAll()).toString()).toMatch(/far$/);
    expect(far.serverNames).toEqual([CLOUD_SNI]);
  });

  it('is dialled when another datacenter of its federation is a peer, too', async () => {
    const identity = leafOf(cloud, 'db', { uris: [ofCloud('db')] });
    await using far = await tlsBackend('far', { identity, clientCa: root.certificate });
    await using one = await webWith(far.address, [ofCloud('db')], [SIBLING, CLOUD]);
    await using client = await rawClient(await one.address('upstream:db'));
    await client.send('GET / HTTP/1.1\r\nhost: db\r\n\r\n');
    expect((await client.receiveAll()).toString()).toMatch(/far$/);
  });

  it.each([
    ['of the own authority in the name of the peer', root, ofCloud('db')],
    ['of the peer, for another service', cloud, ofCloud('mail')],
    ['of the peer, for a service of this cluster', cloud, uriOf('db')],
  ])('is rejected with a certificate %s', async (_claim, authority, uri) => {
    const identity = leafOf(authority, 'db', { uris: [uri] });
    await using far = await tlsBackend('far', { identity, clientCa: root.certificate });
    await using one = await webWith(far.address, [ofCloud('db')]);
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    expect((await one.failure('upstream:db')).code).toBe('UPSTREAM_UNTRUSTED');
  });

  it.each<[string, readonly PeerTrust[], string]>([
    ['are not known', [], 'its roots are unknown'],
    ['are none', [{ peer: 'cloud', roots: [] }], 'its roots are unknown'],
    ['say no trust domain', [{ peer: 'cloud', roots: [root.certificate] }], 'expected roots with one SPIFFE URI'],
    [
      'are broken',
      [{ peer: 'cloud', roots: ['-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----'] }],
      'cannot be read',
    ],
  ])('whose roots %s is not dialled at all', async (_claim, peers, why) => {
    await using far = await tcpBackend('far');
    await using one = await webWith(far.address, [ofCloud('db')], peers);
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    expect(await one.failure('upstream:db')).toMatchObject({
      code: 'UPSTREAM_UNTRUSTED',
      message: expect.stringMatching(new RegExp(`^no server of peer cloud can be trusted: .*${why}`)) as string,
    });
    expect(far.accepted).toBe(0);
  });
});

describe('a caller of a peer', () => {
  const allowLocal: Intention = { source: 'web', destination: 'db', action: 'allow' };
  const allowCloud: Intention = { ...allowLocal, sourcePeer: 'cloud' };

  /** How the sidecar of `db` closes the connection of a caller with this certificate. */
  async function ending(
    certificate: ReturnType<typeof leafOf>,
    intentions: readonly Intention[],
    {
      peers = [CLOUD],
      importers,
    }: { readonly peers?: readonly PeerTrust[]; readonly importers?: readonly string[] } = {},
  ): Promise<string> {
    await using application = await tcpBackend('application', { conduct: { kind: 'echo' } });
    const view = viewOf({ service: 'db', application: application.address, intentions, intentionDefault: 'deny' });
    const own = { ...view, ...(importers !== undefined && { importers }) };
    await using db = await startSidecar({ credentials: trusting('db', ...peers), view: own });
    const credentials = credentialsOf(certificate, root);
    const at = await db.address();
    const code = await dialMutually(at, credentials);
    return code === 'echoed' ? code : (await db.failure('public')).code;
  }

  it.each<[string, readonly Intention[], string]>([
    ['is let in by an intention that names its peer', [allowCloud], 'echoed'],
    ['is not let in by one for the local service of its name', [allowLocal], 'DENIED'],
    ['is not let in by one for every local service', [{ ...allowLocal, source: '*' }], 'DENIED'],
    [
      'is refused by name where all others of its peer are let in',
      [
        { ...allowCloud, source: '*' },
        { ...allowCloud, action: 'deny' },
      ],
      'DENIED',
    ],
  ])('%s', async (_claim, intentions, expected) => {
    expect(await ending(leafOf(cloud, 'web', { uris: [ofCloud('web')] }), intentions)).toBe(expected);
  });

  it.each([
    ['first', [CLOUD, SIBLING]],
    ['last', [SIBLING, CLOUD]],
  ])(
    'is one of the peer with its datacenter, where several share a trust domain: %s of them',
    async (_position, peers) => {
      const leaf = leafOf(cloud, 'web', { uris: [ofCloud('web')] });
      expect(await ending(leaf, [allowCloud], { peers })).toBe('echoed');
      expect(await ending(leaf, [{ ...allowCloud, sourcePeer: 'another' }], { peers })).toBe('DENIED');
    },
  );

  it('is unknown when its peer is not trusted', async () => {
    const leaf = leafOf(cloud, 'web', { uris: [ofCloud('web')] });
    expect(await ending(leaf, [allowCloud], { peers: [] })).toBe('DOWNSTREAM_UNTRUSTED');
  });

  it.each([
    [['cloud'], 'echoed'],
    [['elsewhere'], 'DENIED'],
    [[], 'DENIED'],
  ])('is allowed only if the service is exported to its peer: %j', async (importers, expected) => {
    const leaf = leafOf(cloud, 'web', { uris: [ofCloud('web')] });
    expect(await ending(leaf, [allowCloud], { importers })).toBe(expected);
  });

  it.each([
    ['an authority of a peer speaks for a service of this cluster', cloud, uriOf('web')],
    ['the own authority speaks for a service of a peer', root, ofCloud('web')],
  ])('is refused when %s', async (_claim, authority, uri) => {
    const all = [allowLocal, allowCloud];
    expect(await ending(leafOf(authority, 'web', { uris: [uri] }), all)).toBe('DOWNSTREAM_UNTRUSTED');
  });

  it('may send intermediates of its own cluster', async () => {
    const leaf = leafOf(cloud.intermediate('cloud-dc'), 'web', { uris: [ofCloud('web')] });
    expect(await ending(leaf, [allowCloud])).toBe('echoed');
  });

  it('does not change the permissions of callers of this cluster', async () => {
    expect(await ending(leafOf(root, 'web'), [allowLocal])).toBe('echoed');
    expect(await ending(leafOf(root, 'web'), [allowCloud])).toBe('DENIED');
  });
});

/** The response to `hi`: `echoed`, or `closed`. */
function dialMutually({ host, port }: Endpoint, { certificate, privateKey, roots }: Credentials): Promise<string> {
  return new Promise((resolve) => {
    const tls = tlsConnect({
      host,
      port,
      cert: certificate,
      key: privateKey,
      ca: [...roots],
      checkServerIdentity: () => undefined,
    });
    tls.once('secureConnect', () => tls.write('hi'));
    tls.once('data', () => {
      tls.destroy();
      resolve('echoed');
    });
    tls.once('error', () => resolve('closed'));
    tls.once('close', () => resolve('closed'));
  });
}

describe('the trust domain of a peer', () => {
  it('that equals ours, or that of another peer with other roots, is not trusted', () => {
    const twin = certificateAuthority('twin', { uris: [`spiffe://${CLOUD_DOMAIN}`] });
    const own = certificateAuthority('own', {
      uris: [`spiffe://${credentialsOf(leafOf(root, 'web'), root).trustDomain}`],
    });
    const { peers } = identityOf(
      trusting('web', CLOUD, { peer: 'twin', roots: [twin.certificate] }, { peer: 'own', roots: [own.certificate] }),
    );
    expect([...peers.values()].map(({ peer, kind }) => [peer, kind])).toEqual([
      ['cloud', 'trusted'],
      ['twin', 'refused'],
      ['own', 'refused'],
    ]);
  });

  it('is the configured one if its roots have none, and otherwise that of the roots', () => {
    const vault = certificateAuthority('vault').certificate;
    const domainOf = (trust: Omit<PeerTrust, 'peer'>): string | undefined => {
      const peer = identityOf(trusting('web', { peer: 'vault', ...trust })).peers.get('vault');
      return peer?.kind === 'trusted' ? peer.trustDomain : undefined;
    };
    expect(domainOf({ roots: [vault], trustDomain: CLOUD_DOMAIN.toUpperCase() })).toBe(CLOUD_DOMAIN);
    // While a cluster changes its CA, its bundle has the old and the new root.
    expect(domainOf({ roots: [vault, cloud.certificate] })).toBe(CLOUD_DOMAIN);
    expect(domainOf({ roots: [cloud.certificate], trustDomain: 'other.consul' })).toBe(CLOUD_DOMAIN);
    expect(domainOf({ roots: [vault] })).toBeUndefined();
  });
});

describe('the TLS settings of the mesh entry', () => {
  it.each([
    [{}, 'TLSv1.2', 'TLSv1.3', 9],
    [{ minVersion: 'TLS_AUTO' }, 'TLSv1.2', 'TLSv1.3', 9],
    [{ minVersion: 'TLSv1_0' }, 'TLSv1.2', 'TLSv1.3', 9],
    [{ minVersion: 'TLSv1_3' }, 'TLSv1.3', 'TLSv1.3', 9],
    [{ maxVersion: 'TLSv1_2' }, 'TLSv1.2', 'TLSv1.2', 9],
    [{ cipherSuites: ['TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'] }, 'TLSv1.2', 'TLSv1.3', 4],
    [{ cipherSuites: ['TLS_RSA_WITH_AES_128_CBC_SHA'] }, 'TLSv1.3', 'TLSv1.3', 3],
  ])('%j: from %s to %s with %i suites', (settings, min, max, suites) => {
    const { minVersion, maxVersion, ciphers = '' } = tlsLimits(settings);
    expect([minVersion, maxVersion, ciphers.split(':').length]).toEqual([min, max, suites]);
  });

  it.each([
    { minVersion: 'TLSv1_3', maxVersion: 'TLSv1_2' },
    { maxVersion: 'TLSv1_1' },
    { maxVersion: 'TLSv1_2', cipherSuites: ['TLS_RSA_WITH_AES_128_CBC_SHA'] },
  ])('leaves nothing: %j', (settings) => {
    expect(() => tlsLimits(settings)).toThrow(/^expected /);
  });
});
