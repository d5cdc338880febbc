import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatSpiffeId, isSameSpiffeId, parseSpiffeId } from '../src/index.ts';
import type { SpiffeId } from '../src/index.ts';

const trustDomain = '88674a45-183b-4d14-02bd-f42cffaa3215.consul';

const IDENTITIES: readonly (readonly [path: string, id: SpiffeId])[] = [
  [
    '/ns/default/dc/dc1/svc/web',
    { kind: 'service', trustDomain, partition: 'default', namespace: 'default', datacenter: 'dc1', service: 'web' },
  ],
  [
    '/ap/eu/ns/shop/dc/dc1/svc/web',
    { kind: 'service', trustDomain, partition: 'eu', namespace: 'shop', datacenter: 'dc1', service: 'web' },
  ],
  [
    '/ns/default/dc/dc1/svc/a%2Fb',
    { kind: 'service', trustDomain, partition: 'default', namespace: 'default', datacenter: 'dc1', service: 'a/b' },
  ],
  [
    '/agent/client/dc/dc1/id/node-1',
    { kind: 'agent', trustDomain, partition: 'default', datacenter: 'dc1', node: 'node-1' },
  ],
  ['/agent/server/dc/dc1', { kind: 'server', trustDomain, datacenter: 'dc1' }],
  ['/gateway/mesh/dc/dc1', { kind: 'mesh-gateway', trustDomain, partition: 'default', datacenter: 'dc1' }],
  ['/ap/eu/gateway/mesh/dc/dc1', { kind: 'mesh-gateway', trustDomain, partition: 'eu', datacenter: 'dc1' }],
  ['', { kind: 'authority', trustDomain }],
];

const INVALID = [
  '',
  'https://td/ns/default/dc/dc1/svc/web',
  'spiffe://',
  'spiffe:///ns/default/dc/dc1/svc/web',
  `spiffe://user@${trustDomain}/ns/default/dc/dc1/svc/web`,
  `spiffe://${trustDomain}:443/ns/default/dc/dc1/svc/web`,
  `spiffe://${trustDomain}/ns/default/dc/dc1/svc/web?x`,
  `spiffe://${trustDomain}/ns/default/dc/dc1/svc/web#x`,
  `spiffe://${trustDomain}/ns/default/dc/dc1/svc/web/`,
  `spiffe://${trustDomain}/ns/default/dc/dc1/svc/`,
  `spiffe://${trustDomain}/ns//dc/dc1/svc/web`,
  `spiffe://${trustDomain}/ns/default/dc/dc1/svc/%zz`,
  `spiffe://${trustDomain}/ap/eu`,
  `spiffe://${trustDomain}/ap/eu/agent/server/dc/dc1`,
  `spiffe://${trustDomain}/somewhere/else`,
  `spiffe://${trustDomain}/ns/default/dc/dc1/svc/web, URI:spiffe://${trustDomain}/ns/default/dc/dc1/svc/db`,
];

describe('a SPIFFE id', () => {
  it.each(IDENTITIES)('is parsed from its URI: %s', (path, id) => {
    expect(parseSpiffeId(`spiffe://${trustDomain}${path}`)).toEqual(id);
  });

  it.each(IDENTITIES)('is formatted as its URI: %s', (path, id) => {
    expect(formatSpiffeId(id)).toBe(`spiffe://${trustDomain}${path}`);
  });

  it.each(INVALID)('is not parsed from %j', (text) => {
    expect(parseSpiffeId(text)).toMatchObject({ kind: 'invalid', reason: expect.stringContaining('found') as string });
  });

  it('has a trust domain in lower case', () => {
    expect(parseSpiffeId('spiffe://TD.Consul/agent/server/dc/dc1')).toMatchObject({ trustDomain: 'td.consul' });
  });

  it.each([
    ['web@v2', 'web@v2'],
    ['web:v2', 'web:v2'],
    ['web+x', 'web+x'],
    ['web$1', 'web$1'],
    ['web;1', 'web;1'],
    ['web=1', 'web=1'],
    ['web&1', 'web&1'],
    ['web,1', 'web,1'],
    ['web~1', 'web~1'],
    ['Web_1', 'Web_1'],
    ['web v2', 'web%20v2'],
    ['wéb', 'w%C3%A9b'],
    ['web%1', 'web%251'],
    ['web!1', 'web%211'],
    ["web'1", 'web%271'],
    ['web(1)', 'web%281%29'],
    ['web*1', 'web%2A1'],
    ['web[1]', 'web%5B1%5D'],
    ['web?1', 'web%3F1'],
    ['web#1', 'web%231'],
    ['a/b', 'a%2Fb'],
    ['\ud800', '%EF%BF%BD'],
  ])('of the service %j is formatted as by Go: %s', (service, written) => {
    const id = { kind: 'service', trustDomain, partition: 'default', namespace: 'default', datacenter: 'dc1' } as const;
    expect(formatSpiffeId({ ...id, service })).toBe(`spiffe://${trustDomain}/ns/default/dc/dc1/svc/${written}`);
  });

  it.each([
    ['web@v2', 'web%40v2', true],
    ['web', '%77eb', true],
    ['w%c3%a9b', 'w%C3%A9b', true],
    ['web', 'Web', false],
    ['a%2Fb', 'a/b', false],
    ['%zz', '%zz', false],
  ])('ending in %s and one ending in %s are the same: %s', (one, other, expected) => {
    const uri = (service: string): string => `spiffe://${trustDomain}/ns/default/dc/dc1/svc/${service}`;
    expect(isSameSpiffeId(uri(one), uri(other))).toBe(expected);
  });

  it('is equal with a trust domain in capitals and with an explicit default partition', () => {
    const plain = `spiffe://${trustDomain}/ns/default/dc/dc1/svc/web`;
    expect(isSameSpiffeId(plain, plain.replace(trustDomain, trustDomain.toUpperCase()))).toBe(true);
    expect(isSameSpiffeId(plain, `spiffe://${trustDomain}/ap/default/ns/default/dc/dc1/svc/web`)).toBe(true);
  });

  it('survives a round trip for any names', () => {
    const name = fc.string({ unit: 'grapheme', minLength: 1 });
    fc.assert(
      fc.property(name, name, name, name, (partition, namespace, datacenter, service) => {
        const id: SpiffeId = { kind: 'service', trustDomain, partition, namespace, datacenter, service };
        expect(parseSpiffeId(formatSpiffeId(id))).toEqual(id);
      }),
    );
  });

  it('never throws for any text', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void parseSpiffeId(`spiffe://${text}`)));
  });
});
