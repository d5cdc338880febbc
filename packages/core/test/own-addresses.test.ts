import { once } from 'node:events';
import { link, mkdtemp, rm, symlink } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
    ['[::ffff:7f00:1]:1', '127.0.0.1:1', true],
    ['[0::0]:1', '10.0.0.1:1', true],
    ['[fe80::1%eth0]:1', '[fe80::1%eth1]:1', false],
    ['localhost:1', '127.0.0.1:1', true],
    ['0.0.0.0:0', '0.0.0.0:0', false],
    ['unix:/a', 'unix:/a', true],
    ['unix:/a', 'unix:/b', false],
    ['unix:/a/./b/../c', 'unix:/a/c', true],
    ['unix:/a', '0.0.0.0:1', false],
  ])('%s and %s conflict: %s', (one, other, expected) => {
    expect(overlap(endpoint(one), endpoint(other))).toBe(expected);
    expect(overlap(endpoint(other), endpoint(one))).toBe(expected);
  });
});

describe('a dial', () => {
  const isLocal = (host: string): boolean =>
    ['127.0.0.1', '127.0.0.2', '::1', '10.0.0.5', 'fe80::5'].includes(host.replace(/%.*/, ''));

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
    ['[::ffff:7f00:1]:1', '127.0.0.1:1', true],
    ['[0:0:0:0:0:ffff:7f00:0001]:1', '0.0.0.0:1', true],
    ['[::FFFF:7F00:2]:1', '127.0.0.1:1', false],
    ['[::ffff:0.0.0.0]:1', '127.0.0.1:1', true],
    ['127.0.0.1:1', '[::ffff:7f00:1]:1', true],
    ['[0:0:0:0:0:0:0:1]:1', '[::1]:1', true],
    ['[0::0]:1', '[::1]:1', true],
    ['[::1]:1', '[0000:0000:0000:0000:0000:0000:0000:0000]:1', true],
    ['[fe80::5%lo]:1', '[::]:1', true],
    ['[FE80:0::5%lo]:1', '[fe80::5%lo]:1', true],
    ['[fe80::5%eth0]:1', '[fe80::5%eth1]:1', false],
    ['[fe80::6%lo]:1', '[::]:1', false],
    ['unix:/a', 'unix:/a', true],
    ['unix:/a', '0.0.0.0:1', false],
    ['unix:/nobody-has-this', 'unix:/nor-this', false],
  ])('to %s ends at a listener on %s: %s', (to, bound, expected) => {
    expect(leadsTo(endpoint(to), endpoint(bound), isLocal)).toBe(expected);
  });

  it('to a unix socket ends at its listener by any path', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'meshgate-own-'));
    const socket = join(folder, 'gateway.sock');
    const server = createServer().listen(socket);
    await once(server, 'listening');
    await symlink(socket, join(folder, 'link.sock'));
    await symlink(folder, join(folder, 'here'));
    await link(socket, join(folder, 'hard.sock'));
    const bound = { host: `unix:${socket}`, port: 0 };
    const ends = (path: string): boolean => leadsTo({ host: `unix:${folder}/${path}`, port: 0 }, bound);
    expect(['link.sock', 'here/gateway.sock', './here/./gateway.sock', 'hard.sock'].map(ends)).toEqual(
      Array.from({ length: 4 }, () => true),
    );
    expect(['other.sock', ''].map(ends)).toEqual([false, false]);
    server.close();
    await rm(folder, { recursive: true });
  });
});
