import { rawClient, tlsBackend, tlsClient } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { gatewayFolder, startGateway } from './daemon.ts';
import type { Folder, ReadyDaemon } from './daemon.ts';

describe('the admin API', () => {
  let files: Folder;
  let gateway: ReadyDaemon;
  beforeAll(async () => {
    const backend = { name: 'api.example.com', address: { host: '10.0.0.1', port: 8443 } };
    files = await gatewayFolder([backend]);
    gateway = await startGateway(`${files.path}/meshgate.yaml`);
  });
  afterAll(async () => {
    await gateway[Symbol.asyncDispose]();
    await files[Symbol.asyncDispose]();
  });

  it('shows the routes and the state of their sources', async () => {
    expect((await gateway.query('/routes')).json).toEqual({
      version: expect.stringMatching(/^[0-9a-f]{16}$/),
      routes: [
        {
          name: 'api',
          source: 'file:routes.yaml',
          kind: 'static',
          serverNames: ['api.example.com'],
          connectTimeoutMs: 5000,
          backends: [{ host: '10.0.0.1', port: 8443, weight: 1, healthy: true }],
        },
      ],
      sources: [
        { name: 'file:routes.yaml', state: 'current', routes: 1, lastSuccess: expect.any(String), warnings: [] },
      ],
    });
  });

  it('explains a name', async () => {
    expect((await gateway.query('/explain?serverName=API.example.com.')).json).toMatchObject({
      found: true,
      serverName: 'api.example.com',
      route: 'api',
      origin: { file: `${files.path}/routes.yaml`, line: '1' },
    });
    expect((await gateway.query('/explain')).status).toBe(400);
    expect(await gateway.query('/explain?serverName=10.0.0.1')).toEqual({
      status: 400,
      json: {
        error:
          'no client can send "10.0.0.1" as a server name: expected a host name, found what reads as an IPv4 address',
      },
    });
  });

  it('shows the listeners with their bound addresses', async () => {
    const { host, port } = gateway.address;
    expect((await gateway.query('/listeners')).json).toEqual({
      listeners: [{ name: 'main', host, port, bound: true }],
    });
  });

  it('shows a live connection until it closes', async () => {
    await using silent = await rawClient(gateway.address);
    await silent.send(Uint8Array.of(0x16));
    // A client cannot see that it has been accepted: the admin server may be queried earlier.
    await expect
      .poll(async () => (await gateway.query('/connections')).json)
      .toEqual({
        connections: [
          {
            id: expect.any(String),
            state: 'sniffing',
            listener: 'main',
            remote: `127.0.0.1:${silent.local.port}`,
            bytesUp: 0,
            bytesDown: 0,
            ageMs: expect.any(Number),
            idleMs: expect.any(Number),
          },
        ],
      });
  });

  it.each([
    ['text/plain', 'text/plain; version=0.0.4; charset=utf-8', 'meshgate_build_info'],
    [
      'application/openmetrics-text;version=1.0.0',
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
      '# EOF',
    ],
  ])('serves metrics to a scraper that accepts %s', async (accept, type, content) => {
    const response = await fetch(`${gateway.admin}/metrics`, { headers: { accept } });
    expect(response.headers.get('content-type')).toBe(type);
    expect(await response.text()).toContain(content);
  });

  it('responds to HEAD as to GET, without a body', async () => {
    const response = await fetch(`${gateway.admin}/ready`, { method: 'HEAD' });
    expect([response.status, await response.text()]).toEqual([200, '']);
  });

  it.each([
    ['GET', '/nope', 404],
    ['GET', '/constructor', 404],
    ['GET', '/routes/', 404],
    ['PUT', '/ready', 405],
    ['POST', '/routes', 405],
    ['GET', '/%zz?%zz', 404],
  ])('rejects %s %s with %i, as JSON', async (method, path, status) => {
    const response = await fetch(`${gateway.admin}${path}`, { method });
    expect(response.status).toBe(status);
    expect(await response.json()).toEqual({ error: expect.any(String) });
  });

  it('lists the allowed methods in a 405', async () => {
    const response = await fetch(`${gateway.admin}/drain`, { method: 'DELETE' });
    expect(response.headers.get('allow')).toBe('GET, HEAD, POST');
  });

  it('cannot be drained by a web page', async () => {
    const headers = { origin: 'https://evil.example' };
    expect((await gateway.query('/drain', { method: 'POST', headers })).status).toBe(403);
    expect((await gateway.query('/ready')).status).toBe(200);
  });

  it.each([
    ['localhost', 200],
    ['127.0.0.1:1', 200],
    ['[::1]:19000', 200],
    ['meshgate.localhost:19000', 200],
    ['evil.example', 403],
    ['localhost.evil.example:19000', 403],
  ])(
    'responds to a request for the host %s with %i: a name of a web page may resolve to loopback',
    async (name, status) => {
      const { hostname: host, port } = new URL(gateway.admin);
      await using client = await rawClient({ host, port: Number(port) });
      await client.send(`GET /live HTTP/1.1\r\nhost: ${name}\r\nconnection: close\r\n\r\n`);
      expect((await client.receiveAll()).toString()).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    },
  );

  it('responds to a probe while a hundred silent connections are open', async () => {
    const { hostname: host, port } = new URL(gateway.admin);
    const silent = await Promise.all(Array.from({ length: 100 }, () => rawClient({ host, port: Number(port) })));
    expect((await gateway.query('/live')).status).toBe(200);
    for (const client of silent) await client[Symbol.asyncDispose]();
  });

  it('rejects a request line that is not a URL, and keeps running', async () => {
    const { hostname: host, port } = new URL(gateway.admin);
    await using client = await rawClient({ host, port: Number(port) });
    await client.send('GET // HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n');
    expect((await client.receiveAll()).toString()).toMatch(/^HTTP\/1\.1 404 /);
    await using garbage = await rawClient({ host, port: Number(port) });
    await garbage.send('\0\0\0\r\n\r\n');
    expect((await garbage.receiveAll()).toString()).toMatch(/^HTTP\/1\.1 400 /);
    expect((await gateway.query('/live')).status).toBe(200);
  });
});

describe('/connections', () => {
  it('shows the state of a connection and the bytes it has carried', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    await client.echo('hello');
    const { json } = await gateway.query('/connections');
    expect(json).toMatchObject({
      connections: [{ state: 'splicing', route: 'api', backend: `127.0.0.1:${api.address.port}` }],
    });
  });
});
