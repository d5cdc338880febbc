import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { certificateAuthority, rawClient, tcpBackend } from '@meshgate/testkit';
import type { CertificateAuthority } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { folder, meshgate, spawnMeshgate, spawnWithOutput, TEST_CONFIG } from '../daemon.ts';
import type { Daemon, Folder, LogLine } from '../daemon.ts';
import { describeWithConsul, freePorts, startConsul } from './agent.ts';
import type { ConsulAgent } from './agent.ts';

const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';
const CONSUL_MS = 60_000;

/** What a client receives from an echo at `port`. */
async function echo(port: number): Promise<string> {
  await using client = await rawClient({ host: '127.0.0.1', port });
  await client.send('hello');
  const result = await client.receive(5).catch(() => Buffer.from('nothing'));
  client.end();
  await client.closed;
  return result.toString();
}

/** Resolves once its listener `name` is open. */
function opened(daemon: Daemon, name: string): Promise<LogLine> {
  return daemon.line(({ msg, listener }) => /listening/.test(String(msg)) && listener === name);
}

/**
 * The access log line of the `count`-th connection of `listener`, without Consul's health checks, which send nothing.
 */
async function closed(daemon: Daemon, listener: string, count = 1): Promise<LogLine> {
  const isOne = (line: LogLine): boolean => line['listener'] === listener && 'durationMs' in line && 'route' in line;
  return daemon.line((line) => isOne(line) && daemon.lines.filter(isOne).indexOf(line) === count - 1);
}

const SETTINGS = { admin: { port: 0 }, drain: { grace: '2s', spread: '100ms' }, log: { format: 'json' } };

/** The folder of a mesh in which `web` has the upstream `db`, with the configuration of each process beside it. */
async function meshFolder(
  ports: readonly number[],
  application: number,
  root: CertificateAuthority = certificateAuthority('root'),
): Promise<Folder> {
  const [webPort, dbPort, bind] = ports;
  const files = await folder();
  await mkdir(join(files.path, 'mesh', 'dc1'), { recursive: true });
  await files.write('ca.pem', root.certificate);
  for (const service of ['web', 'db']) {
    const leaf = root.issue({ uris: [`spiffe://${TRUST_DOMAIN}/ns/default/dc/dc1/svc/${service}`] });
    await files.write(`${service}.pem`, leaf.chain);
    await files.write(`${service}-key.pem`, leaf.privateKey);
    const tls = { ca: 'ca.pem', cert: `${service}.pem`, key: `${service}-key.pem` };
    const source = { use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain: TRUST_DOMAIN, tls };
    await files.write(`${service}.yaml`, { ...SETTINGS, sources: [source] });
  }
  await files.write(
    'mesh/dc1/db.hcl',
    `service { name = "db", port = ${application}, address = "127.0.0.1", connect { sidecar_service { port = ${dbPort} } } }`,
  );
  await files.write(
    'mesh/dc1/web.hcl',
    `service {
      name = "web", port = 1, address = "127.0.0.1"
      connect { sidecar_service { port = ${webPort}, proxy {
        upstreams = [ { destination_name = "db", local_bind_port = ${bind} } ]
      } } }
    }`,
  );
  return files;
}

