import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createTlsServer } from 'node:https';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { certificateAuthority, tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import {
  folder,
  gatewayFolder,
  meshgate,
  readyDaemon,
  run,
  spawnGateway,
  startGateway,
  TEST_CONFIG,
} from './daemon.ts';
import type { Folder } from './daemon.ts';

const ROUTES = { routes: [{ serverNames: ['a.example'], backends: [{ address: '127.0.0.1', port: 1 }] }] };

const MANY = 20_000;

describe('exit status 2', () => {
  it('is that of an unknown command, with the most similar one', async () => {
    const { status, stderr } = await meshgate(['gatway']);
    expect({ status, stderr }).toEqual({ status: 2, stderr: expect.stringContaining('Did you mean gateway?') });
  });

  it('is that of an option that does not exist', async () => {
    expect((await meshgate(['gateway', '--chekc'])).status).toBe(2);
  });

  it.each([
    ['localhost:19000', ': did you mean http://localhost:19000?'],
    ['127.0.0.1:19000', ': did you mean http://127.0.0.1:19000?'],
    ['/tmp/admin', ': did you mean unix:/tmp/admin?'],
    ['ftp://localhost', ''],
    ['', ''],
  ])('is that of a query to %j, which is not a valid URL', async (url, suggestion) => {
    const { status, stderr } = await meshgate(['explain', 'a.example', '--admin', url]);
    const expected = 'expected --admin to be a URL such as http://127.0.0.1:19000, or unix:/path';
    const found = `${expected}, found ${JSON.stringify(url)}${suggestion}\n`;
    expect({ status, stderr }).toEqual({ status: 2, stderr: found });
  });

  it('is that of a query for a name that no client can send', async () => {
    const { status, stdout, stderr } = await meshgate(['explain', '--json', '10.0.0.1']);
    const why =
      'no client can send "10.0.0.1" as a server name: expected a host name, found what reads as an IPv4 address\n';
    expect({ status, stdout, stderr }).toEqual({ status: 2, stdout: '', stderr: why });
  });

  it('is that of a query for the name of a route, with its server name', async () => {
    await using files = await folder({
      'meshgate.yaml': { ...TEST_CONFIG, sources: [{ use: 'file', path: 'routes.yaml' }] },
      'routes.yaml': { routes: [{ name: 'up:db', serverNames: ['db.example'], backends: [] }] },
    });
    const { status, stderr } = await meshgate(['explain', 'up:db', '--config', `${files.path}/meshgate.yaml`]);
    expect(status).toBe(2);
    expect(stderr).toContain('it is the name of a route, whose server name is db.example');
  });

  it('is that of a gateway without a configuration, with a minimal example', async () => {
    await using empty = await folder();
    const { status, stderr } = await meshgate(['gateway'], empty.path);
    expect(status).toBe(2);
    expect(stderr).toContain('sources: [ { use: file, path: routes.yaml } ]');
  });

  it.each([
    ['--check', ['gateway', '--check']],
    ['a start', ['gateway']],
  ])(
    'is that of %s with mistakes in the configuration and in the route file, all of them reported',
    async (_name, args) => {
      await using files = await folder({
        'meshgate.yaml':
          'listeners: [ { address: 127.0.0.1, port: 0 } ]\nsources:\n  - { use: file, path: routes.yaml }\nlimit: {}\n',
        'routes.yaml': 'routes:\n  - { serverName: [ a.example ], backends: [] }\n',
      });
      const { status, stdout, stderr } = await meshgate(args, files.path);
      expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
      expect(stderr.trimEnd().split('\n')).toEqual([
        'meshgate.yaml:4:1: unknown key "limit": did you mean "limits"?',
        `${files.path}/routes.yaml:2:7: unknown key "serverName": did you mean "serverNames"?`,
      ]);
    },
  );

  it.each<readonly [what: string, files: Readonly<Record<string, string>>]>([
    [
      'the configuration',
      {
        'meshgate.yaml': JSON.stringify({
          ...TEST_CONFIG,
          listeners: Array.from({ length: MANY }, (_, index) => ({ adress: `192.0.2.${index}` })),
        }),
      },
    ],
    [
      'a route file',
      {
        'meshgate.yaml': JSON.stringify(TEST_CONFIG),
        'routes.yaml': `routes:\n${'  - { serverName: [ a.example ], backends: [] }\n'.repeat(MANY)}`,
      },
    ],
  ])(
    'is that of --check with 20,000 mistakes in %s, of which it reports the first and the number',
    async (_, contents) => {
      await using files = await folder({ 'routes.yaml': JSON.stringify(ROUTES), ...contents });
      const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
      const lines = stderr.trimEnd().split('\n');
      expect([status, lines.length]).toEqual([2, 101]);
      expect(lines[0]).toMatch(/^\S+\.yaml:\d+:\d+: unknown key "(?:adress|serverName)": did you mean "/);
      expect(Number(/^and (\d+) more$/.exec(lines.at(-1) ?? '')?.[1])).toBeGreaterThanOrEqual(MANY - 100);
    },
  );

  it('is that of a configuration that cannot be read', async () => {
    const { status, stderr } = await meshgate(['gateway', '--config', '/nowhere/meshgate.yaml']);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^\/nowhere\/meshgate.yaml:1:1: cannot be read: ENOENT/);
  });

  it('is that of a missing route file', async () => {
    await using files = await folder({ 'meshgate.yaml': TEST_CONFIG });
    const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: expect.stringMatching(/routes\.yaml:1:1: cannot be read: no such file/),
    });
  });

  it('is that of a plugin that throws when it is loaded, with its name and reason', async () => {
    await using files = await pluginFolder(`throw new Error('no licence');`);
    const { status, stderr } = await meshgate(['gateway', '--check'], files.path);
    expect(status).toBe(2);
    expect(stderr).toBe(
      `meshgate.yaml:1:122: ${files.path}/plugin.mjs cannot be loaded: Error: no licence (at plugin.mjs:1:7)\n`,
    );
  });
});

