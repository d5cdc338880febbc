import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { Readable } from 'node:stream';
import { createSecureContext, TLSSocket } from 'node:tls';
import { clockFinding } from '@meshgate/consul-source';
import { certificateAuthority, standInAgent, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { StandInAgent } from '@meshgate/testkit';
import { afterEach, describe, expect, it } from 'vitest';
import { gapsIn, reachFinding } from '../src/doctor/reach-check.ts';
import { gatewayFindings } from '../src/doctor/gateway-check.ts';
import { usageFindings } from '../src/doctor/usage-check.ts';
import type { Probe } from '../src/doctor/backend-probe.ts';
import { findingLines } from '../src/live-check/finding.ts';
import type { Finding } from '../src/live-check/finding.ts';
import { findingsAt, firstFailure, NO_LISTENER } from './doctor-scene.ts';
import type { Scene } from './doctor-scene.ts';
import { eventually } from './federation/eventually.ts';
import { blocksIn, pageText } from './page.ts';
import { freePorts } from './sidecar/agent.ts';
import { folder, gatewayFolder, meshgate, spawnMeshgate, startGateway, TEST_CONFIG } from './daemon.ts';

const NAME = 'api.example.com';
const UNRECOGNIZED_NAME = Uint8Array.of(21, 3, 1, 0, 2, 2, 112);

interface Fault {
  readonly cause: string;
  /** Creates the fault. */
  scene(): Promise<Scene> | Scene;
  /** Text of the first failure. */
  readonly expected: RegExp;
}

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close();
});

async function agentOfTest(): Promise<StandInAgent> {
  const agent = await standInAgent();
  closers.push(() => agent[Symbol.asyncDispose]());
  return agent;
}

