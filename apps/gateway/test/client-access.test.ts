import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigProblems } from '@meshgate/core';
import { clientHello, inRecords, rawClient, tcpBackend } from '@meshgate/testkit';
import type { Endpoint } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../src/config/load-config.ts';
import { folder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';

const HELLO = inRecords(clientHello({ serverName: 'api.example.com' }));

/** A configuration with this listener, and a route to `backend` with these rules. */
function files(backend: Endpoint, listener: object, rules: object = {}, more: object = {}) {
  const { host, port } = backend;
  const route = { name: 'api', serverNames: ['api.example.com'], backends: [{ address: host, port }], ...rules };
  return {
    'meshgate.yaml': {
      ...TEST_CONFIG,
      listeners: [{ name: 'edge', address: '127.0.0.1', port: 0, ...listener }],
      ...more,
    },
    'routes.yaml': { routes: [route] },
  };
}

const BEHIND_BALANCER = { proxyProtocol: { from: ['127.0.0.1'] } };

/** Whether a client at `host`, by the PROXY header before its hello, is connected to the backend. */
async function getsThrough(gateway: ReadyDaemon, host: string): Promise<boolean> {
  await using client = await rawClient(gateway.address);
  const family = host.includes(':') ? 'TCP6' : 'TCP4';
  const self = host.includes(':') ? '::1' : '127.0.0.1';
  await client.send(Buffer.concat([Buffer.from(`PROXY ${family} ${host} ${self} 4711 443\r\n`), HELLO]));
  const response = client.receive(HELLO.length).then(
    () => true,
    () => false,
  );
  return await Promise.race([response, client.closed.then(() => false)]);
}

describe('access rules', () => {
  it.each([1, 2])('of a route follow changes of a file, with %i workers', async (workers) => {
    await using backend = await tcpBackend('api');
    const rules = { access: { allowFile: 'lists/allowed.txt' } };
    await using at = await folder({
      ...files(backend.address, BEHIND_BALANCER, rules, { workers }),
      'lists/allowed.txt': '192.0.2.0/28 # the office\n',
    });
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    expect([await getsThrough(gateway, '192.0.2.1'), await getsThrough(gateway, '192.0.2.99')]).toEqual([true, false]);
    const line = await gateway.line(({ remote }) => remote === '192.0.2.99:4711');
    expect(line).toMatchObject({ code: 'CLIENT_DENIED', route: 'api', attempts: 0 });
    await writeFile(join(at.path, 'lists/new.txt'), '192.0.2.99\n');
    await rename(join(at.path, 'lists/new.txt'), join(at.path, 'lists/allowed.txt'));
    while (!(await getsThrough(gateway, '192.0.2.99'))) await gateway.query('/live');
  });

  it('of an invalid file stay as they were, and the log has the position of the mistake', async () => {
    await using backend = await tcpBackend('api');
    const rules = { access: { allowFile: 'allowed.txt' } };
    await using at = await folder({ ...files(backend.address, BEHIND_BALANCER, rules), 'allowed.txt': '192.0.2.99\n' });
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    expect(await getsThrough(gateway, '192.0.2.99')).toBe(true);
    await writeFile(join(at.path, 'allowed.txt'), '192.0.2.1\n10.0.0.0/33\n');
    const failure = await gateway.line(({ msg }) => String(msg).includes('allowed.txt:2:1'));
    expect(failure['msg']).toContain('expected an address, a block such as 10.0.0.0/8, or unix, found "10.0.0.0/33"');
    expect(await getsThrough(gateway, '192.0.2.99')).toBe(true);
    // As a shell truncates a file that a program then writes, or fails to write.
    await writeFile(join(at.path, 'allowed.txt'), '');
    await gateway.line(({ msg }) => String(msg).includes('or a comment for none; found an empty file'));
    expect(await getsThrough(gateway, '192.0.2.99')).toBe(true);
    await writeFile(join(at.path, 'allowed.txt'), '# nobody\r\n');
    while (await getsThrough(gateway, '192.0.2.99')) await gateway.query('/live');
  });

  it('of a listener apply to the client in the PROXY protocol header, including IPv6 and IPv4-mapped IPv6', async () => {
    await using backend = await tcpBackend('api');
    const listener = { ...BEHIND_BALANCER, access: { allow: ['2001:db8::/32', '192.0.2.0/24'], denyFile: 'deny.txt' } };
    await using at = await folder({
      ...files(backend.address, listener),
      'deny.txt': '2001:db8:bad::/48\n192.0.2.66\n',
    });
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    const outcomes: Record<string, boolean> = {};
    for (const host of ['2001:db8::1', '2001:db8:bad::1', '::ffff:192.0.2.1', '192.0.2.66', '198.51.100.1'])
      outcomes[host] = await getsThrough(gateway, host);
    expect(outcomes).toEqual({
      '2001:db8::1': true,
      '2001:db8:bad::1': false,
      '::ffff:192.0.2.1': true,
      '192.0.2.66': false,
      '198.51.100.1': false,
    });
  });

  it('that refuse at accept are counted', async () => {
    await using backend = await tcpBackend('api');
    await using at = await folder(files(backend.address, { access: { deny: ['127.0.0.0/8'] } }));
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    await using client = await rawClient(gateway.address);
    await client.closed;
    await gateway.line(({ code }) => code === 'CLIENT_DENIED');
    const metrics = await (await fetch(`${gateway.admin}/metrics`)).text();
    expect(metrics).toContain('meshgate_connections_refused_total{listener="edge",code="CLIENT_DENIED"} 1');
  });

  it('with an invalid or missing file are problems of the configuration, with their positions', async () => {
    const listener = { access: { allowFile: 'missing.txt' } };
    const rules = { access: { denyFile: 'deny.txt' } };
    await using at = await folder({
      ...files({ host: '127.0.0.1', port: 1 }, listener, rules),
      'deny.txt': '\n  x # y\n',
    });
    const loading = loadConfig(join(at.path, 'meshgate.yaml'));
    await expect(loading).rejects.toBeInstanceOf(ConfigProblems);
    await expect(loading).rejects.toThrow(/deny\.txt:2:3: expected an address, .* found "x"/);
    await expect(loading).rejects.toThrow(/missing\.txt:1:1: cannot be read: no such file/);
  });

  it('and limits of a route are shown by explain and by /routes', async () => {
    const rules = {
      access: { allow: ['192.0.2.0/24'], deny: ['192.0.2.1'] },
      limits: { connections: 5, rate: '30/m' },
    };
    await using at = await folder(files({ host: '127.0.0.1', port: 1 }, {}, rules));
    const { stdout } = await meshgate(['explain', 'api.example.com', '--config', join(at.path, 'meshgate.yaml')]);
    expect(stdout).toMatch(/allow +192\.0\.2\.0\/24\n +deny +192\.0\.2\.1\n +limits +connections 5, rate 30\/m\n/);
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    expect(await gateway.query('/routes')).toMatchObject({ json: { routes: [{ ...rules, name: 'api' }] } });
    expect(await gateway.query('/explain?serverName=api.example.com')).toMatchObject({ json: rules });
  });
});

describe('limits', () => {
  it('on new connections of a client apply to each client separately', async () => {
    await using backend = await tcpBackend('api');
    const limits = { perClient: { rate: '2/h' } };
    await using at = await folder(files(backend.address, BEHIND_BALANCER, {}, { limits }));
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    const outcomes = [];
    for (let index = 0; index < 3; index += 1) outcomes.push(await getsThrough(gateway, '192.0.2.7'));
    expect([...outcomes, await getsThrough(gateway, '192.0.2.8')]).toEqual([true, true, false, true]);
    const line = await gateway.line(({ code }) => code === 'LIMIT_REACHED');
    expect(line['reason']).toBe('limits.perClient.rate: 192.0.2.7 has opened more than 2/h');
  });
});