describe('exit status 1', () => {
  it('is that of a port in use, with the listener, the address and a hint at the owner', async () => {
    const holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    const { port } = holder.address() as { port: number };
    await using files = await gatewayFolder([], { listeners: [{ name: 'public', address: '127.0.0.1', port }] });
    await using gateway = spawnGateway(`${files.path}/meshgate.yaml`);
    const { msg } = await gateway.line(({ level }) => level === 'fatal');
    expect(msg).toContain(`listener public cannot listen on 127.0.0.1:${port}: already in use`);
    expect(msg).toContain(`sport = :${port}`);
    expect(await gateway.ended).toBe(1);
    holder.close();
  });

  it('is that of a query to a gateway that does not respond', async () => {
    const { status, stderr } = await meshgate(['routes', '--admin', 'http://127.0.0.1:1']);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringContaining('no gateway at http://127.0.0.1:1'),
    });
  });

  it('is that of a drain that had to cut a connection', async () => {
    await using api = await tlsBackend('api.example.com', { conduct: { kind: 'linger' } });
    await using files = await gatewayFolder([api], { drain: { grace: '0s', spread: '0s' } });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    gateway.signal('SIGTERM');
    expect(await gateway.ended).toBe(1);
    await client.closed;
    expect(gateway.lines.find(({ code }) => code !== undefined)).toMatchObject({ code: 'CLOSED_BY_DRAIN' });
  });

  it('is that of an uncaught exception, after the connections have finished', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await pluginFolder(
      `process.once('SIGWINCH', () => { throw new Error('a bug'); }); export default { name: 'bad', install() {} };`,
    );
    await files.write('routes.yaml', {
      routes: [{ serverNames: [api.name], backends: [{ address: '127.0.0.1', port: api.address.port }] }],
    });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    gateway.signal('SIGWINCH');
    await gateway.logged('drain started');
    expect(await client.echo('not cut')).toBe('not cut');
    client.end();
    expect(await gateway.ended).toBe(1);
    expect(gateway.lines).toContainEqual(expect.objectContaining({ level: 'fatal', code: 'INTERNAL' }));
    expect(gateway.lines.filter(({ code }) => code === 'CLOSED_BY_DRAIN')).toEqual([]);
  });
});

describe('exit status 0', () => {
  it('is that of a valid configuration', async () => {
    await using files = await folder({ 'meshgate.yaml': TEST_CONFIG, 'routes.yaml': ROUTES });
    const { status, stdout, stderr } = await meshgate(['gateway', '--check'], files.path);
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: 'meshgate.yaml: OK (sources: file:routes.yaml)\n',
      stderr: '',
    });
  });

  it.each(['SIGTERM', 'SIGINT'] as const)(
    'is that of a gateway without connections that is stopped by %s',
    async (signal) => {
      await using files = await gatewayFolder([]);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      gateway.signal(signal);
      expect(await gateway.ended).toBe(0);
    },
  );

  it('is that of a gateway with an unhandled rejection of a plugin: it continues', async () => {
    await using files = await pluginFolder(
      `process.once('SIGWINCH', () => void Promise.reject(new Error('forgotten'))); export default { name: 'sloppy', install() {} };`,
    );
    await files.write('routes.yaml', ROUTES);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    gateway.signal('SIGWINCH');
    await gateway.line(({ msg }) => String(msg).includes('forgotten'));
    expect((await gateway.query('/ready')).status).toBe(200);
    gateway.signal('SIGTERM');
    expect(await gateway.ended).toBe(0);
  });

  it.each([
    ['answers with a promise that rejects', 'async () => { throw new Error("no disk"); }'],
    ['leaves a promise behind that rejects', '() => void Promise.reject(new Error("no disk"))'],
    ['leaves one behind that rejects later', '() => void setImmediate(() => Promise.reject(new Error("no disk")))'],
  ])('is that of a gateway with an observer that %s at every event: it continues', async (_what, observe) => {
    const observer = `{ name: 'sloppy', observe: ${observe} }`;
    await using files = await pluginFolder(
      `export default { name: 'sloppy', install: (host) => host.addObserver(${observer}) };`,
    );
    await files.write('routes.yaml', ROUTES);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await gateway.line(({ level, msg }) => level === 'error' && String(msg).includes('no disk'));
    expect((await gateway.query('/ready')).status).toBe(200);
    gateway.signal('SIGTERM');
    expect(await gateway.ended).toBe(0);
    expect(gateway.lines.filter(({ level }) => level === 'error').length).toBeLessThan(20);
  });

  it('is that of help and of the release', async () => {
    expect(await meshgate(['--help'])).toMatchObject({ status: 0, stdout: expect.stringContaining('gateway') });
    for (const queried of ['version', '--version', '-V']) {
      expect(await meshgate([queried])).toMatchObject({
        status: 0,
        stdout: expect.stringMatching(/^meshgate \d+\.\d+\.\d+ .*\n$/),
      });
    }
  });
});