/** A server that calls `respond` with the socket of each client. */
async function serverThat(respond: (socket: Socket) => unknown): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    respond(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closers.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

function withBackend(port: number, over: object = {}): Scene {
  const routes = [{ serverNames: [NAME], backends: [{ address: '127.0.0.1', port }] }];
  return { files: { 'meshgate.yaml': { ...TEST_CONFIG, ...over }, 'routes.yaml': { routes } } };
}

function withAgent(address: string): Scene {
  const sources = [{ use: 'consul', address, register: { address: '127.0.0.9:65301' } }];
  return { files: { 'meshgate.yaml': { ...TEST_CONFIG, sources } } };
}

const FAULTS: readonly Fault[] = [
  {
    cause: 'a key of the configuration is misspelt',
    scene: () => withBackend(1, { limitss: {} }),
    expected: /^configuration .*meshgate\.yaml:1:\d+: unknown key "limitss": did you mean "limits"\?/,
  },
  {
    cause: 'a route file is missing',
    scene: () => ({ files: { 'meshgate.yaml': TEST_CONFIG } }),
    expected: /^configuration .*routes\.yaml.*(?:not found|no such file)/i,
  },
  {
    cause: 'a route file is broken',
    scene: () => ({ files: { 'meshgate.yaml': TEST_CONFIG, 'routes.yaml': 'routes: [ { serverNames: [ a..b ] } ]' } }),
    expected: /^configuration .*routes\.yaml:1:\d+/,
  },
  {
    cause: 'the transport does not exist',
    scene: () => withBackend(1, { transport: 'quic' }),
    expected: /^configuration .*expected one of auto, .*, found "quic"/,
  },
  {
    cause: 'another process has the port',
    scene: async () => {
      const port = await serverThat(() => undefined);
      return withBackend(1, { listeners: [{ name: 'main', address: '127.0.0.1', port }] });
    },
    expected: /^listener main on 127\.0\.0\.1:\d+: cannot be bound: EADDRINUSE/,
  },
  {
    cause: 'this machine does not have the address',
    scene: () => withBackend(1, { listeners: [{ name: 'main', address: '192.0.2.1', port: 0 }] }),
    expected: /^listener main on 192\.0\.2\.1:0: cannot be bound: EADDRNOTAVAIL/,
  },
  {
    cause: 'the state folder is a file',
    scene: () => {
      const { files } = withBackend(1, { stateDir: './state' });
      return { files: { ...files, state: 'a file' } };
    },
    expected: /state/,
  },
  {
    cause: 'the backend is not started',
    scene: async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      await new Promise((resolve) => server.close(resolve));
      return withBackend(port);
    },
    expected: /^route .*for api\.example\.com: nothing listens there \(ECONNREFUSED\); start the process that should/,
  },
  {
    cause: 'the backend speaks no TLS',
    scene: async () => withBackend(await serverThat((socket) => socket.write('220 mail ready\r\n'))),
    expected: /responds with something other than TLS; another service listens/,
  },
  {
    cause: 'the backend closes',
    scene: async () => withBackend(await serverThat((socket) => socket.end())),
    expected: /accepts, and closes without a response/,
  },
  {
    cause: 'the backend hangs',
    scene: async () => withBackend(await serverThat(() => undefined)),
    expected: /accepts, and does not respond within 2 s/,
  },
  {
    cause: 'the gateway beyond does not know the name',
    scene: async () =>
      withBackend(await serverThat((socket) => socket.once('data', () => socket.end(UNRECOGNIZED_NAME)))),
    expected: /a gateway responds, and has no route for the name; run meshgate explain/,
  },
  {
    cause: 'the certificate of the backend has expired',
    scene: async () => {
      const past = { notBefore: new Date('2020-01-01T00:00:00Z'), notAfter: new Date('2020-01-02T00:00:00Z') };
      const { chain, privateKey } = certificateAuthority('old').issue({ dnsNames: [NAME], ...past });
      const secureContext = createSecureContext({ cert: chain, key: privateKey });
      return withBackend(
        await serverThat((socket) =>
          new TLSSocket(socket, { isServer: true, secureContext }).on('error', () => undefined),
        ),
      );
    },
    expected: /TLS of api\.example\.com, whose certificate expired on 2020-01-02.*renew that certificate/,
  },
  {
    cause: 'no route has the name',
    scene: () => ({ ...withBackend(1), serverName: 'apj.example.com' }),
    expected: /^name apj\.example\.com: no route matches .*similar names: api\.example\.com/,
  },
  {
    cause: 'the route holds on another listener',
    scene: () => {
      const listeners = ['edge', 'inner'].map((name) => ({ name, address: '127.0.0.1', port: 0 }));
      const routes = [{ serverNames: [NAME], listeners: ['inner'], backends: [{ address: '127.0.0.1', port: 1 }] }];
      const files = { 'meshgate.yaml': { ...TEST_CONFIG, listeners }, 'routes.yaml': { routes } };
      return { files, serverName: NAME };
    },
    expected: /^name api\.example\.com: its route applies on listener inner only; connect there, or add/,
  },
  {
    cause: 'the backend is the gateway itself',
    scene: async () => {
      const [port = 0] = await freePorts(1);
      return withBackend(port, { listeners: [{ name: 'main', address: '127.0.0.1', port }] });
    },
    expected:
      /^route .*: backend 127\.0\.0\.1:\d+ .*: is this gateway itself, its listener main: .*LOOP_DETECTED; correct/,
  },
  {
    cause: 'the name cannot be a server name',
    scene: () => ({ ...withBackend(1), serverName: '10.0.0.1' }),
    expected: /^name 10\.0\.0\.1: /,
  },
  {
    cause: 'the agent is not started',
    scene: async () => {
      await using agent = await standInAgent();
      return withAgent(agent.address);
    },
    expected: /^Consul agent at .*ECONNREFUSED.*; start the agent, or correct/,
  },
  {
    cause: 'the servers have no leader',
    scene: async () => {
      const agent = await agentOfTest();
      agent.respond({ 'status/leader': '""' });
      return withAgent(agent.address);
    },
    expected: /its cluster has no leader; check the servers: consul operator raft list-peers/,
  },
  {
    cause: 'the agent does not know the token',
    scene: async () => {
      const agent = await agentOfTest();
      agent.misbehave({ kind: 'status', status: 403, body: 'ACL not found' }, (path) => path.includes('authorize'));
      return withAgent(agent.address);
    },
    expected: /^ACL token: ACL not found; the agent does not know the token/,
  },
  {
    cause: 'the token lacks a rule',
    scene: async () => {
      const agent = await agentOfTest();
      agent.respond({ 'internal/acl/authorize': [{ Allow: true }, { Allow: false }, { Allow: true }] });
      return withAgent(agent.address);
    },
    expected: /^ACL token: may not service_prefix "" \{ policy = "read" \}; add service_prefix/,
  },
  {
    cause: 'what answers at the address of the agent is none',
    scene: async () => {
      const port = await serverThat((socket) => socket.end('SSH-2.0-OpenSSH_9.2\r\n'));
      return withAgent(`http://127.0.0.1:${port}`);
    },
    expected: /^Consul agent at http:\/\/127\.0\.0\.1:\d+: /,
  },
  {
    cause: 'no gateway runs, and there is no configuration to look at',
    scene: () => ({ files: {} }),
    expected:
      /^running gateway: no gateway at .*ECONNREFUSED.*; start it: meshgate gateway, .*give that address with --admin/,
  },
  {
    cause: 'no gateway runs, and nothing is wrong with its configuration',
    scene: async () => {
      const api = await tlsBackend(NAME);
      closers.push(() => api[Symbol.asyncDispose]());
      return withBackend(api.address.port);
    },
    expected:
      /^running gateway: no gateway at .*: clients cannot connect until it runs; start it: meshgate gateway --config .*meshgate\.yaml/,
  },
];

