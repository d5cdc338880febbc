import { connect as tlsConnect } from 'node:tls';
import { once } from 'node:events';
import { certificateAuthority, rawClient, tcpBackend, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { CertificateAuthority, IssuedCertificate } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import type { Credentials, Intention } from '@meshgate/mesh';
import { credentialsOf, leafOf, targetOf, upstreamOf, uriOf, viewOf } from './mesh.ts';
import type { ViewOptions } from './mesh.ts';
import { startSidecar } from './sidecar.ts';
import type { TestSidecar } from './sidecar.ts';

const root = certificateAuthority('root');
const strange = certificateAuthority('strange root');
const db = credentialsOf(leafOf(root, 'db'), root);
const FOREIGN = '99999999-2222-3333-4444-555555555555.consul';
const PAST = { notBefore: new Date('2020-01-01T00:00:00Z'), notAfter: new Date('2020-01-02T00:00:00Z') };

/** The sidecar of `db`, in front of an echo. */
async function dbSidecar(over: Partial<ViewOptions> = {}, credentials: Credentials = db) {
  const application = await tcpBackend('db');
  const view = viewOf({ service: 'db', application: application.address, ...over });
  const sidecar = await startSidecar({ credentials, view });
  return {
    sidecar,
    application,
    async [Symbol.asyncDispose](): Promise<void> {
      await sidecar[Symbol.asyncDispose]();
      await application[Symbol.asyncDispose]();
    },
  };
}

/** A sidecar of `web` whose upstream is `db` behind `two`. */
async function webSidecar(leaf: IssuedCertificate, two: TestSidecar): Promise<TestSidecar> {
  const upstreams = [upstreamOf('db', [targetOf({ service: 'db', at: [await two.address()] })])];
  return startSidecar({ credentials: credentialsOf(leaf, root), view: viewOf({ service: 'web', upstreams }) });
}

describe('a client is refused at the public listener, before the application is connected', () => {
  const refused: readonly [claim: string, leaf: IssuedCertificate, message: RegExp][] = [
    [
      'with a leaf that has expired',
      leafOf(root, 'web', PAST),
      /found that of spiffe:.*svc\/web, valid until 2020-01-02.*expired/,
    ],
    [
      'with a leaf of another authority',
      leafOf(strange, 'web'),
      /issued by a root of 1111.*found that of spiffe:.*svc\/web/,
    ],
    [
      'of a foreign trust domain, though a known root vouches for it',
      leafOf(root, 'web', { uris: [uriOf('web', 'dc1', FOREIGN)] }),
      /expected an identity of 1111.*, found spiffe:\/\/9999/,
    ],
    [
      'without a SPIFFE URI',
      leafOf(root, 'web', { uris: [], dnsNames: ['web.example'] }),
      /expected one SPIFFE URI, found none/,
    ],
    [
      'with two SPIFFE URIs',
      leafOf(root, 'web', { uris: [uriOf('web'), uriOf('admin')] }),
      /expected one SPIFFE URI, found spiffe:.*web, spiffe:.*admin/,
    ],
    [
      'that is no service',
      leafOf(root, 'web', { uris: [`spiffe://${uriOf('x').split('/')[2]}/agent/server/dc/dc1`] }),
      /expected the identity of a service/,
    ],
    ['with a certificate for servers only', leafOf(root, 'web', { usage: ['server'] }), /unsuitable|purpose/],
  ];
  it.each(refused)('%s', async (_claim, leaf, message) => {
    await using two = await dbSidecar();
    // TLS 1.3: the client's handshake completes before the server has verified the client's certificate.
    await using client = await tlsClient(await two.sidecar.address(), 'db', { identity: leaf });
    expect((await client.closed).kind).toBe('lost');
    const failure = await two.sidecar.failure('public');
    expect(failure.code).toBe('DOWNSTREAM_UNTRUSTED');
    expect(failure.message).toMatch(message);
    expect(two.application.accepted).toBe(0);
  });

  it('without a certificate, with an alert', async () => {
    await using two = await dbSidecar();
    const { host, port } = await two.sidecar.address();
    const client = tlsConnect({ host, port, ca: root.certificate, checkServerIdentity: () => undefined });
    const [error] = (await once(client, 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toMatch(/CERTIFICATE_REQUIRED|ECONNRESET/);
    expect(await two.sidecar.failure('public')).toMatchObject({
      code: 'DOWNSTREAM_UNTRUSTED',
      message: expect.stringMatching(/expected a client certificate of 1111.*, found none/),
    });
    expect(two.application.accepted).toBe(0);
  });

  it('without TLS', async () => {
    await using two = await dbSidecar();
    await using client = await rawClient(await two.sidecar.address());
    await client.send('GET / HTTP/1.1\r\n\r\n');
    expect(await two.sidecar.failure('public')).toMatchObject({
      code: 'DOWNSTREAM_UNTRUSTED',
      message: expect.stringContaining('expected a TLS handshake'),
    });
  });

  it('with TLS 1.1 or older only', async () => {
    await using two = await dbSidecar();
    const { host, port } = await two.sidecar.address();
    const versions = { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' } as const;
    const client = tlsConnect({ host, port, rejectUnauthorized: false, ...versions });
    await once(client, 'error');
    expect((await two.sidecar.failure('public')).code).toMatch(/DOWNSTREAM_UNTRUSTED/);
  });

  it.each([
    ['without authentication of what is encrypted', 'ECDHE-ECDSA-AES128-SHA'],
    ['without authentication, though with a newer hash', 'ECDHE-ECDSA-AES128-SHA256'],
    ['that Consul never offers', 'ECDHE-ECDSA-AES128-CCM'],
  ])('that offers, for TLS 1.2, a cipher %s', async (_claim, ciphers) => {
    await using two = await dbSidecar();
    const { host, port } = await two.sidecar.address();
    const { chain: cert, privateKey: key } = leafOf(root, 'web');
    const client = tlsConnect({ host, port, cert, key, rejectUnauthorized: false, maxVersion: 'TLSv1.2', ciphers });
    await once(client, 'error');
    expect(await two.sidecar.failure('public')).toMatchObject({
      code: 'DOWNSTREAM_UNTRUSTED',
      message: expect.stringMatching(/expected a TLS handshake, found .*cipher/),
    });
  });

  it.each(['ECDHE-ECDSA-AES128-GCM-SHA256', 'ECDHE-ECDSA-AES256-GCM-SHA384', 'ECDHE-ECDSA-CHACHA20-POLY1305'])(
    'but not one that offers %s',
    async (ciphers) => {
      await using two = await dbSidecar();
      const { host, port } = await two.sidecar.address();
      const { chain: cert, privateKey: key } = leafOf(root, 'web');
      const client = tlsConnect({ host, port, cert, key, rejectUnauthorized: false, maxVersion: 'TLSv1.2', ciphers });
      await once(client, 'secureConnect');
      client.write('hello');
      expect(String(((await once(client, 'data')) as [Buffer])[0])).toBe('hello');
      client.destroy();
    },
  );

  it('that disconnects in the middle of its handshake, which is not a refusal', async () => {
    await using two = await dbSidecar();
    await using client = await rawClient(await two.sidecar.address());
    await client.send(Uint8Array.of(22, 3, 1, 2, 0));
    client.end();
    expect((await two.sidecar.failure('public')).code).toBe('DOWNSTREAM_RESET');
  });

  it.each(['end', 'reset'] as const)('unless it closes without a byte, as health checks do (%s)', async (how) => {
    await using one = await dbSidecar();
    await using client = await rawClient(await one.sidecar.address());
    await one.sidecar.events.until('connection.accepted');
    client[how]();
    const { closed } = await one.sidecar.events.until('connection.closed');
    expect(closed.error).toBeUndefined();
    expect(one.application.accepted).toBe(0);
  });

  it('that is silent for too long', async () => {
    await using application = await tcpBackend('db');
    const view = viewOf({ service: 'db', application: application.address });
    await using two = await startSidecar({ credentials: db, view, limits: { helloTimeoutMs: 50 } });
    await using client = await rawClient(await two.address());
    await client.closed;
    expect((await two.failure('public')).code).toBe('SNIFF_TIMEOUT');
  });
});

describe('a refusal has a reason on both sides', () => {
  it('an intention that denies', async () => {
    await using two = await dbSidecar({ intentions: [{ source: 'web', destination: 'db', action: 'deny' }] });
    await using one = await webSidecar(leafOf(root, 'web'), two.sidecar);
    await using client = await rawClient(await one.address('upstream:db'));
    expect(await client.closed).toMatchObject({ kind: 'lost' });
    expect(await two.sidecar.failure('public')).toMatchObject({
      code: 'DENIED',
      message: expect.stringMatching(/svc\/web may not connect to db: intention web => db: deny/),
    });
    expect(await one.failure('upstream:db')).toMatchObject({
      code: 'UPSTREAM_RESET',
      message: expect.stringMatching(
        /may have refused the certificate of spiffe:.*svc\/web.*or an intention denies it/,
      ),
    });
    expect(two.application.accepted).toBe(0);
  });

  it('an intention whose permissions are for HTTP requests, named by every place that explains', async () => {
    const http: Intention = { source: 'web', destination: 'db', action: 'http', permissions: ['allow GET /'] };
    await using two = await dbSidecar({ intentions: [http] });
    await using one = await webSidecar(leafOf(root, 'web'), two.sidecar);
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    const why = /intention web => db: deny, since .* HTTP requests .*: permission 1, allow GET \/$/;
    expect(await two.sidecar.failure('public')).toMatchObject({ code: 'DENIED', message: expect.stringMatching(why) });
    const { snapshot } = await two.sidecar.events.until('routes.replaced');
    expect(snapshot.warnings).toEqual([expect.stringMatching(why)]);
    expect(snapshot.routes[0]?.origin?.['refusing']).toMatch(why);
  });

  it('without an authorizer that can check intentions', async () => {
    await using application = await tcpBackend('db');
    const view = viewOf({ service: 'db', application: application.address });
    const authorizer = { authorize: () => Promise.reject(new Error('the agent is down')) };
    await using two = await startSidecar({ credentials: db, view, authorizer });
    await using one = await webSidecar(leafOf(root, 'web'), two);
    await using client = await rawClient(await one.address('upstream:db'));
    expect(await client.closed).toMatchObject({ kind: 'lost' });
    expect(await two.failure('public')).toMatchObject({
      code: 'AUTHORIZATION_FAILED',
      message: expect.stringContaining('the agent is down'),
    });
    expect((await one.failure('upstream:db')).code).toBe('UPSTREAM_RESET');
    expect(application.accepted).toBe(0);
  });

  it('the own leaf has expired', async () => {
    await using two = await dbSidecar();
    await using one = await webSidecar(leafOf(root, 'web', PAST), two.sidecar);
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    expect((await two.sidecar.failure('public')).message).toMatch(/svc\/web, valid until 2020-01-02.*expired/);
    expect((await one.failure('upstream:db')).message).toMatch(/svc\/web, valid until 2020-01-02/);
  });

  const impostors: readonly [
    claim: string,
    authority: CertificateAuthority,
    leaf: IssuedCertificate,
    message: RegExp,
  ][] = [
    [
      'the server is another service',
      root,
      leafOf(root, 'mail'),
      /expected a certificate of spiffe:.*svc\/db, found that of spiffe:.*svc\/mail/,
    ],
    [
      'the server is of another datacenter',
      root,
      leafOf(root, 'db', { uris: [uriOf('db', 'dc2')] }),
      /expected a certificate of spiffe:.*dc\/dc1\/svc\/db, found that of spiffe:.*dc\/dc2\/svc\/db/,
    ],
    [
      'the server is of a foreign trust domain',
      root,
      leafOf(root, 'db', { uris: [uriOf('db', 'dc1', FOREIGN)] }),
      /expected a certificate of spiffe:\/\/1111.*found that of spiffe:\/\/9999/,
    ],
    [
      'the leaf of the server has expired',
      root,
      leafOf(root, 'db', PAST),
      /found that of spiffe:.*svc\/db, valid until 2020-01-02.*expired/,
    ],
    [
      'the server is vouched for by a strange root',
      strange,
      leafOf(strange, 'db'),
      /issued by a root of 1111.*found that of spiffe/,
    ],
  ];
  it.each(impostors)('%s', async (_claim, authority, leaf, message) => {
    await using server = await tlsBackend('db', { identity: leaf, authority, clientCa: root.certificate });
    const upstreams = [upstreamOf('db', [targetOf({ service: 'db', at: [server.address] })])];
    await using one = await startSidecar({
      credentials: credentialsOf(leafOf(root, 'web'), root),
      view: viewOf({ service: 'web', upstreams }),
    });
    await using client = await rawClient(await one.address('upstream:db'));
    await client.send('a secret');
    await client.closed;
    const failure = await one.failure('upstream:db');
    expect(failure.code).toBe('UPSTREAM_UNTRUSTED');
    expect(failure.message).toMatch(message);
    expect(one.events.last('connection.closed')?.closed.transfer.bytesUp).toBe(0);
  });

  it('a server of the mesh that is refused learns that its certificate may be the reason', async () => {
    const impostor = credentialsOf(leafOf(root, 'db', { uris: [uriOf('mail')] }), root);
    await using two = await dbSidecar({}, impostor);
    await using one = await webSidecar(leafOf(root, 'web'), two.sidecar);
    await using client = await rawClient(await one.address('upstream:db'));
    await client.closed;
    expect((await one.failure('upstream:db')).code).toBe('UPSTREAM_UNTRUSTED');
    expect(await two.sidecar.failure('public')).toMatchObject({
      code: 'DOWNSTREAM_RESET',
      message: expect.stringMatching(/certificate of spiffe:.*svc\/mail/),
    });
  });
});
