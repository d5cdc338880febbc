import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { certificateAuthority, tlsBackend, tlsClient } from '../src/index.ts';

const SPIFFE = 'spiffe://11111111-2222-3333-4444-555555555555.consul/ns/default/dc/dc1/svc/web';
const DAY_MS = 86_400_000;

describe('an authority', () => {
  it('issues the requested certificate', () => {
    const authority = certificateAuthority('root');
    const { certificate } = authority.issue({
      dnsNames: ['web.internal', '*.web.internal'],
      uris: [SPIFFE],
      addresses: ['127.0.0.1', '2001:db8::1'],
      usage: ['server'],
    });
    const leaf = new X509Certificate(certificate);
    expect(leaf.subject).toBe('CN=web.internal');
    expect(leaf.issuer).toBe('CN=root');
    expect(leaf.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
    expect(leaf.ca).toBe(false);
    for (const name of ['web.internal', 'a.web.internal']) expect(leaf.checkHost(name)).toBeDefined();
    for (const address of ['127.0.0.1', '2001:db8::1']) expect(leaf.checkIP(address)).toBe(address);
    expect(leaf.subjectAltName).toContain(`URI:${SPIFFE}`);
    expect(leaf.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true);
  });

  it('issues a leaf without a subject, as Consul does, whose names are then critical', () => {
    const leaf = new X509Certificate(certificateAuthority('root').issue({ uris: [SPIFFE] }).certificate);
    expect(leaf.subject).toBeFalsy();
    expect(leaf.subjectAltName).toBe(`URI:${SPIFFE}`);
  });

  it('never issues the same key or serial number twice', () => {
    const authority = certificateAuthority('root');
    const leaves = [1, 2].map(() => authority.issue({ dnsNames: ['web.internal'] }));
    expect(new Set(leaves.map(({ privateKey }) => privateKey)).size).toBe(2);
    expect(new Set(leaves.map(({ certificate }) => new X509Certificate(certificate).serialNumber)).size).toBe(2);
  });

  it('uses the given dates, on both sides of 2050', () => {
    const notBefore = new Date('2049-12-31T00:00:00Z');
    const notAfter = new Date('2050-01-02T00:00:00Z');
    const { certificate } = certificateAuthority('root').issue({ uris: [SPIFFE], notBefore, notAfter });
    const leaf = new X509Certificate(certificate);
    expect([new Date(leaf.validFrom), new Date(leaf.validTo)]).toEqual([notBefore, notAfter]);
  });

  it('reports an address that it cannot encode', () => {
    const issue = (): unknown => certificateAuthority('root').issue({ addresses: ['localhost'] });
    expect(issue).toThrow("expected an IP address, found 'localhost'");
  });
});

describe('a peer', () => {
  it('trusts a chain through intermediates to a known root', async () => {
    const root = certificateAuthority('root');
    const identity = root
      .intermediate('first')
      .intermediate('second')
      .issue({ dnsNames: ['web.internal'] });
    await using backend = await tlsBackend('web.internal', { authority: root, identity });
    await using client = await tlsClient(backend.address, 'web.internal', { ca: root.certificate });
    expect(await client.echo('trusted')).toBe('trusted');
  });

  it.each([
    { what: 'expired', days: [-2, -1], code: 'CERT_HAS_EXPIRED' },
    { what: 'not valid yet', days: [1, 2], code: 'CERT_NOT_YET_VALID' },
  ])('rejects a leaf that is $what', async ({ days: [from = 0, to = 0], code }) => {
    const root = certificateAuthority('root');
    const [notBefore, notAfter] = [from, to].map((days) => new Date(new Date().getTime() + days * DAY_MS));
    const validity = { ...(notBefore && { notBefore }), ...(notAfter && { notAfter }) };
    const identity = root.issue({ dnsNames: ['web.internal'], ...validity });
    await using backend = await tlsBackend('web.internal', { authority: root, identity });
    await expect(tlsClient(backend.address, 'web.internal', { ca: root.certificate })).rejects.toMatchObject({ code });
  });

  it('rejects a server whose certificate is for clients', async () => {
    const root = certificateAuthority('root');
    const identity = root.issue({ dnsNames: ['web.internal'], usage: ['client'] });
    await using backend = await tlsBackend('web.internal', { authority: root, identity });
    const client = tlsClient(backend.address, 'web.internal', { ca: root.certificate });
    await expect(client).rejects.toMatchObject({ code: 'INVALID_PURPOSE' });
  });
});