describe('the first failure that meshgate doctor reports is the cause', () => {
  it.each(FAULTS)('when $cause', async ({ scene, expected: message }) => {
    const findings = await findingsAt(await scene());
    expect(firstFailure(findings)).toMatch(message);
  });
});

describe('meshgate doctor', () => {
  it('reports no problem for a name with a working backend', async () => {
    await using api = await tlsBackend(NAME);
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const { status, stdout } = await meshgate(['doctor', NAME, '--admin', gateway.admin, '--json'], files.path);
    const { findings, summary } = JSON.parse(stdout) as {
      readonly findings: readonly Finding[];
      readonly summary: object;
    };
    expect(summary).toMatchObject({ healthy: true, failed: 0 });
    expect(findings.filter(({ outcome }) => outcome === 'failed')).toEqual([]);
    expect(findings.map(({ found }) => found)).toEqual(
      expect.arrayContaining([expect.stringMatching(/^TLS of /), expect.stringMatching(/^version .*transport /)]),
    );
    expect(status).toBe(0);
  });

  it('prints what its page shows, except for machine, transport and ports', async () => {
    const page = pageText('docs/operate/doctor.md');
    const block = (language: string, label: string): string =>
      blocksIn(page, language).find((one) => one.label === label)?.text ?? '';
    const free = (text: string): string => text.replace('port: 8443', 'port: 0').replace('port: 19000', 'port: 0');
    const names = ['meshgate.yaml', 'routes.yaml'];
    await using files = await folder(Object.fromEntries(names.map((name) => [name, free(block('yaml', name))])));
    const [, ...args] = block('sh', 'doctor').trim().split(' ');
    const { status, stdout } = await meshgate([...args, '--admin', NO_LISTENER], files.path);
    const settled = (text: string): readonly string[] =>
      text
        .trim()
        .replaceAll(`${files.path}/`, '')
        .replaceAll(/127\.0\.0\.1:(?:8443|19000|[01])\b/g, 'ADDRESS')
        .split('\n')
        .filter((line) => !/^ok {6}(?:machine|transport)/.test(line));
    expect(settled(stdout)).toEqual(settled(block('text', 'doctor')));
    expect(status).toBe(1);
  });

  it('reports why a running gateway is not ready', async () => {
    const status = { role: 'gateway', version: '1', pid: 1, transport: 'node', startedAt: 'now', warnings: ['w'] };
    const response = { ...status, reasons: ['no listener is bound'] } as never;
    expect(gatewayFindings({ kind: 'running', status: response }, 'meshgate gateway')).toMatchObject([
      { outcome: 'ok' },
      { outcome: 'failed', found: 'not ready: no listener is bound' },
      { outcome: 'warning', found: 'w' },
    ]);
  });
});

