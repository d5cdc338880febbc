import {
  clientHello,
  inRecords,
  needs,
  rawClient,
  refusingAddress,
  tcpBackend,
  tlsBackend,
  tlsClient,
} from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { gatewayFolder, run, routesTo, startGateway } from './daemon.ts';
import type { LogLine } from './daemon.ts';

const isAccess = (line: LogLine): boolean => 'durationMs' in line;

needs('curl', await isThere('curl', '--version'))('curl through a gateway', () => {
  it('reaches the backend of the requested name', async () => {
    await using api = await tlsBackend('api.example.com');
    await using web = await tlsBackend('web.example.com');
    await using files = await gatewayFolder([api, web]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const { port } = gateway.address;
    const ca = await files.write('ca.pem', web.ca);
    const url = `https://web.example.com:${port}/`;
    const response = await run('curl', ['-sS', '--cacert', ca, '--resolve', `web.example.com:${port}:127.0.0.1`, url]);
    expect(response).toEqual({ status: 0, stdout: 'web.example.com', stderr: '' });
    expect(api.accepted).toBe(0);
  });
});

needs('openssl', await isThere('openssl', 'version'))('openssl s_client through a gateway', () => {
  it('reaches the backend of the requested name', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const ca = await files.write('ca.pem', api.ca);
    const { status, stdout } = await run('openssl', [
      's_client',
      '-connect',
      `127.0.0.1:${gateway.address.port}`,
      '-servername',
      'api.example.com',
      '-verify_hostname',
      'api.example.com',
      '-CAfile',
      ca,
      '-verify_return_error',
    ]);
    expect({ status, verified: stdout.includes('Verify return code: 0 (ok)') }).toEqual({ status: 0, verified: true });
  });
});

