import { execFile, execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { ConfigProblems, formatEndpoint } from '@meshgate/core';
import type { Endpoint } from '@meshgate/core';
import {
  certificateAuthority,
  clientHello,
  inRecords,
  needs,
  rawClient,
  tcpBackend,
  tlsBackend,
} from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../src/config/load-config.ts';
import { folder as folderOf, gatewayFolder, startGateway, TEST_CONFIG } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';

const run = promisify(execFile);
const HELLO = inRecords(clientHello({ serverName: 'api.example.com' }));

/** A folder with this listener in place of the default one, and a route to `backend`. */
async function folderWith(backend: Endpoint, listener: string, more = '') {
  const folder = await gatewayFolder([{ name: 'api.example.com', address: backend }]);
  const config = `listeners: [ { name: edge, address: 127.0.0.1, port: 0, ${listener} } ]
sources: [ { use: file, path: routes.yaml } ]
admin: { address: 127.0.0.1, port: 0 }
${more}
`;
  await writeFile(join(folder.path, 'meshgate.yaml'), config);
  return folder;
}

describe('filters of a listener', () => {
  it.each([1, 2])('work in the real process, with %i workers: the client in the header counts', async (workers) => {
    await using backend = await tcpBackend('api');
    await using folder = await folderWith(
      backend.address,
      'proxyProtocol: { from: [ 127.0.0.0/8 ] }',
      `workers: ${workers}`,
    );
    await using gateway = await startGateway(`${folder.path}/meshgate.yaml`);
    await using client = await rawClient(gateway.address);
    await client.send(Buffer.concat([Buffer.from('PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n'), HELLO]));
    expect((await client.receive(HELLO.length)).equals(HELLO)).toBe(true);
    const { json } = await gateway.query('/connections');
    expect(JSON.stringify(json)).toContain('192.0.2.7');
    client.end();
    const line = await gateway.line(({ remote }) => remote === '192.0.2.7:4711');
    expect(line).toMatchObject({ peer: expect.stringMatching(/^127\.0\.0\.1:/), listener: 'edge' });
  });

  it('that no plugin has added are a problem of the configuration, with its position', async () => {
    await using folder = await folderWith({ host: '127.0.0.1', port: 1 }, 'filters: [ postgres, mysql ]');
    const loading = loadConfig(join(folder.path, 'meshgate.yaml'));
    await expect(loading).rejects.toBeInstanceOf(ConfigProblems);
    await expect(loading).rejects.toThrow(
      /meshgate\.yaml:1:\d+: expected a filter that a plugin offers, found "mysql"; known ones are postgres/,
    );
  });

  it('may be those of a plugin, by name', async () => {
    await using backend = await tcpBackend('api');
    await using folder = await folderWith(backend.address, 'filters: [ greeting ]', 'plugins: [ ./greeting.mjs ]');
    const plugin = `export default { name: 'greeting', install(host) { host.addFilter({ name: 'greeting', async filter(client) {
      await client.peek(3); client.consume(3); await client.write(Buffer.from('OK')); } }); } };\n`;
    await writeFile(join(folder.path, 'greeting.mjs'), plugin);
    await using gateway = await startGateway(`${folder.path}/meshgate.yaml`);
    await using client = await rawClient(gateway.address);
    await client.send(Buffer.concat([Buffer.from('HI\n'), HELLO]));
    const received = await client.receive(2 + HELLO.length);
    expect(received.subarray(0, 2).toString()).toBe('OK');
  });

  it('refuse all peers but the load balancer', async () => {
    await using backend = await tcpBackend('api');
    await using folder = await folderWith(backend.address, 'proxyProtocol: { from: [ 10.0.0.0/8 ] }');
    await using gateway = await startGateway(`${folder.path}/meshgate.yaml`);
    await using client = await rawClient(gateway.address);
    await client.closed;
    expect(await gateway.line(({ code }) => code === 'PROXY_PROTOCOL_UNTRUSTED')).toMatchObject({ attempts: 0 });
    expect(await (await fetch(new URL('/metrics', gateway.admin))).text()).toMatch(
      /closed_total\{[^}]*code="PROXY_PROTOCOL_UNTRUSTED"[^}]*\} 1/,
    );
  });
});

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

function found(command: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter).concat('/usr/sbin', '/usr/lib/postgresql');
  const versions = versionsOf('/usr/lib/postgresql').map((version) => `/usr/lib/postgresql/${version}/bin`);
  for (const folder of [...versions, ...folders]) {
    try {
      execFileSync('test', ['-x', join(folder, command)]);
      return join(folder, command);
    } catch {
      // The next folder may use its port.
    }
  }
  return undefined;
}

