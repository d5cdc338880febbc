import { describe, expect, it } from 'vitest';
import { formatEndpoint, parseEndpoint, unixPath } from '../src/transport/endpoint.ts';

describe('the string form of an endpoint', () => {
  it.each([
    ['10.0.0.1:8443', { host: '10.0.0.1', port: 8443 }],
    ['[2001:db8::1]:443', { host: '2001:db8::1', port: 443 }],
    ['db.internal:0', { host: 'db.internal', port: 0 }],
    ['unix:/run/app.sock', { host: 'unix:/run/app.sock', port: 0 }],
  ])('%s is parsed, and formatted the same', (text, endpoint) => {
    expect(parseEndpoint(text)).toEqual(endpoint);
    expect(formatEndpoint(endpoint)).toBe(text);
  });

  it.each([
    '',
    'host',
    'host:',
    ':80',
    'host:65536',
    'host:-1',
    'host:8o',
    '2001:db8::1:443',
    '[::1]',
    'unix:',
    'a:1:2',
  ])('%j is rejected', (text) => expect(parseEndpoint(text)).toBeUndefined());

  it('distinguishes a unix socket from a host', () => {
    expect(unixPath({ host: 'unix:/run/a.sock', port: 0 })).toBe('/run/a.sock');
    expect(unixPath({ host: 'unix.example', port: 1 })).toBeUndefined();
  });
});