describe('what meshgate doctor prints', () => {
  const finding = (outcome: Finding['outcome'], check: string): Finding => ({
    check,
    outcome,
    found: 'so',
    advice: 'do',
  });

  it.each([
    [[], 'healthy: nothing wrong in 1 check'],
    [['warning a 1', 'warning b 1'], 'healthy, 2 warnings; look at this first: a 1: so; do'],
    [['warning a 1', 'failed b 1', 'failed c 1'], '2 failed, 1 warning; fix this first: b 1: so; do'],
  ])('ends with one line that says what all of it means: %s', (problems, last) => {
    const found = problems.map((one) => finding(...(one.split(/ (.*)/) as [Finding['outcome'], string])));
    const lines = findingLines([finding('ok', 'x 1'), ...found]);
    expect(lines.at(-1)).toBe(last);
    expect(lines).toHaveLength(problems.length + 2);
  });

  it('has of a thousand problems of one kind the first, and how many more there are', () => {
    const many = Array.from({ length: 1_000 }, (_, index) => finding('failed', `name n${index}`));
    const lines = findingLines([finding('ok', 'machine'), ...many, finding('warning', 'name other')]);
    expect(lines.length).toBeLessThan(24);
    expect(lines).toContain('FAILED  name: and 984 more like these');
    expect(lines).toContain('WARNING name other: so; do');
    expect(lines.at(-1)).toBe('1000 failed, 1 warning; fix this first: name n0: so; do');
  });

  it('names a mistake of YAML once, with its position, also where the gateway that runs has met it', async () => {
    await using api = await tlsBackend(NAME);
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const broken = `routes:\n  - serverNames: [${NAME}]\n    backends\n      - { address: 127.0.0.1, port: 2 }\n`;
    await writeFile(`${files.path}/routes.yaml`, broken);
    const hasWarning = async (): Promise<true> => {
      expect(JSON.stringify((await gateway.query('/status')).json)).toContain('routes.yaml:3:5');
      return true;
    };
    await eventually('a warning of the gateway', hasWarning, 10_000);
    const { stdout } = await meshgate(['doctor', '--admin', gateway.admin], files.path);
    const lines = stdout.trim().split('\n');
    const mistakes = lines.slice(0, -1).filter((line) => /routes\.yaml:\d/.test(line));
    expect(mistakes).toEqual([expect.stringMatching(/^FAILED {2}configuration meshgate\.yaml: .*routes\.yaml:3:5: /)]);
    expect(stdout).toMatch(/^WARNING running gateway: source file:routes\.yaml: .*last good/m);
    expect(lines.at(-1)).toMatch(/^1 failed, 1 warning; fix this first: configuration .*routes\.yaml:3:5: /);
  });

  it('asks the gateway of the configuration, unless another is named', async () => {
    const [port = 0] = await freePorts(1);
    await using api = await tlsBackend(NAME);
    await using files = await gatewayFolder([api], { admin: { port } });
    const config = ['--config', `${files.path}/meshgate.yaml`];
    const before = await meshgate(['doctor', ...config]);
    expect(before.stdout).toMatch(
      new RegExp(`^FAILED  running gateway: no gateway at http://127\\.0\\.0\\.1:${port}/: `, 'm'),
    );
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const { status, stdout } = await meshgate(['doctor', ...config]);
    expect(stdout).toContain(`process ${gateway.pid},`);
    expect([status, stdout.trim().split('\n').at(-1)]).toEqual([0, expect.stringMatching(/^healthy/)]);
  });

  it('warns of a route that another source shadows, but not of one that is there for other names', async () => {
    const backends = [{ address: '127.0.0.1', port: 1 }];
    const route = (name: string, serverName: string): object => ({ name, serverNames: [serverName], backends });
    const sources = ['a.yaml', 'b.yaml'].map((path) => ({ use: 'file', path }));
    const files = {
      'meshgate.yaml': { ...TEST_CONFIG, sources },
      'a.yaml': { routes: [route('first', NAME)] },
      'b.yaml': { routes: [route('second', NAME), route('wide', '*.example.com')] },
    };
    const found = await findingsAt({ files, serverName: NAME });
    const shadows = found.filter((one) => one.found.startsWith('shadows'));
    expect(shadows).toMatchObject([
      { outcome: 'warning', found: expect.stringContaining('second'), advice: expect.stringContaining('sources') },
      { outcome: 'note', found: expect.stringContaining('wide') },
    ]);
  });
});

describe('meshgate doctor of a sidecar', () => {
  it('checks its configuration when it is named, and otherwise does not report it as a broken gateway', async () => {
    const root = certificateAuthority('root');
    const domain = '11111111-2222-3333-4444-555555555555.consul';
    const leaf = root.issue({ uris: [`spiffe://${domain}/ns/default/dc/dc1/svc/web`] });
    const [port = 0] = await freePorts(1);
    const tls = { ca: 'ca.pem', cert: 'web.pem', key: 'key.pem' };
    const source = { use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain: domain, tls };
    await using files = await folder({
      'ca.pem': root.certificate,
      'web.pem': leaf.chain,
      'key.pem': leaf.privateKey,
      'web.yaml': { admin: { port: 0 }, sources: [source] },
      'mesh/dc1/web.hcl': `service { name = "web", port = 1, connect { sidecar_service { port = ${port} } } }`,
    });
    const config = ['--config', `${files.path}/web.yaml`];
    await using sidecar = spawnMeshgate(['sidecar', '--sidecar-for', 'web', ...config]);
    const admin = String((await sidecar.logged('ready'))['admin']);
    const configuration = async (...args: readonly string[]): Promise<string | undefined> => {
      const { stdout } = await meshgate(['doctor', ...config, ...args]);
      return stdout.split('\n').find((line) => / configuration /.test(line));
    };
    expect(await configuration('--admin', admin)).toMatch(
      /^WARNING .*: not checked: the running proxy is a sidecar; name it with/,
    );
    expect(await configuration('--admin', admin, '--sidecar-for', 'web')).toMatch(/^ok .*web\.yaml: valid$/);
    expect(await configuration('--admin', NO_LISTENER, '--sidecar-for', 'wep')).toMatch(
      /^FAILED .*did you mean "web"\?/,
    );
  });
});