function versionsOf(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

const isRoot = process.getuid?.() === 0;

async function stopped(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  await once(child, 'exit');
}

/** Fails when it exits before it listens. */
async function untilListening(port: number, child: ChildProcess): Promise<void> {
  while (child.exitCode === null) {
    try {
      await using client = await rawClient({ host: '127.0.0.1', port });
      client.end();
      return;
    } catch {
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  throw new Error(`expected a process that listens on ${port}, found that it ended with ${child.exitCode}`);
}

interface LoadBalancer {
  readonly command: string;
  readonly version: 'send-proxy' | 'send-proxy-v2' | 'send-proxy-v2 crc32c';
}

/** A load balancer in front of `gateway`; returns its address. */
async function haproxy({ version }: Pick<LoadBalancer, 'version'>, gateway: ReadyDaemon) {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-haproxy-'));
  const server = `127.0.0.1:${gateway.address.port} ${version}`;
  const config = `defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen front
  bind 127.0.0.1:${port}
  server gateway ${server}
`;
  await writeFile(join(folder, 'haproxy.cfg'), config);
  const child = spawn(found('haproxy') ?? 'haproxy', ['-db', '-f', join(folder, 'haproxy.cfg')], { stdio: 'ignore' });
  await untilListening(port, child);
  return { port, [Symbol.asyncDispose]: () => stopped(child).then(() => rm(folder, { recursive: true })) };
}

/** A load balancer in front of a server, which only accepts the PROXY protocol. */
async function haproxyTo(server: Endpoint, rules: readonly string[]) {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-haproxy-'));
  const config = `defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen front
  bind 127.0.0.1:${port} accept-proxy
  ${rules.join('\n  ')}
  server behind ${formatEndpoint(server)}
`;
  await writeFile(join(folder, 'haproxy.cfg'), config);
  const child = spawn(found('haproxy') ?? 'haproxy', ['-db', '-f', join(folder, 'haproxy.cfg')], { stdio: 'ignore' });
  await untilListening(port, child);
  return { port, [Symbol.asyncDispose]: () => stopped(child).then(() => rm(folder, { recursive: true })) };
}

async function nginx(gateway: ReadyDaemon) {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-nginx-'));
  await chmod(folder, 0o755);
  const modules = versionsOf('/usr/lib/nginx/modules').includes('ngx_stream_module.so')
    ? 'load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n'
    : '';
  const config = `${modules}daemon off;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events {}
stream { server { listen 127.0.0.1:${port}; proxy_pass 127.0.0.1:${gateway.address.port}; proxy_protocol on; } }
`;
  await writeFile(join(folder, 'nginx.conf'), config);
  const child = spawn(found('nginx') ?? 'nginx', ['-c', join(folder, 'nginx.conf'), '-p', folder], { stdio: 'ignore' });
  await untilListening(port, child);
  return { port, [Symbol.asyncDispose]: () => stopped(child).then(() => rm(folder, { recursive: true, force: true })) };
}

/** The response of the backend to curl through the load balancer at `port`. */
async function curlThrough(port: number): Promise<string> {
  const { stdout } = await run('curl', [
    '-sk',
    '--max-time',
    '10',
    '--resolve',
    `api.example.com:${port}:127.0.0.1`,
    `https://api.example.com:${port}/`,
  ]);
  return stdout;
}

const balanced = 'proxyProtocol: { from: [ 127.0.0.1 ] }';

needs('haproxy', found('haproxy') !== undefined || 'no binary found')('HAProxy in front', () => {
  it.each<LoadBalancer['version']>(['send-proxy', 'send-proxy-v2', 'send-proxy-v2 crc32c'])(
    "passes its clients' addresses by %s",
    async (version) => {
      await using backend = await tlsBackend('api.example.com');
      await using folder = await folderWith(backend.address, balanced);
      await using gateway = await startGateway(`${folder.path}/meshgate.yaml`);
      const option = version === 'send-proxy-v2 crc32c' ? 'send-proxy-v2 proxy-v2-options crc32c' : version;
      await using front = await haproxy({ version: option as LoadBalancer['version'] }, gateway);
      expect(await curlThrough(front.port)).toContain('api.example.com');
      const line = await gateway.line(({ serverName }) => serverName === 'api.example.com');
      expect(line).toMatchObject({ peer: expect.stringMatching(/^127\.0\.0\.1:/) });
      expect(line['remote']).not.toBe(line['peer']);
    },
  );
});

needs('nginx', found('nginx') !== undefined || 'no binary found')('nginx in front', () => {
  it("passes its clients' addresses", async () => {
    await using backend = await tlsBackend('api.example.com');
    await using folder = await folderWith(backend.address, balanced);
    await using gateway = await startGateway(`${folder.path}/meshgate.yaml`);
    await using front = await nginx(gateway);
    expect(await curlThrough(front.port)).toContain('api.example.com');
    const line = await gateway.line(({ serverName }) => serverName === 'api.example.com');
    expect(line).toMatchObject({ peer: expect.stringMatching(/^127\.0\.0\.1:/) });
  });
});

/**
 * A real server with TLS, in a folder of its own; when started by root it runs as `nobody`, since it refuses to run as
 * root.
 */
async function postgresServer() {
  const folder = await mkdtemp(join(tmpdir(), 'meshgate-postgres-'));
  const data = join(folder, 'data');
  const as = isRoot ? { uid: 65_534, gid: 65_534 } : {};
  const port = await freePort();
  const ca = certificateAuthority('root');
  const leaf = ca.issue({ dnsNames: ['db.example.com'] });
  await chmod(folder, 0o777);
  const initdb = [...'-U meshgate -A trust --no-sync -D'.split(' '), data];
  await run(found('initdb') ?? 'initdb', initdb, { ...as, cwd: folder });
  await writeFile(join(folder, 'ca.pem'), ca.certificate);
  await writeFile(join(data, 'server.crt'), leaf.certificate);
  await writeFile(join(data, 'server.key'), leaf.privateKey, { mode: 0o600 });
  if (isRoot) await run('chown', ['nobody', join(data, 'server.key'), join(data, 'server.crt')]);
  // TLS only: plain text is refused.
  await writeFile(join(data, 'pg_hba.conf'), 'hostssl all all 127.0.0.1/32 trust\n');
  const settings = ['-c', 'ssl=on', '-c', `unix_socket_directories=${folder}`, '-c', 'listen_addresses=127.0.0.1'];
  const child = spawn(found('postgres') ?? 'postgres', ['-D', data, '-p', String(port), ...settings], {
    ...as,
    stdio: 'ignore',
  });
  await untilListening(port, child);
  return {
    address: { host: '127.0.0.1', port },
    ca: join(folder, 'ca.pem'),
    [Symbol.asyncDispose]: () => stopped(child).then(() => rm(folder, { recursive: true })),
  };
}

const hasPostgres = ['psql', 'postgres', 'initdb'].every((command) => found(command) !== undefined);

needs('postgres', (hasPostgres && found('haproxy') !== undefined) || 'no psql, postgres, initdb and haproxy found')(
  'psql, with HAProxy in front of the server,',
  () => {
    const transports = process.platform === 'linux' ? ['node', 'epoll', 'auto'] : ['node'];

    it(`connects with its own address: ${transports.join(', ')}`, { timeout: 90_000 }, async () => {
      await using server = await postgresServer();
      // Clients without the PROXY protocol are refused.
      const wanted = '{ fc_pp_authority -m str db.example.com } { src 127.0.0.1 }';
      await using front = await haproxyTo(server.address, [`tcp-request session reject unless ${wanted}`]);
      for (const transport of transports) {
        const backends = [{ address: '127.0.0.1', port: front.port, proxyProtocol: 'v2' }];
        await using files = await folderOf({
          'meshgate.yaml': {
            ...TEST_CONFIG,
            transport,
            listeners: [{ name: 'databases', address: '127.0.0.1', port: 0, filters: ['postgres'] }],
          },
          'routes.yaml': { routes: [{ name: 'db', serverNames: ['db.example.com'], backends }] },
        });
        await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
        const to = `host=db.example.com hostaddr=127.0.0.1 port=${gateway.address.port} user=meshgate dbname=postgres`;
        const how = `sslmode=verify-full sslrootcert=${server.ca} connect_timeout=20`;
        const { stdout } = await run(found('psql') ?? 'psql', [`${to} ${how}`, '-Atc', 'select 42']);
        expect(stdout).toBe('42\n');
      }
    });
  },
);

needs('postgres', hasPostgres || 'no psql, postgres and initdb found')('psql', () => {
  it('connects to a real server by its name, and verifies it', { timeout: 60_000 }, async () => {
    await using server = await postgresServer();
    const folder = await gatewayFolder([{ name: 'db.example.com', address: server.address }]);
    await using files = folder;
    const config = `listeners: [ { name: databases, address: 127.0.0.1, port: 0, filters: [ postgres ] } ]
sources: [ { use: file, path: routes.yaml } ]
admin: { address: 127.0.0.1, port: 0 }
`;
    await writeFile(join(files.path, 'meshgate.yaml'), config);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const to = `host=db.example.com hostaddr=127.0.0.1 port=${gateway.address.port} user=meshgate dbname=postgres`;
    const how = `sslmode=verify-full sslrootcert=${server.ca} connect_timeout=20`;
    const query = 'select ssl, version from pg_stat_ssl where pid = pg_backend_pid()';
    const { stdout } = await run(found('psql') ?? 'psql', [`${to} ${how}`, '-Atc', query]);
    expect(stdout).toMatch(/^t\|TLSv1\.[23]$/m);
    expect(await gateway.line(({ serverName }) => serverName === 'db.example.com')).toMatchObject({
      listener: 'databases',
      route: 'db',
    });
  });
});
