import type { ConnectionFilter, PluginHost } from '@meshgate/core';
import { describeConnectionFilter } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { postgres, proxyProtocol } from '../src/index.ts';
import plugin, { knock, KNOCK } from './documented/knock.plugin.ts';
import { v1, v2 } from './headers.ts';

const CLIENT = { host: '192.0.2.1', port: 56_324 };
const SERVER = { host: '198.51.100.1', port: 443 };
const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex');
const GSSENC_REQUEST = Buffer.from('0000000804d21630', 'hex');

describeConnectionFilter('the PROXY protocol', () => proxyProtocol({ from: ['127.0.0.1'] }), [
  {
    name: 'version 1',
    bytes: v1('TCP4 192.0.2.1 198.51.100.1 56324 443'),
    expected: { kind: 'passes', remote: CLIENT },
  },
  {
    name: 'version 2 with a checksum',
    bytes: v2({ source: CLIENT, destination: SERVER, checksum: true }),
    expected: { kind: 'passes', remote: CLIENT },
  },
  {
    name: 'no header',
    bytes: Buffer.from('GET / HTTP/1.1\r\n'),
    expected: { kind: 'refuses', code: 'PROXY_PROTOCOL_MALFORMED' },
  },
]);

describeConnectionFilter('PostgreSQL', postgres, [
  { name: 'an SSLRequest', bytes: SSL_REQUEST, expected: { kind: 'passes', response: Buffer.from('S') } },
  {
    name: 'a GSSENCRequest, then an SSLRequest',
    bytes: Buffer.concat([GSSENC_REQUEST, SSL_REQUEST]),
    expected: { kind: 'passes', response: Buffer.from('NS') },
  },
  { name: 'a ClientHello', bytes: Buffer.from('160301', 'hex'), expected: { kind: 'passes', rest: 3 } },
]);

it('the documented example adds its filter by its name, and a fact', async () => {
  const added: string[] = [];
  const host = { baseDir: '/', addFilter: ({ name }: ConnectionFilter) => void added.push(name) };
  await plugin.install(host as unknown as PluginHost, { secret: 'sesame' });
  expect([...added, KNOCK.name]).toEqual(['knock', 'knock.line']);
});

describeConnectionFilter('the documented example', () => knock('sesame'), [
  {
    name: 'the secret line',
    bytes: Buffer.from('sesame\n'),
    expected: { kind: 'passes', response: Buffer.from('OK\n') },
  },
  { name: 'another line', bytes: Buffer.from('abcdef\n'), expected: { kind: 'refuses', code: 'REFUSED_BY_POLICY' } },
]);
