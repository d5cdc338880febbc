import { describe, expect, it } from 'vitest';
import { dialAddress } from '../src/index.ts';
import type { Instance } from '../src/index.ts';
import { instance } from './instance.ts';

const node = { nodeAddress: '10.0.0.1', nodeTaggedAddresses: { lan: '10.0.0.2', wan: '198.18.0.1' } };
const lan = { lan: { address: '10.9.9.9', port: 9 }, lan_ipv4: { address: '10.9.9.8', port: 8 } };
const wan = { ...lan, wan: { address: '198.18.0.9', port: 443 } };

const ROWS: readonly (readonly [what: string, given: Partial<Instance>, lan: string, wan: string])[] = [
  ['an address of its own', { address: '10.1.1.1' }, '10.1.1.1:80', '10.1.1.1:80'],
  ['no address', { address: '' }, '10.0.0.1:80', '198.18.0.1:80'],
  ['no address, a node without tags', { address: '', nodeTaggedAddresses: {} }, '10.0.0.1:80', '10.0.0.1:80'],
  ['lan tags only', { address: '10.1.1.1', taggedAddresses: lan }, '10.1.1.1:80', '10.1.1.1:80'],
  ['a wan tag', { address: '10.1.1.1', taggedAddresses: wan }, '10.1.1.1:80', '198.18.0.9:443'],
  ['a wan tag, no address', { address: '', taggedAddresses: wan }, '10.0.0.1:80', '198.18.0.9:443'],
  [
    'a wan tag without an address',
    { address: '10.1.1.1', taggedAddresses: { wan: { address: '', port: 443 } } },
    '10.1.1.1:80',
    '198.18.0.1:443',
  ],
  ['a zone', { address: 'fe80::1%eth0' }, 'fe80::1%eth0:80', 'fe80::1%eth0:80'],
  ['a host name', { address: 'db_1.example.com' }, 'db_1.example.com:80', 'db_1.example.com:80'],
  ['an address in brackets', { address: '[2001:db8::1]' }, '2001:db8::1:80', '2001:db8::1:80'],
  [
    'a wan tag without a port',
    { address: '10.1.1.1', taggedAddresses: { wan: { address: 'gw.example.com', port: 0 } } },
    '10.1.1.1:80',
    'gw.example.com:80',
  ],
];

describe('the address to dial', () => {
  it.each(ROWS)('with %s is the one that Consul selects', (_what, given, inside, across) => {
    const at = instance('db', { ...node, port: 80, ...given });
    expect([dialAddress(at, 'lan'), dialAddress(at, 'wan')].map((to) => `${to?.host}:${to?.port}`)).toEqual([
      inside,
      across,
    ]);
  });

  it.each([
    ['no address anywhere', { address: '', nodeAddress: '', nodeTaggedAddresses: {} }],
    ['port 0', { port: 0 }],
    ['a port out of range', { port: 65_536 }],
    ['half a port', { port: 80.5 }],
    ['a unix socket', { address: 'unix:/run/docker.sock' }],
    ['a path', { address: '/run/docker.sock' }],
    ['a network', { address: '10.0.0.0/8' }],
    ['a URL', { address: 'http://10.0.0.1' }],
    ['a port in it', { address: '10.0.0.1:80' }],
    ['white space', { address: 'a b' }],
    ['line breaks', { address: 'a\nb' }],
    ['too long a name', { address: 'a.'.repeat(130) }],
  ])('does not exist with %s', (_what, given) => {
    expect(dialAddress(instance('db', given), 'lan')).toBeUndefined();
  });
});