describe('meshgate doctor of a name, where a gateway runs', () => {
  it('reports its route checks and limits, the codes of its connections, and other problems last', async () => {
    await using api = await tlsBackend(NAME);
    const [port = 0] = await freePorts(1);
    const at = (one: number): object => ({ backends: [{ address: '127.0.0.1', port: one }] });
    const healthCheck = { kind: 'tcp', interval: '1s', timeout: '500ms', rise: 1, fall: 1 };
    const routes = [
      {
        name: 'limited',
        serverNames: [NAME],
        limits: { connections: 1 },
        access: { deny: ['192.0.2.0/24'] },
        ...at(api.address.port),
      },
      { name: 'checked', serverNames: ['checked.example.com'], healthCheck, ...at(port) },
      { name: 'nowhere', serverNames: ['nowhere.example.com'], listeners: ['absent'], ...at(port) },
    ];
    const files = { 'meshgate.yaml': TEST_CONFIG, 'routes.yaml': { routes } };
    await using location = await folder(files);
    await using gateway = await startGateway(`${location.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, NAME);
    await client.echo('hello');
    await expect(tlsClient(gateway.address, NAME)).rejects.toThrow();
    const limited = await findingsAt({ files, serverName: NAME, admin: gateway.admin });
    const lines = limited.map(({ check, outcome, found }) => `${outcome} ${check}: ${found}`);
    expect(lines).toEqual(
      expect.arrayContaining([
        `note name ${NAME}: clients are admitted  not from 192.0.2.0/24; others end with CLIENT_DENIED`,
        `note name ${NAME}: limits of its route: connections 1; connections above a limit end with LIMIT_REACHED`,
        'warning connections of route limited since the start of the running gateway: 1 ended with LIMIT_REACHED',
      ]),
    );
    const warnings = lines.filter((line) => line.startsWith('warning'));
    expect(warnings[0]).toContain('connections of route limited');
    expect(warnings.slice(1).join()).toContain('listener "absent"');
    const isDown = async (): Promise<true> => {
      expect(JSON.stringify((await gateway.query('/explain?serverName=checked.example.com')).json)).toContain('"down"');
      return true;
    };
    await eventually('a check that has failed', isDown, 10_000);
    expect(firstFailure(await findingsAt({ files, serverName: 'checked.example.com', admin: gateway.admin }))).toMatch(
      /^name checked.*: every backend is down by the health check of the route: 127\.0\.0\.1:\d+ .*ECONNREFUSED.*; fix the backends/,
    );
  });
});

describe('meshgate doctor warns', () => {
  it('about a running gateway whose configuration is another file than the one that is checked', async () => {
    await using api = await tlsBackend(NAME);
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await files.write('next.yaml', TEST_CONFIG);
    const warnings = async (config: string): Promise<readonly string[]> => {
      const { stdout } = await meshgate(['doctor', '--config', config, '--admin', gateway.admin], files.path);
      return stdout.split('\n').filter((line) => line.startsWith('WARNING'));
    };
    expect(await warnings('next.yaml')).toEqual([
      `WARNING running gateway: uses ${files.path}/meshgate.yaml, not next.yaml; check that file with --config, or select another gateway with --admin`,
    ]);
    expect(await warnings('meshgate.yaml')).toEqual([]);
  });

  const usage = async (metrics: string): Promise<readonly Finding[]> =>
    usageFindings({ stream: () => Readable.from([metrics]) as AsyncIterable<string> });

  it.each([
    [
      'meshgate_connections_active{route="a"} 9\nmeshgate_connections_limit 10',
      /9 of 10 connections/,
      'raise limits.connections',
    ],
    ['process_open_fds 20\nprocess_max_fds 300', /20 of 300 descriptors/, 'LimitNOFILE'],
    ['process_resident_memory_bytes 1e9\nmeshgate_memory_limit_bytes 1.1e9', /953 of 1049 MiB/, 'more memory'],
  ])('about a limit that is nearly reached: %s', async (metrics, found, advice) => {
    expect(await usage(metrics)).toMatchObject([
      { outcome: 'warning', found: expect.stringMatching(found), advice: expect.stringContaining(advice) },
    ]);
  });

  it('about a limit that is reached, which is a failure', async () => {
    const metrics =
      'meshgate_connections_active 10\nmeshgate_connections_limit 10\nprocess_open_fds 20\nprocess_max_fds 5000';
    const found = 'no connections left, new clients are refused: 10 of 10 connections, 20 of 5000 descriptors';
    expect(await usage(metrics)).toMatchObject([{ outcome: 'failed', found, advice: 'raise limits.connections' }]);
  });

  it.each([
    ['reasons', 'draining: announcing', 'failed', /started it.*start it again/],
    ['warnings', 'log lines cannot be written: ENOSPC', 'warning', /traffic is not affected/],
  ])('about %s, with their effect on traffic: %s', (list, found, outcome, advice) => {
    const status = { role: 'gateway', reasons: [], warnings: [], [list]: [found] };
    expect(gatewayFindings({ kind: 'running', status } as never, 'meshgate gateway')[1]).toMatchObject({
      outcome,
      found: expect.stringContaining(found),
      advice: expect.stringMatching(advice),
    });
  });

  it('counts connections refused by this gateway, but not those of scanners', async () => {
    const closed = (code: string, side: string, count: number): string =>
      `meshgate_connections_closed_total{listener="a",route="",code="${code}",side="${side}"} ${count}`;
    const metrics = [closed('SNIFF_MALFORMED', 'downstream', 7), closed('OK', 'none', 5)];
    expect(await usage(metrics.join('\n'))).toHaveLength(1);
    expect(await usage([...metrics, closed('CLIENT_DENIED', 'downstream', 3)].join('\n'))).toMatchObject([
      { outcome: 'ok' },
      { outcome: 'warning', found: '3 ended with CLIENT_DENIED', advice: expect.stringMatching(/^an access list/) },
    ]);
  });

  it('about a backend whose certificate is for other names', async () => {
    await using other = await tlsBackend('shop.example.com');
    const findings = await findingsAt({ ...withBackend(other.address.port), serverName: NAME });
    expect(findings.filter(({ outcome }) => outcome !== 'ok').map(({ found }) => found)).toContainEqual(
      expect.stringContaining(`whose certificate is not for ${NAME}`),
    );
  });
});

describe('the clocks of machine and agent', () => {
  it.each([
    [10_000, 10_000, 10_010, 'ok', "in sync with the agent's"],
    [10_000, 9_000, 10_900, 'ok', "in sync with the agent's"],
    [10_000, 41_000, 10_500, 'warning', "31 s behind the agent's"],
    [100_000, 20_000, 100_010, 'failed', "79 s ahead of the agent's"],
  ])('queried at %i, by the agent at %i, response at %i: %s', (queriedAt, agentAt, answeredAt, outcome, found) => {
    expect(clockFinding(queriedAt, agentAt, answeredAt)).toMatchObject({ check: 'clock', outcome, found });
  });
});

describe('a datacenter or peer without a gateway', () => {
  it('is a failure, since there is no address to dial', () => {
    const route = { name: 'datacenter:dc2', kind: 'remote-datacenter', backends: [] };
    expect(gapsIn({ routes: [route] } as never)).toMatchObject([{ outcome: 'failed', found: 'no gateway known' }]);
  });
});

describe('a backend probed with an unused name', () => {
  const target = { what: 'route dc2', address: { host: 'h', port: 1 }, serverName: 'x.dc2', isMadeUp: true };
  const outcomes: readonly [claim: string, outcome: Probe, expected: Finding['outcome']][] = [
    ['is well when it refuses the name', { kind: 'alert', alert: 'unrecognized name' }, 'ok'],
    ['is well when it closes', { kind: 'closed' }, 'ok'],
    ['is not when it cannot be reached', { kind: 'unreachable', code: 'EHOSTUNREACH' }, 'failed'],
    ['is not when it hangs', { kind: 'silent' }, 'failed'],
  ];
  it.each(outcomes)('%s', (_claim, outcome, expected) => {
    expect(reachFinding(target, outcome, new Date()).outcome).toBe(expected);
  });
});