describe('a gateway', () => {
  it('writes one access line per connection, with all known facts', async () => {
    await using api = await tlsBackend('api.example.com', { alpn: ['http/1.1'] });
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com', { alpn: ['http/1.1'] });
    await client.get();
    const entry = await gateway.line(isAccess);
    expect(Object.keys(entry)).toEqual([
      'time',
      'id',
      'listener',
      'remote',
      'serverName',
      'alpn',
      'trace',
      'route',
      'backend',
      'attempts',
      'bytesUp',
      'bytesDown',
      'helloMs',
      'connectMs',
      'firstByteMs',
      'durationMs',
    ]);
    expect(entry).toMatchObject({
      listener: 'main',
      remote: `127.0.0.1:${client.local.port}`,
      serverName: 'api.example.com',
      alpn: ['http/1.1'],
      route: 'api',
      backend: `127.0.0.1:${api.address.port}`,
      attempts: 1,
    });
  });

  it('reports in the access log why a connection ended early', async () => {
    await using refusing = await refusingAddress();
    await using files = await gatewayFolder([{ name: 'api.example.com', ...refusing }]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await expect(tlsClient(gateway.address, 'other.example.com')).rejects.toThrow();
    expect(await gateway.line(({ code }) => code === 'ROUTE_NOT_FOUND')).toMatchObject({ attempts: 0, bytesUp: 0 });
    await expect(tlsClient(gateway.address, 'api.example.com')).rejects.toThrow();
    expect(await gateway.line(({ code }) => code === 'CONNECT_REFUSED')).toMatchObject({ route: 'api', attempts: 1 });
    await using talker = await rawClient(gateway.address);
    await talker.send('GET / HTTP/1.1\r\n\r\n');
    expect(await gateway.line(({ code }) => code === 'SNIFF_UNRECOGNIZED')).not.toHaveProperty('serverName');
  });

  it('does not log health checks that connect and close', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const check = await rawClient(gateway.address);
    check.end();
    await check.closed;
    await using client = await tlsClient(gateway.address, 'api.example.com');
    await client.get();
    expect(await gateway.line(isAccess)).toMatchObject({ id: '2', route: 'api' });
  });

  it('applies a changed route file while connections continue', async () => {
    await using before = await tlsBackend('api.example.com');
    await using after = await tlsBackend('api.example.com', { conduct: { kind: 'linger' } });
    await using files = await gatewayFolder([before]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using old = await tlsClient(gateway.address, 'api.example.com');
    await files.write('routes.yaml', routesTo(after));
    await gateway.line(
      ({ msg, removed }) => msg === 'routes updated: 1 route' && removed === 0 && countOf(gateway.lines) === 2,
    );
    await using fresh = await tlsClient(gateway.address, 'api.example.com');
    expect(await fresh.echo('hello')).toBe('hello');
    expect(await old.echo('still here')).toBe('still here');
    expect([before.accepted, after.accepted]).toEqual([1, 1]);
  });

  it('keeps its configuration when the one on disk is invalid at a reload, and reports the problem', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api], { sources: [{ use: 'file', path: 'routes.yaml', poll: '0s' }] });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await files.write('meshgate.yaml', 'listeners: [ { address: 127.0.0.1, prt: 1 } ]');
    gateway.signal('SIGHUP');
    expect(await gateway.line(({ msg }) => String(msg).includes('prt'))).toMatchObject({
      level: 'error',
      msg: expect.stringMatching(
        /reload refused, nothing changed: .*meshgate.yaml:1:36: unknown key "prt": did you mean "port"\?/,
      ),
    });
  });

  it('keeps the last good routes when a route file becomes invalid, and reports the position', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await files.write('routes.yaml', 'routes:\n  - naem: api\n');
    const problem = await gateway.line(({ msg }) => String(msg).includes('naem'));
    expect(problem).toMatchObject({ level: 'warn', source: 'file:routes.yaml' });
    expect(problem['msg']).toContain('routes.yaml:2:5: unknown key "naem": did you mean "name"?');
    await using client = await tlsClient(gateway.address, 'api.example.com');
    expect(await client.echo('still')).toBe('still');
    const { status, json } = await gateway.query('/ready');
    expect({ status, json: JSON.stringify(json) }).toMatchObject({
      status: 200,
      json: expect.stringContaining('naem'),
    });
    const { sources } = (await gateway.query('/routes')).json as {
      sources: { lastSuccess: string; state: string; error: string }[];
    };
    expect(sources).toMatchObject([{ state: 'stale', error: String(problem['msg']).replace('source warning: ', '') }]);
    const wasGood = new Date(sources[0]?.lastSuccess ?? NaN);
    expect(wasGood < new Date(String(problem['time']))).toBe(true);
    await files.write('routes.yaml', routesTo(api));
    await gateway.logged('source warnings cleared');
    expect((await gateway.query('/routes')).json).toMatchObject({ sources: [{ state: 'current' }] });
  });

  it.each([1, 2])('logs live connections, where configured, with %i workers', async (workers) => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api], { log: { access: { connected: true } }, workers });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    const { port } = api.address;
    const facts = { listener: 'main', serverName: 'api.example.com', route: 'api', backend: `127.0.0.1:${port}` };
    const line = await gateway.line(({ event }) => event === 'connected');
    expect(line).toMatchObject({ ...facts, helloMs: expect.any(Number), connectMs: expect.any(Number) });
    client.end();
    const closed = await gateway.line(({ durationMs }) => durationMs !== undefined);
    expect(closed).toMatchObject({ ...facts, id: line['id'] });
    expect(closed).not.toHaveProperty('event');
  });

  it('continues when an observer throws, and names it', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api], { plugins: ['./observer.mjs'] });
    await files.write('observer.mjs', THROWING_OBSERVER);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    expect(await client.echo('still')).toBe('still');
    expect(await gateway.line(({ observer }) => observer === 'mine')).toMatchObject({ msg: 'observer failed: oops' });
  });

  it('sends the backend every byte of the hello, however it was split', async () => {
    await using echo = await tcpBackend('api.example.com');
    await using files = await gatewayFolder([echo]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const hello = inRecords(clientHello({ serverName: 'api.example.com', padToBytes: 1800 }), 17);
    await using client = await rawClient(gateway.address);
    await client.send(hello);
    expect(await client.receive(hello.length)).toEqual(Buffer.from(hello));
  });
});

const THROWING_OBSERVER = `export default {
  name: 'mine',
  install: (host) => host.addObserver({ name: 'mine', observe() { throw new Error('oops'); } }),
};`;

function countOf(lines: readonly LogLine[]): number {
  return lines.filter(({ msg }) => msg === 'routes updated: 1 route').length;
}

async function isThere(command: string, argument: string): Promise<true | string> {
  const ended = await run(command, [argument]).catch(() => undefined);
  return ended?.status === 0 ? true : `there is no ${command} on PATH`;
}
