import { describe, expect, it } from 'vitest';
import { parseEndpoint } from '../src/transport/endpoint.ts';
import type { Endpoint } from '../src/transport/endpoint.ts';
import { leadsTo, overlap } from '../src/transport/own-addresses.ts';

function endpoint(text: string): Endpoint {
  return parseEndpoint(text) ?? { host: text, port: 0 };
}

describe('two addresses to listen on', () => {
  it.each([
    ['127.0.0.1:1', '127.0.0.1:1', true],
    ['127.0.0.1:1', '127.0.0.1:2', false],
    ['127.0.0.1:1', '127.0.0.2:1', false],
    ['0.0.0.0:1', '127.0.0.1:1', true],
    ['0.0.0.0:1', '[::]:1', true],
    ['[::]:1', '[::1]:1', true],
    ['[::]:1', '10.0.0.1:1', true],
    ['0.0.0.0:1', '[::1]:1', false],
    ['[::ffff:127.0.0.1]:1', '127.0.0.1:1', true],
    ['localhost:1', '127.0.0.1:1', true],
    ['0.0.0.0:0', '0.0.0.0:0', false],
    ['unix:/a', 'unix:/a', true],
    ['unix:/a', 'unix:/b', false],
    ['unix:/a', '0.0.0.0:1', false],
  ])('%s and %s clash: %s', (one, other, expected) => {
    expect(overlap(endpoint(one), endpoint(other))).toBe(expected);
    expect(overlap(endpoint(other), endpoint(one))).toBe(expected);
  });
});

describe('a dial', () => {
  const isLocal = (host: string): boolean => ['127.0.0.1', '127.0.0.2', '::1', '10.0.0.5'].includes(host);

  it.each([
    ['127.0.0.1:1', '127.0.0.1:1', true],
    ['127.0.0.1:1', '127.0.0.1:2', false],
    ['127.0.0.2:1', '127.0.0.1:1', false],
    ['127.0.0.2:1', '0.0.0.0:1', true],
    ['10.0.0.5:1', '0.0.0.0:1', true],
    ['10.0.0.6:1', '0.0.0.0:1', false],
    ['10.0.0.5:1', '[::]:1', true],
    ['[::1]:1', '[::]:1', true],
    ['[::1]:1', '0.0.0.0:1', false],
    ['0.0.0.0:1', '127.0.0.1:1', true],
    ['0.0.0.0:1', '0.0.0.0:1', true],
    ['0.0.0.0:1', '10.0.0.5:1', false],
    ['[::]:1', '[::1]:1', true],
    ['[::]:1', '127.0.0.1:1', true],
    ['[::ffff:127.0.0.1]:1', '127.0.0.1:1', true],
    ['unix:/a', 'unix:/a', true],
    ['unix:/a', '0.0.0.0:1', false],
  ])('to %s ends at a listener on %s: %s', (to, bound, expected) => {
    expect(leadsTo(endpoint(to), endpoint(bound), isLocal)).toBe(expected);
  });
});
