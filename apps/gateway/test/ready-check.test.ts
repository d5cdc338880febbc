import { parseEndpoint } from '@meshgate/core';
import { expect, it } from 'vitest';
import { withReadyCheck } from '../src/config/ready-check.ts';

const admin = (address: string) => [{ endpoint: parseEndpoint(address) ?? { host: address, port: 0 } }];
const given = (settings: Readonly<Record<string, unknown>>, use = 'consul') => [
  { use, settings, list: 'sources', path: ['sources', 0] } as const,
];

it.each([
  ['the default address of an agent', {}, '127.0.0.1:19000', 'http://127.0.0.1:19000/ready'],
  ['an agent on loopback', { address: 'https://127.0.0.1:8501' }, '127.0.0.1:19000', 'http://127.0.0.1:19000/ready'],
  ['an agent on a unix socket', { address: 'unix:///run/consul.sock' }, '[::1]:9', 'http://[::1]:9/ready'],
  ['an admin API on every address', {}, '0.0.0.0:19000', 'http://127.0.0.1:19000/ready'],
  ['an admin API on every address of both families', {}, '[::]:19000', 'http://[::1]:19000/ready'],
  ['an admin API on every address, in a longer notation', {}, '[0::0]:19000', 'http://[::1]:19000/ready'],
  ['an admin API on every IPv4 address, mapped to IPv6', {}, '[::ffff:0:0]:19000', 'http://127.0.0.1:19000/ready'],
  ['an agent elsewhere', { address: '10.0.0.9:8500' }, '127.0.0.1:19000', undefined],
  ['an admin API on a unix socket', {}, 'unix:/run/admin.sock', undefined],
  ['an admin API on any free port', {}, '127.0.0.1:0', undefined],
])('with %s the registered check uses the right URL, or checks the port', (_case, agent, at, expected) => {
  const [use] = withReadyCheck(given({ ...agent, register: {} }), admin(at));
  expect(use?.settings['register']).toEqual(expected === undefined ? {} : { readyUrl: expected });
});

it.each([
  ['nothing is registered', given({})],
  ['another URL is set', given({ register: { readyUrl: 'http://10.0.0.5/up' } })],
  ['it is another source', given({ register: {} }, 'file')],
])('nothing changes where %s', (_case, uses) => {
  expect(withReadyCheck(uses, admin('127.0.0.1:19000'))).toEqual(uses);
});
