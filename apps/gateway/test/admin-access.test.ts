import { once } from 'node:events';
import { stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { changeRefusal, isBeyondThisMachine } from '../src/admin/change-guard.ts';
import { adminClient } from '../src/admin/client.ts';
import { checkConfig } from '../src/config/load-config.ts';
import { routerOf } from '../src/admin/routing.ts';
import { gatewayFolder, meshgate, spawnGateway, startGateway } from './daemon.ts';

const API = { name: 'api.example.com', address: { host: '10.0.0.1', port: 8443 } };

describe('an admin API on a unix socket', () => {
  it('serves everything to owner and group only, and works with the commands', async () => {
    await using files = await gatewayFolder([API], { admin: { address: 'unix:/dev/null' } });
    const path = `${files.path}/admin.sock`;
    await files.write('meshgate.yaml', withAdmin({ address: `unix:${path}` }));
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    expect(gateway.admin).toBe(`unix:${path}`);
    expect(((await stat(path)).mode & 0o777).toString(8)).toBe('660');
    const { status, stdout } = await meshgate(['explain', 'api.example.com', '--admin', `unix:${path}`]);
    expect([status, stdout]).toEqual([0, expect.stringContaining('api.example.com: route api')]);
    // The permissions of the socket protect it: no token is needed.
    await adminClient({ socketPath: path }).change('POST', '/drain');
    expect(await gateway.ended).toBe(0);
    await expect(stat(path)).rejects.toThrow('ENOENT');
  });

  it('may be used in addition to a port', async () => {
    await using files = await gatewayFolder([API]);
    const path = `${files.path}/admin.sock`;
    await files.write('meshgate.yaml', withAdmin([{ port: 0 }, { address: `unix:${path}` }]));
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const routes = (await gateway.query('/routes')).json;
    expect(await adminClient({ socketPath: path }).get('/routes')).toEqual(routes);
  });

  it('replaces the socket of a process that was killed', async () => {
    await using files = await gatewayFolder([API]);
    const path = `${files.path}/admin.sock`;
    await files.write('meshgate.yaml', withAdmin({ address: `unix:${path}` }));
    const killed = await startGateway(`${files.path}/meshgate.yaml`);
    await killed[Symbol.asyncDispose]();
    expect((await stat(path)).isSocket()).toBe(true);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    expect(await adminClient({ socketPath: path }).get('/live')).toEqual({ live: true });
    expect(gateway.admin).toBe(`unix:${path}`);
  });

  it.each(['a listening socket', 'a file'])('does not replace %s', async (what) => {
    await using files = await gatewayFolder([API]);
    const path = `${files.path}/admin.sock`;
    const holder = createServer();
    if (what === 'a file') await writeFile(path, 'precious');
    else await once(holder.listen(path), 'listening');
    await files.write('meshgate.yaml', withAdmin({ address: `unix:${path}` }));
    await using gateway = spawnGateway(`${files.path}/meshgate.yaml`);
    expect(await gateway.ended).toBe(1);
    const { msg } = await gateway.line(({ level }) => level === 'fatal');
    expect(msg).toContain(`the admin server cannot listen on unix:${path}`);
    expect((await stat(path)).isSocket()).toBe(what !== 'a file');
    holder.close();
  });
});

describe('a change', () => {
  it('requires the current token of the file, if there is one', async () => {
    await using files = await gatewayFolder([API]);
    const tokenFile = await files.write('admin.token', 'first\n');
    await files.write('meshgate.yaml', withAdmin({ port: 0, tokenFile: 'admin.token' }));
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const drain = async (authorization?: string): Promise<number> =>
      (await gateway.query('/drain', { method: 'POST', headers: authorization === undefined ? {} : { authorization } }))
        .status;
    expect((await gateway.query('/routes')).status).toBe(200);
    expect([await drain(), await drain('Bearer wrong'), await drain('Basic first')]).toEqual([401, 401, 401]);
    await files.write('admin.token', 'second\n');
    expect(await drain('Bearer first')).toBe(401);
    await files.write('admin.token', '\n');
    expect(await drain('Bearer ')).toBe(503);
    await files.write('admin.token', 'third');
    const { hostname, port } = new URL(gateway.admin);
    await adminClient(new URL(`http://${hostname}:${port}`), tokenFile).change('POST', '/drain');
    expect(await gateway.ended).toBe(0);
  });

  const settings = (host: string): Parameters<typeof changeRefusal>[0] => ({ endpoint: { host, port: 19_000 } });

  it.each([
    ['127.0.0.1', undefined],
    ['::1', undefined],
    ['unix:/run/meshgate/admin.sock', undefined],
    ['0.0.0.0', 403],
    ['::', 403],
    ['192.0.2.1', 403],
  ])('at %s without a token file: refused with %s', async (host, status) => {
    expect((await changeRefusal(settings(host), {}))?.status).toBe(status);
    expect(isBeyondThisMachine(host)).toBe(status !== undefined);
  });

  it.each([
    ['http://127.0.0.1:19000', '127.0.0.1:19000', undefined],
    ['http://127.0.0.1:8080', '127.0.0.1:19000', 403],
    ['https://evil.example', '127.0.0.1:19000', 403],
    ['null', '127.0.0.1:19000', 403],
    ['http://127.0.0.1:19000', undefined, 403],
  ])('from a page of %s to the host %s: refused with %s', async (origin, host, status) => {
    expect((await changeRefusal(settings('127.0.0.1'), { origin, host }))?.status).toBe(status);
  });
});

describe('a checked configuration', () => {
  it('has a warning about an admin API beyond loopback without a token', async () => {
    await using files = await gatewayFolder([API]);
    const file = await files.write('meshgate.yaml', withAdmin({ address: '0.0.0.0' }));
    expect((await checkConfig(file)).warnings).toEqual([
      expect.stringMatching(/^the admin API on 0\.0\.0\.0:19000 is beyond loopback without admin\.tokenFile: /),
    ]);
  });

  it.each([
    [{ tokenFile: 'none' }, /meshgate\.yaml:1:\d+: ENOENT.*none/],
    [{ tokenFile: 'empty' }, /meshgate\.yaml:1:\d+: no token in .*empty$/],
    [{ address: 'unix:/a', port: 1 }, /meshgate\.yaml:1:\d+: a unix socket has no port$/],
    [[{ port: 1 }, { port: 1 }], /meshgate\.yaml:1:\d+: 127\.0\.0\.1:1 is already used above$/],
  ])('is rejected for %j', async (admin, words) => {
    await using files = await gatewayFolder([API]);
    await files.write('empty', '');
    const file = await files.write('meshgate.yaml', withAdmin(admin));
    await expect(checkConfig(file)).rejects.toThrow(words);
  });
});

describe('the routing of a request to its endpoint', () => {
  const endpoint = (method: 'GET' | 'DELETE', path: string): never =>
    ({ method, path, summary: '', responses: {}, respond: () => ({ status: 200, json: {} }) }) as never;
  const route = routerOf([endpoint('GET', '/a'), endpoint('GET', '/a/{id}'), endpoint('DELETE', '/a/{id}')]);

  it.each([
    ['GET', '/a', 'GET /a', {}],
    ['HEAD', '/a', 'GET /a', {}],
    ['GET', '/a/b%2Fc', 'GET /a/{id}', { id: 'b/c' }],
    ['DELETE', '/a/1', 'DELETE /a/{id}', { id: '1' }],
  ])('%s %s', (method, path, found, parameters) => {
    const routed = route(method, path);
    if (routed.kind !== 'endpoint') throw new Error(routed.kind);
    expect(`${routed.endpoint.method} ${routed.endpoint.path}`).toBe(found);
    expect(routed.parameters).toEqual(parameters);
  });

  it.each([
    ['GET', '/b', { kind: 'no such path' }],
    ['GET', '/a/', { kind: 'no such path' }],
    ['GET', '/a/1/2', { kind: 'no such path' }],
    ['GET', '/a/%', { kind: 'no such path' }],
    ['GET', '/constructor', { kind: 'no such path' }],
    ['POST', '/a/1', { kind: 'wrong method', allow: ['GET', 'HEAD', 'DELETE'] }],
  ])('%s %s has no endpoint', (method, path, routed) => {
    expect(route(method, path)).toEqual(routed);
  });
});

function withAdmin(admin: unknown): object {
  return {
    listeners: [{ name: 'main', address: '127.0.0.1', port: 0 }],
    sources: [{ use: 'file', path: 'routes.yaml' }],
    drain: { grace: '5s', spread: '100ms' },
    transport: 'node',
    admin,
  };
}