/** A gateway with a plugin of this source code. */
function pluginFolder(plugin: string): Promise<Folder> {
  const { listeners, sources, admin, drain } = TEST_CONFIG;
  const text = JSON.stringify({ listeners, sources, plugins: ['./plugin.mjs'], admin, drain });
  return folder({ 'meshgate.yaml': text, 'routes.yaml': ROUTES, 'plugin.mjs': plugin });
}

describe('signals', () => {
  it('SIGUSR1 neither ends the process nor opens an inspector', async () => {
    await using files = await gatewayFolder([], { workers: 2, transport: 'node' });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const workers = readFileSync(`/proc/${gateway.pid}/task/${gateway.pid}/children`, 'utf8').trim().split(' ');
    expect(workers).toHaveLength(2);
    for (const worker of workers) process.kill(Number(worker), 'SIGUSR1');
    gateway.signal('SIGUSR1');
    gateway.signal('SIGHUP');
    await gateway.logged('reloading');
    expect((await gateway.query('/live')).status).toBe(200);
    expect(gateway.stderr).not.toContain('Debugger');
  });

  it('SIGQUIT drains, as SIGTERM does', async () => {
    await using files = await gatewayFolder([]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    gateway.signal('SIGQUIT');
    expect(await gateway.ended).toBe(0);
    await gateway.logged('drain finished');
  });
});

describe.runIf(process.platform === 'linux')('secrets in memory', () => {
  it('are in no core dump: whatever the limit at the start, the process and its workers write none', async () => {
    await using files = await gatewayFolder([], { workers: 2, transport: 'node' });
    const config = `${files.path}/meshgate.yaml`;
    const command = 'ulimit -S -c "$(ulimit -H -c)" && exec "$0" "$@"';
    await using gateway = await readyDaemon((node, main) =>
      spawn('/bin/sh', ['-c', command, node, main, 'gateway', '--config', config], {
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    );
    const workers = readFileSync(`/proc/${gateway.pid}/task/${gateway.pid}/children`, 'utf8').trim().split(' ');
    for (const pid of [gateway.pid, ...workers])
      expect(readFileSync(`/proc/${pid}/limits`, 'utf8')).toMatch(/^Max core file size +0 /m);
  });
});

describe('an environment that disables certificate verification', () => {
  it('is ignored, with a warning', async () => {
    const authority = certificateAuthority('nobody trusts it');
    const { chain: cert, privateKey: key } = authority.issue({ addresses: ['127.0.0.1'] });
    const agent = createTlsServer({ cert, key }, (_incoming, outgoing) => outgoing.end('[]')).listen(0, '127.0.0.1');
    await once(agent, 'listening');
    await using files = await folder({});
    const address = `https://127.0.0.1:${(agent.address() as AddressInfo).port}`;
    await files.write('meshgate.yaml', { ...TEST_CONFIG, sources: [{ use: 'consul', address }] });
    const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
    const command = 'NODE_TLS_REJECT_UNAUTHORIZED=0 exec "$0" "$1" gateway --check --live --config "$2"';
    const args = ['-c', command, process.execPath, main, `${files.path}/meshgate.yaml`];
    const { status, stdout, stderr } = await run('/bin/sh', args);
    agent.close();
    expect(stderr).toBe('meshgate: NODE_TLS_REJECT_UNAUTHORIZED=0 is ignored: certificates are always verified\n');
    expect([status, stdout]).toEqual([1, expect.stringMatching(/FAILED +Consul agent at .*certificate/)]);
  });
});

describe('a limit of too few open files', () => {
  it.each([20, 64, 128])('of %i is reported in words', async (limit) => {
    await using files = await gatewayFolder([]);
    const main = fileURLToPath(new URL('../dist/main.js', import.meta.url));
    const command = `ulimit -n ${limit} && exec "$0" "$1" gateway --config "$2"`;
    const ended = await run('/bin/sh', ['-c', command, process.execPath, main, `${files.path}/meshgate.yaml`]);
    expect(ended).toEqual({
      status: 1,
      stdout: '',
      stderr: `meshgate: open file limit too low: expected at least 256, found ${limit}; raise it with ulimit -n, or LimitNOFILE= of systemd\n`,
    });
  });
});