describe('meshgate sidecar, with mesh files', () => {
  it('carries data between two applications, and reports the identity of the peer', async () => {
    await using application = await tcpBackend('db');
    const ports = await freePorts(3);
    await using files = await meshFolder(ports, application.address.port);
    const start = (service: string): Daemon =>
      spawnMeshgate(['sidecar', '--sidecar-for', service, '--config', join(files.path, `${service}.yaml`)]);
    await using db = start('db');
    await using web = start('web');
    await Promise.all([opened(db, 'public'), opened(web, 'upstream:db')]);
    expect(await echo(ports[2] ?? 0)).toBe('hello');
    expect(await closed(web, 'upstream:db')).toMatchObject({
      route: 'upstream:db',
      backend: `127.0.0.1:${ports[1]}`,
      path: 'direct',
      mode: 'unset',
      decidedBy: expect.stringContaining('same datacenter'),
      identity: `spiffe://${TRUST_DOMAIN}/ns/default/dc/dc1/svc/db`,
      bytesUp: 5,
    });
    expect(await closed(db, 'public')).toMatchObject({
      route: 'public',
      caller: `spiffe://${TRUST_DOMAIN}/ns/default/dc/dc1/svc/web`,
      bytesDown: 5,
    });
    for (const sidecar of [web, db]) {
      sidecar.signal('SIGTERM');
      expect(await sidecar.ended).toBe(0);
    }
  });

  it('is upgraded without losing a connection, new or live, on either side', { timeout: 60_000 }, async () => {
    await using application = await tcpBackend('db');
    const ports = await freePorts(3);
    await using files = await meshFolder(ports, application.address.port);
    const start = async (service: string): Promise<Daemon> => {
      const file = join(files.path, `${service}.yaml`);
      const config = JSON.parse(await readFile(file, 'utf8')) as object;
      await files.write(`${service}.yaml`, { ...config, drain: { grace: '1m' } });
      return spawnMeshgate(['sidecar', '--sidecar-for', service, '--config', file]);
    };
    await using db = await start('db');
    await using web = await start('web');
    await Promise.all([opened(db, 'public'), opened(web, 'upstream:db')]);
    await using live = await rawClient({ host: '127.0.0.1', port: ports[2] ?? 0 });
    const answered = async (): Promise<string> => {
      await live.send('still');
      return (await live.receive(5)).toString();
    };
    expect(await answered()).toBe('still');
    const over = new AbortController();
    const responses: string[] = [];
    const querying = (async () => {
      while (!over.signal.aborted) responses.push(await echo(ports[2] ?? 0).catch(String));
    })();
    const pids: number[] = [];
    for (const sidecar of [web, db]) {
      const { admin } = await sidecar.logged('ready');
      const upgraded = await meshgate(['upgrade', '--admin', String(admin)]);
      expect(upgraded).toMatchObject({ status: 0, stderr: '' });
      pids.push(Number(/process (\d+) has taken over/.exec(upgraded.stdout)?.[1]));
      const { length } = responses;
      while (responses.length < length + 3) await nextTurn();
      expect(await answered()).toBe('still');
    }
    over.abort();
    await querying;
    expect(responses.filter((result) => result !== 'hello')).toEqual([]);
    live.end();
    for (const sidecar of [web, db]) expect(await sidecar.exited).toBe(0);
    for (const pid of pids) process.kill(pid, 'SIGTERM');
    for (const sidecar of [web, db]) await sidecar.ended;
  });

  it('applies limits, keepalive, drain and log by a reload, as --check --against shows before, keeps connections, and reports what needs a restart', async () => {
    await using application = await tcpBackend('db');
    const ports = await freePorts(3);
    await using files = await meshFolder(ports, application.address.port);
    const file = join(files.path, 'web.yaml');
    const config = JSON.parse(await readFile(file, 'utf8')) as { readonly sources: readonly object[] };
    await using db = spawnMeshgate(['sidecar', '--sidecar-for', 'db', '--config', join(files.path, 'db.yaml')]);
    await using web = spawnMeshgate(['sidecar', '--sidecar-for', 'web', '--config', file]);
    await Promise.all([opened(db, 'public'), opened(web, 'upstream:db')]);
    const admin = String((await web.logged('ready'))['admin']);
    await using live = await rawClient({ host: '127.0.0.1', port: ports[2] ?? 0 });
    const answered = async (): Promise<string> => {
      await live.send('still');
      return (await live.receive(5)).toString();
    };
    expect(await answered()).toBe('still');
    await files.write('web.yaml', {
      ...config,
      limits: { connections: 1 },
      keepAlive: { idle: '2m' },
      drain: { grace: '1s', spread: '100ms' },
      log: { format: 'json', level: 'debug', access: false },
      sources: config.sources.map((source) => ({ ...source, poll: '1s' })),
      plugins: [],
      stateDir: 'state',
    });
    const plan = [
      'limits.connections: auto to 1 (for new connections)',
      'drain.grace: 2 s to 1 s (at once)',
      'keepAlive.idle: 1 min to 2 min (for new connections)',
      'log.level: info to debug (at once)',
      'log.access: on to false (at once)',
      'stateDir: added (needs a restart: meshgate upgrade)',
      'sources.file: changed (needs a restart: meshgate upgrade)',
      'stateDir stays as it is in a reload: sources read their last routes from it when they start',
      'meshgate upgrade applies all of it, and drops no connection',
      '',
    ].join('\n');
    const check = ['--check', '--against', admin];
    expect(await meshgate(['sidecar', '--sidecar-for', 'web', '--config', file, ...check])).toEqual({
      status: 0,
      stderr: '',
      stdout: `${file}: OK (source: mesh:mesh)\n${plan}`,
    });
    const another = join(files.path, 'db.yaml');
    expect(await meshgate(['sidecar', '--sidecar-for', 'db', '--config', another, ...check])).toMatchObject({
      status: 1,
      stderr: 'meshgate: --against: expected the admin API of db-sidecar-proxy, found that of web-sidecar-proxy\n',
    });
    const shown = await meshgate(['status', '--admin', admin]);
    expect(shown.stdout).toMatch(/^sidecar web-sidecar-proxy on \S+: ready, /);
    expect(await meshgate(['reload', '--admin', admin])).toEqual({ status: 0, stderr: '', stdout: plan });
    expect(await echo(ports[2] ?? 0)).toBe('nothing');
    expect(await answered()).toBe('still');
    expect(await meshgate(['log-level', '--admin', admin])).toMatchObject({ stdout: 'debug\n' });
    live.end();
    await live.closed;
    await files.write('web.yaml', { ...config, limits: { connections: 0 } });
    expect(await meshgate(['reload', '--admin', admin])).toMatchObject({
      status: 2,
      stderr: /limits.connections|web.yaml/,
    });
    web.signal('SIGTERM');
    expect(await web.ended).toBe(0);
    // Connections accepted before the access log was turned off are still logged.
    const logged = web.lines.filter(({ durationMs }) => durationMs !== undefined);
    expect(logged.map(({ id }) => id)).toEqual(['1']);
  });

  it('is not compared with the configuration of a gateway', async () => {
    await using files = await meshFolder(await freePorts(3), 1);
    await using web = spawnMeshgate(['sidecar', '--sidecar-for', 'web', '--config', join(files.path, 'web.yaml')]);
    const admin = String((await web.logged('ready'))['admin']);
    await files.write('routes.yaml', { routes: [] });
    const config = await files.write('meshgate.yaml', TEST_CONFIG);
    expect(await meshgate(['gateway', '--config', config, '--check', '--against', admin])).toMatchObject({
      status: 1,
      stderr: `meshgate: --against: expected the admin API of a gateway, found that of a sidecar\n`,
    });
  });

  it('serves queries about its routes as a gateway does', async () => {
    await using application = await tcpBackend('db');
    await using files = await meshFolder(await freePorts(3), application.address.port);
    await using web = spawnMeshgate(['sidecar', '--sidecar-for', 'web', '--config', join(files.path, 'web.yaml')]);
    const { admin } = await web.logged('ready');
    await opened(web, 'upstream:db');
    const { stdout, status } = await meshgate([
      'explain',
      `db.default.dc1.internal.${TRUST_DOMAIN}`,
      '--admin',
      String(admin),
    ]);
    expect(status).toBe(0);
    expect(stdout).toContain('upstream:db');
    const ready = await fetch(new URL('/ready', String(admin)));
    expect(ready.status).toBe(200);
    const metrics = await (await fetch(new URL('/metrics', String(admin)))).text();
    expect(metrics).toContain('meshgate_source_routes{source="mesh:mesh",kind="upstream"} 1');
  });

  it.runIf(process.platform === 'linux')(
    'serves its admin API, warns and stops when the disk of its log is full',
    async () => {
      await using application = await tcpBackend('db');
      const [webPort = 0, dbPort = 0, bind = 0, admin = 0] = await freePorts(4);
      await using files = await meshFolder([webPort, dbPort, bind], application.address.port);
      const config = JSON.parse(await readFile(join(files.path, 'web.yaml'), 'utf8')) as object;
      await files.write('web.yaml', { ...config, admin: { port: admin } });
      const full = openSync('/dev/full', 'w');
      const web = spawnWithOutput(['sidecar', '--sidecar-for', 'web', '--config', join(files.path, 'web.yaml')], full);
      const ended = once(web, 'exit');
      closeSync(full);
      const warnings = async (): Promise<string> => {
        const response = await fetch(`http://127.0.0.1:${admin}/ready`).catch(() => undefined);
        return (await response?.text()) ?? '';
      };
      while (!(await warnings()).includes('log lines cannot be written: ENOSPC')) await nextTurn();
      web.kill('SIGTERM');
      expect(await ended).toEqual([0, null]);
    },
  );

  it('warns while its certificate can still be renewed, is not ready once it has expired, and is ready again with another one', async () => {
    await using application = await tcpBackend('db');
    const root = certificateAuthority('root');
    await using files = await meshFolder(await freePorts(3), application.address.port, root);
    const written = async (minutes: number): Promise<string> => {
      const fromNow = (ms: number): Date => new Date(new Date().getTime() + ms);
      const uris = [`spiffe://${TRUST_DOMAIN}/ns/default/dc/dc1/svc/web`];
      const leaf = root.issue({ uris, notBefore: fromNow(-86_400_000), notAfter: fromNow(minutes * 60_000) });
      await files.write('web.pem', leaf.chain);
      await files.write('web-key.pem', leaf.privateKey);
      return new Date(new X509Certificate(leaf.certificate).validTo).toISOString();
    };
    const of = `certificate of spiffe://${TRUST_DOMAIN}/ns/default/dc/dc1/svc/web`;
    const expiry = await written(5);
    await using web = spawnMeshgate(['sidecar', '--sidecar-for', 'web', '--config', join(files.path, 'web.yaml')]);
    const { admin } = await web.logged('ready');
    const readiness = async (): Promise<unknown> => (await fetch(new URL('/ready', String(admin)))).json();
    await opened(web, 'public');
    const warning = `${of} expires at ${expiry} and has not been renewed`;
    expect(await web.logged(warning)).toMatchObject({ level: 'warn' });
    expect(await readiness()).toMatchObject({ ready: true, warnings: [warning] });
    const metrics = await (await fetch(new URL('/metrics', String(admin)))).text();
    const metric = 'meshgate_certificate_expiry_timestamp_seconds{source="credentials"}';
    expect(metrics).toContain(`${metric} ${Date.parse(expiry) / 1_000}`);
    const reason = `${of} expired at ${await written(-5)} and has not been renewed; peers reject it`;
    expect(await web.logged(reason)).toMatchObject({ level: 'error' });
    expect(await readiness()).toMatchObject({ ready: false, reasons: [reason] });
    await web.logged(`certificate of ${of.split(' ').at(-1)} installed, valid until ${await written(86_400)}`);
    expect(await readiness()).toMatchObject({ ready: true, warnings: [] });
  });

  it.each<readonly [claim: string, args: readonly string[], files: Readonly<Record<string, string>>, message: string]>([
    [
      'a proxy that is not there',
      ['--proxy-id', 'web-sidecar-prxy'],
      {},
      'expected a proxy with the id web-sidecar-prxy in datacenter dc1, found db-sidecar-proxy, web-sidecar-proxy: did you mean "web-sidecar-proxy"?',
    ],
    [
      'a service that has no proxy',
      ['--sidecar-for', 'wep'],
      {},
      'expected a proxy for wep in datacenter dc1, found proxies for db, web: did you mean "web"?',
    ],
    ['the certificate of another service', ['--sidecar-for', 'db'], {}, 'svc/db, found that of spiffe://'],
    [
      'no roots',
      ['--sidecar-for', 'web'],
      // An empty file is not an error yet: another process may be about to write it.
      { 'ca.pem': '# none' },
      'ca.pem:1:1: expected at least one root in PEM, found none',
    ],
    ['no key', ['--sidecar-for', 'web'], { 'web-key.pem': 'x' }, 'web-key.pem:1:1: expected a private key in PEM'],
    ['a mistake in a mesh file', ['--sidecar-for', 'web'], { 'mesh/dc1/x.hcl': 'servise {}' }, 'x.hcl:1:1: servise:'],
  ])('%s: it does not start, and reports why', async (_claim, args, broken, message) => {
    await using files = await meshFolder([1, 2, 3], 4);
    for (const [name, text] of Object.entries(broken)) await files.write(name, text);
    const ended = await meshgate(['sidecar', ...args, '--config', join(files.path, 'web.yaml')]);
    expect(ended.stderr).toContain(message);
    expect(ended.status).toBe(2);
  });

  it('--check warns of a peer whose roots cannot be used, which does not affect the others', async () => {
    await using files = await meshFolder([1, 2, 3], 4);
    await mkdir(join(files.path, 'mesh/peers/cloud/dc1'), { recursive: true });
    await files.write('cloud.pem', 'garbage');
    const cloud = { datacenter: 'dc1', trustDomain: `9${TRUST_DOMAIN.slice(1)}`, knownAs: 'home', ca: 'cloud.pem' };
    const { sources, ...settings } = JSON.parse(
      await readFile(join(files.path, 'web.yaml'), 'utf8'),
    ) as typeof SETTINGS & {
      sources: readonly object[];
    };
    const source = { ...sources[0], peers: { cloud } };
    await files.write('web.yaml', { ...settings, sources: [source] });
    const args = ['--sidecar-for', 'web', '--config', join(files.path, 'web.yaml'), '--check'];
    const { status, stdout, stderr } = await meshgate(['sidecar', ...args]);
    expect(stdout + stderr).toContain('warning: peer cloud: no connection is possible, its roots are unknown');
    expect(status).toBe(0);
  });

  it.each<readonly [claim: string, args: readonly string[], config: object, message: RegExp]>([
    ['neither id', [], {}, /expected --sidecar-for or --proxy-id, found neither/],
    ['both ids', ['--sidecar-for', 'a', '--proxy-id', 'b'], {}, /found both/],
    [
      'listeners',
      ['--proxy-id', 'b'],
      { listeners: [{ address: '127.0.0.1', port: 0 }] },
      /expected none for a sidecar/,
    ],
    ['no source', ['--proxy-id', 'b'], {}, /expected one source for a sidecar, consul or file with "mesh", found 0/],
    ['route files', ['--proxy-id', 'b'], { sources: [{ use: 'file', path: 'x.yaml' }] }, /found route files/],
    ['workers', ['--proxy-id', 'b'], { workers: 2 }, /expected 1 for a sidecar, found 2/],
  ])('%s: the configuration is invalid', async (_claim, args, config, message) => {
    await using files = await folder({ 'meshgate.yaml': config });
    const ended = await meshgate(['sidecar', ...args, '--config', join(files.path, 'meshgate.yaml'), '--check']);
    expect(ended.stderr).toMatch(message);
    expect(ended.status).toBe(2);
  });
});

describeWithConsul('meshgate sidecar, with Consul', () => {
  function start(consul: ConsulAgent, flags: readonly string[]): Daemon {
    return spawnMeshgate(['sidecar', '--http-addr', consul.address, '--admin-bind', '127.0.0.1:0', ...flags]);
  }

  it(
    'with nothing but the id of a service: leaf, roots, chain, health and intentions come from the agent',
    async () => {
      await using consul = await startConsul();
      await using application = await tcpBackend('db');
      const [webPort, dbPort, bind = 0] = await freePorts(3);
      const upstreams = [{ DestinationName: 'db', LocalBindPort: bind }];
      const own = (port: number | undefined): object => ({ Port: port, Address: '127.0.0.1', Checks: [] });
      await consul.send('PUT', 'agent/service/register', {
        ID: 'db-1',
        Name: 'db',
        Address: '127.0.0.1',
        Port: application.address.port,
        Connect: { SidecarService: own(dbPort) },
      });
      await consul.send('PUT', 'agent/service/register', {
        ID: 'web-1',
        Name: 'web',
        Port: 1,
        Connect: { SidecarService: { ...own(webPort), Proxy: { Upstreams: upstreams } } },
      });
      await using db = start(consul, ['--sidecar-for', 'db-1']);
      await using web = start(consul, ['--proxy-id', 'web-1-sidecar-proxy']);
      await Promise.all([opened(db, 'public'), opened(web, 'upstream:db')]);
      expect(await echo(bind)).toBe('hello');
      const { identity } = await closed(web, 'upstream:db');
      expect(identity).toMatch(/^spiffe:\/\/.*\.consul\/ns\/default\/dc\/dc1\/svc\/db$/);
      expect((await closed(db, 'public'))['caller']).toMatch(/svc\/web$/);

      const intention = { SourceName: 'web', DestinationName: 'db', SourceType: 'consul', Action: 'deny' };
      await consul.send('POST', 'connect/intentions', intention);
      let count = 2;
      for (let result = await echo(bind); result !== 'nothing'; result = await echo(bind)) count += 1;
      expect(await closed(db, 'public', count)).toMatchObject({
        code: 'DENIED',
        reason: expect.stringMatching(/svc\/web may not connect to db: .*web.*db/),
      });
      expect(await closed(web, 'upstream:db', count)).toMatchObject({ code: 'UPSTREAM_RESET' });
    },
    CONSUL_MS,
  );
});
