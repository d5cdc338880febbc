import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { join } from 'node:path';
import type { Endpoint } from '@meshgate/core';
import { rawClient, silentAddress, standInAgent, tlsBackend, tlsClient } from '@meshgate/testkit';
import type { StandInAgent, StandInFault, StandInMesh } from '@meshgate/testkit';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LogLine, ReadyDaemon } from '../daemon.ts';
import { startGateway, TEST_CONFIG } from '../daemon.ts';
import { CAUSES } from './causes.ts';
import type { AlertName } from './alerts.ts';
import type { Cause, CauseName } from './causes.ts';
import { routeOf, startNight, until, WELL, whileQuerying } from './night.ts';
import type { Night } from './night.ts';

/** How a cause is injected, and its expected effects. */
interface Injection {
  inject(): Promise<unknown>;
  clear(): Promise<unknown>;
  /** Log lines about the cause: the first of them names it. */
  about(line: LogLine): boolean;
  /** The content of that line. */
  readonly expected: RegExp;
  /** Labels that select the series of this cause in its alert; absent: all. */
  readonly labels?: RegExp;
  /** Names that are served meanwhile, in addition to the healthy one. */
  readonly continues?: readonly string[];
  /** Names that are served again after the cause is cleared, and not before. */
  readonly stops?: readonly string[];
  /** Warnings of `/ready` that disappear after the cause is cleared. */
  readonly quiet?: RegExp;
}

const CONSUL_SOURCE = new URL('../../../../packages/consul-source/dist/index.js', import.meta.url).href;

/**
 * One source per agent, a listener source that reads its addresses from a file, and an observer that throws if a file
 * tells it to.
 */
function plugin(agents: Readonly<Record<string, string>>): string {
  return `
import { existsSync, readFileSync } from 'node:fs';
import { consulSource } from '${CONSUL_SOURCE}';
export default { name: 'night', install(host) {
  for (const [name, address] of Object.entries(${JSON.stringify(agents)})) {
    const source = consulSource({ address });
    host.addSource({ name, watch: (signal) => source.watch(signal) });
  }
  const at = (file) => (existsSync(host.baseDir + file) ? JSON.parse(readFileSync(host.baseDir + file, 'utf8')) : []);
  host.addListenerSource({ name: 'places', async *watch(signal) {
    for (let before = ''; !signal.aborted; await new Promise((resolve) => setTimeout(resolve, 50))) {
      const listeners = at('/places.json');
      if (JSON.stringify(listeners) === before) continue;
      before = JSON.stringify(listeners);
      yield listeners;
    }
  } });
  host.addObserver({ name: 'shaky', observe() { if (existsSync(host.baseDir + '/throw')) throw new Error('the observer is ill'); } });
} };`;
}

const TRUST_DOMAIN = '11111111-2222-3333-4444-555555555555.consul';

function inMesh(service: string): string {
  return `${service}.default.dc1.internal.${TRUST_DOMAIN}`;
}

const GATEWAY = { name: 'mesh-gateway', id: 'gw', kind: 'mesh-gateway', address: '127.0.0.1', port: 8443 } as const;

/** The agent with which the gateway is registered. */
async function agentOf(): Promise<StandInAgent> {
  const agent = await standInAgent();
  const { id: ID, name: Name, kind: Kind, address: Address, port: Port } = GATEWAY;
  const body = JSON.stringify({ ID, Name, Kind, Address, Port });
  await fetch(`${agent.address}/v1/agent/service/register`, { method: 'PUT', body });
  return agent;
}

function meshOf(service: string, { host, port }: Endpoint): StandInMesh {
  const proxy = { name: `${service}-sidecar-proxy`, kind: 'connect-proxy', destination: service };
  return {
    services: [
      { name: service, address: host, port: 80 },
      { ...proxy, address: host, port },
    ],
  };
}

const AGENT_FAULTS = {
  agentCuts: [{ kind: 'cut' }, /other side closed|ECONNRESET/],
  agentBreaksOff: [{ kind: 'cut', midway: true }, /ended early|other side closed|terminated|aborted|broke off/],
  noLeader: [{ kind: 'status', status: 500, body: 'No cluster leader' }, /500: No cluster leader/],
  tokenDeleted: [{ kind: 'status', status: 403, body: 'ACL not found' }, /403: ACL not found/],
  overload: [{ kind: 'status', status: 429 }, /429/],
  garbage: [{ kind: 'garbage' }, /found <html>/],
} as const satisfies Partial<Record<CauseName, readonly [StandInFault, RegExp]>>;

const DENIALS = {
  nodeReadLost: [{ 'internal/ui/nodes': 'filtered' }, /cannot read nodes|node:read|node_prefix/],
  oneQueryDenied: [{ 'config/service-resolver': 'service:read' }, /service-resolver.*service:read/],
} as const satisfies Partial<Record<CauseName, readonly [Readonly<Record<string, string>>, RegExp]>>;

const MESH_FILE = (port: number): string => `service {
  name = "db"
  port = 80
  address = "127.0.0.1"
  connect { sidecar_service { port = ${port} } }
}
`;

describe('a bad night', () => {
  let night: Night;
  const agents = new Map<string, StandInAgent>();
  const held: AsyncDisposable[] = [];

  beforeAll(async () => {
    for (const name of [...Object.keys(AGENT_FAULTS), ...Object.keys(DENIALS)]) agents.set(name, await agentOf());
    const addresses = Object.fromEntries(Array.from(agents, ([name, { address }]) => [name, address]));
    night = await startNight(
      {
        ...TEST_CONFIG,
        limits: { pendingHellos: 64 },
        sources: [
          { use: 'file', path: 'well.yaml' },
          { use: 'file', path: 'one.yaml' },
          { use: 'file', path: 'other.yaml' },
          { use: 'file', path: 'folder' },
          { use: 'file', mesh: 'mesh', datacenter: 'dc1', trustDomain: TRUST_DOMAIN },
          { use: 'file', mesh: 'deep', datacenter: 'dc1', trustDomain: TRUST_DOMAIN },
        ],
        plugins: ['./night.mjs'],
        stateDir: 'state',
      },
      (well) => {
        for (const [name, agent] of agents) agent.change(meshOf(name.toLowerCase(), well.address));
        return {
          'night.mjs': plugin(addresses),
          'one.yaml': { routes: [routeOf('one.example', well.address)] },
          'other.yaml': { routes: [routeOf('other.example', well.address)] },
          'folder/good.yaml': { routes: [routeOf('good.example', well.address)] },
          'folder/bad.yaml': { routes: [routeOf('bad.example', well.address)] },
          'mesh/dc1/db.hcl': MESH_FILE(well.address.port),
          'deep/dc1/db.hcl': MESH_FILE(well.address.port),
        };
      },
    );
  }, 60_000);

  afterAll(async () => {
    for (const each of held) await each[Symbol.asyncDispose]();
    await night[Symbol.asyncDispose]();
    for (const agent of agents.values()) await agent[Symbol.asyncDispose]();
  });

  const ofSource = (source: string) => (line: LogLine) => line['source'] === source;
  const ofName = (serverName: string) => (line: LogLine) => line['serverName'] === serverName;
  const write = (file: string, content: unknown): Promise<string> => night.files.write(file, content);
  const path = (file: string): string => join(night.files.path, file);

  function agentFault(name: keyof typeof AGENT_FAULTS): Injection {
    const [fault, expected] = AGENT_FAULTS[name];
    return {
      inject: async () => agents.get(name)?.misbehave(fault),
      clear: async () => agents.get(name)?.misbehave(undefined),
      ...ofAgent(name, expected),
    };
  }

  function denial(name: keyof typeof DENIALS): Injection {
    const [denied, expected] = DENIALS[name];
    return {
      inject: async () => agents.get(name)?.deny(denied),
      clear: async () => agents.get(name)?.deny({}),
      ...ofAgent(name, expected),
    };
  }

  function ofAgent(name: string, expected: RegExp): Omit<Injection, 'inject' | 'clear'> {
    return {
      about: ofSource(name),
      expected,
      labels: new RegExp(`source="${name}"`),
      continues: [inMesh(name.toLowerCase())],
      quiet: new RegExp(`source ${name}:`),
    };
  }

  /** Replaces a file of a source by `content`, and restores it. */
  function fileFault(file: string, content: string, injection: Omit<Injection, 'inject' | 'clear'>): Injection {
    let before = '';
    return {
      inject: async () => {
        before = readFileSync(path(file), 'utf8');
        await write(file, content);
      },
      clear: () => write(file, before),
      ...injection,
    };
  }

  /** A route to `address` until it is fixed, with the close code of its connections meanwhile. */
  function routeFault(serverName: string, code: string, addressOf: () => Promise<Endpoint> | Endpoint): Injection {
    const file = `folder/${serverName}.yaml`;
    return {
      async inject() {
        await write(file, { routes: [routeOf(serverName, await addressOf())] });
        await until(
          async () =>
            (await night.gateway.query(`/explain?serverName=${serverName}`)).status === 200 &&
            (await isRouted(serverName)),
        );
        await night.serve(serverName).catch(() => undefined);
      },
      clear: () => write(file, { routes: [routeOf(serverName, night.well.address)] }),
      about: ofName(serverName),
      expected: new RegExp(`^${code}`),
      labels: new RegExp(`route="${serverName}".*code="${code}"`),
      stops: [serverName],
    };
  }

  async function isRouted(serverName: string): Promise<boolean> {
    return ((await night.gateway.query(`/explain?serverName=${serverName}`)).json as { readonly found: boolean }).found;
  }

  /** Additional listeners of the gateway. */
  function listenerFault(
    name: string,
    endpointOf: () => Promise<Endpoint>,
    free: () => Promise<unknown>,
    expected: RegExp,
  ): Injection {
    return {
      inject: async () => write('places.json', [...listenersNow(), { name, endpoint: await endpointOf() }]),
      clear: free,
      about: (line) => line['listener'] === name,
      expected,
      labels: new RegExp(`listener="${name}"`),
      quiet: new RegExp(`listener ${name}:`),
    };
  }

  function listenersNow(): readonly { readonly name: string }[] {
    try {
      return JSON.parse(readFileSync(path('places.json'), 'utf8')) as readonly { readonly name: string }[];
    } catch {
      return [];
    }
  }

  let holder: Server;

  async function heldPort(): Promise<Endpoint> {
    holder = createServer().listen(0, '127.0.0.1');
    await once(holder, 'listening');
    return { host: '127.0.0.1', port: (holder.address() as AddressInfo).port };
  }

  async function silent(): Promise<Endpoint> {
    const address = await silentAddress();
    held.push(address);
    return address.address;
  }

  async function resetting(): Promise<Endpoint> {
    const backend = await tlsBackend('resets', { conduct: { kind: 'reset', afterBytes: 1 } });
    held.push(backend);
    return backend.address;
  }

  async function refusing(): Promise<Endpoint> {
    const backend = await tlsBackend('dead');
    await backend[Symbol.asyncDispose]();
    return backend.address;
  }

  const injections: Partial<Record<CauseName, () => Injection>> = {
    agentCuts: () => agentFault('agentCuts'),
    agentBreaksOff: () => agentFault('agentBreaksOff'),
    noLeader: () => agentFault('noLeader'),
    tokenDeleted: () => agentFault('tokenDeleted'),
    overload: () => agentFault('overload'),
    garbage: () => agentFault('garbage'),
    nodeReadLost: () => denial('nodeReadLost'),
    oneQueryDenied: () => denial('oneQueryDenied'),
    brokenRouteFile: () =>
      fileFault('one.yaml', 'routes: [ { serverNames: [ one.example ], backends: [ { port: 1 } ] } ]', {
        about: ofSource('file:one.yaml'),
        expected: /one\.yaml:1:\d+: expected the key "address"/,
        labels: /source="file:one\.yaml"/,
        continues: ['one.example'],
        quiet: /source file:one\.yaml/,
      }),
    deletedRouteFile: () => ({
      inject: () => rename(path('other.yaml'), path('away')),
      clear: () => rename(path('away'), path('other.yaml')),
      about: ofSource('file:other.yaml'),
      expected: /other\.yaml.*(?:ENOENT|no such file)/,
      labels: /source="file:other\.yaml"/,
      continues: ['other.example'],
      quiet: /source file:other\.yaml/,
    }),
    brokenFileInFolder: () =>
      fileFault('folder/bad.yaml', '{', {
        about: ofSource('file:folder'),
        expected: /bad\.yaml:\d+:\d+/,
        labels: /source="file:folder"/,
        continues: ['bad.example', 'good.example'],
        quiet: /source file:folder.*bad\.yaml/,
      }),
    brokenMeshFile: () =>
      fileFault('mesh/dc1/db.hcl', 'service { name = ', {
        about: ofSource('mesh:mesh'),
        expected: /db\.hcl:1:\d+/,
        labels: /source="mesh:mesh"/,
        continues: [inMesh('db')],
        quiet: /source mesh:mesh.*db\.hcl/,
      }),
    deepMeshFile: () => ({
      inject: () => write('deep/dc1/deep.json', `{"service":${'['.repeat(5_000)}`),
      clear: () => rm(path('deep/dc1/deep.json')),
      about: ofSource('mesh:deep'),
      expected: /deep\.json:1:\d+: expected at most 200 levels/,
      labels: /source="mesh:deep"/,
      quiet: /source mesh:deep.*deep\.json/,
    }),
    stateDirGone: () => ({
      inject: async () => {
        // Atomically: the file may be written at this moment.
        await rename(path('state'), path('state-before'));
        await writeFile(path('state'), 'in the way');
      },
      clear: () => rm(path('state')),
      about: (line) => String(line['msg']).includes('cannot be stored'),
      expected: /routes cannot be stored for the next start: .*state/,
      quiet: /cannot be stored/,
    }),
    allBackendsRefuse: () => routeFault('dead.example', 'CONNECT_REFUSED', refusing),
    backendSilent: () => routeFault('silent.example', 'CONNECT_TIMEOUT', silent),
    backendResets: () => routeFault('resets.example', 'UPSTREAM_RESET', resetting),
    loop: () => routeFault('loop.example', 'LOOP_DETECTED', () => night.gateway.address),
    portInUse: () =>
      listenerFault(
        'taken',
        heldPort,
        async () => holder.close(),
        /cannot listen on 127\.0\.0\.1:\d+: .*(?:in use|EADDRINUSE)/,
      ),
    addressNotOurs: () =>
      listenerFault(
        'elsewhere',
        async () => ({ host: '192.0.2.1', port: 8443 }),
        () =>
          write(
            'places.json',
            listenersNow().filter(({ name }) => name !== 'elsewhere'),
          ),
        /cannot listen on 192\.0\.2\.1:8443: .*(?:not assigned|EADDRNOTAVAIL)/,
      ),
    observerThrows: () => ({
      inject: () => write('throw', ''),
      clear: () => rm(path('throw')),
      about: (line) => line['observer'] === 'shaky',
      expected: /observer failed: the observer is ill/,
    }),
    configBroken: () =>
      fileFault('meshgate.yaml', 'listeners: [', {
        about: (line) => String(line['msg']).startsWith('reload'),
        expected: /reload refused, nothing changed: .*meshgate\.yaml/,
      }),
  };

  describe.concurrent('has many causes at a time', () => {
    for (const [name, injectionOf] of Object.entries(injections) as [CauseName, () => Injection][]) {
      const { cause, alert }: Cause = CAUSES[name];
      it(cause, { timeout: 90_000 }, async () => {
        const injection = injectionOf();
        await using established = await tlsClient(night.gateway.address, WELL);
        const since = night.gateway.lines.length;
        await injection.inject();
        if (name === 'configBroken') night.gateway.signal('SIGHUP');
        const first = await night.lineAfter(since, (line) => isTrouble(line) && injection.about(line));
        expect(logged(first)).toMatch(injection.expected);
        if (alert !== undefined) await firesMeanwhile(alert, injection);
        for (const serverName of [WELL, ...(injection.continues ?? [])])
          expect(await night.serve(serverName)).toBe('through the night');
        for (const serverName of injection.stops ?? []) await expect(night.serve(serverName)).rejects.toThrow();
        await injection.clear();
        if (injection.quiet !== undefined) await night.untilQuiet(injection.quiet);
        for (const serverName of injection.stops ?? [])
          await until(() =>
            night.serve(serverName).then(
              () => true,
              () => false,
            ),
          );
        expect(await established.echo('still here')).toBe('still here');
      });
    }

    /** The alert fires while clients keep requesting the failing route, and healthy ones. */
    async function firesMeanwhile(alert: AlertName, { labels, stops = [] }: Injection): Promise<void> {
      await whileQuerying(night, [...stops, WELL], () => night.fires(alert, labels));
    }

    it(CAUSES.silentClients.cause, async () => {
      const sockets: Socket[] = [];
      const { host, port } = night.gateway.address;
      for (let count = 0; count < 80; count += 1)
        sockets.push(connect({ host, port, localAddress: '127.0.0.2' }).on('error', () => undefined));
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      const line = await night.gateway.line(({ code }) => code === 'LIMIT_REACHED');
      expect(logged(line)).toMatch(/too many pending handshakes/);
      expect(await night.serve(WELL)).toBe('through the night');
      for (const socket of sockets) socket.destroy();
    });

    it(CAUSES.garbageClients.cause, async () => {
      for (let count = 0; count < 100; count += 1) {
        await using client = await rawClient(night.gateway.address);
        await client.send('GET / HTTP/1.1\r\nHost: check\r\n\r\n').catch(() => undefined);
        await client.closed;
      }
      expect(await night.serve(WELL)).toBe('through the night');
      expect(night.gateway.lines.filter(({ code }) => code === 'SNIFF_UNRECOGNIZED')).toHaveLength(1);
    });

    it(CAUSES.adminCrowd.cause, async () => {
      const { hostname: host, port } = new URL(night.gateway.admin);
      const sockets = Array.from({ length: 200 }, () =>
        connect({ host, port: Number(port) }).on('error', () => undefined),
      );
      expect((await night.gateway.query('/live')).status).toBe(200);
      for (const socket of sockets) socket.destroy();
    });

    it(CAUSES.agentSilent.cause, { timeout: 60_000 }, async () => {
      await using agent = await agentOf();
      agent.misbehave({ kind: 'silence' });
      await using silentNight = await startNight(
        {
          ...TEST_CONFIG,
          sources: [
            { use: 'file', path: 'well.yaml' },
            { use: 'consul', address: agent.address },
          ],
        },
        () => ({}),
        startListening,
      );
      const line = await silentNight.gateway.line(({ source, level }) => source === 'consul' && level === 'warn');
      expect(line['msg']).toMatch(/Consul agent at .*: connected, but no response in time/);
      await silentNight.fires('MeshgateSourceFailing', /source="consul"/);
      expect(await silentNight.serve(WELL)).toBe('through the night');
      agent.misbehave(undefined);
      await silentNight.gateway.logged('ready');
      expect(await silentNight.established.echo('still here')).toBe('still here');
    });

    it(CAUSES.workerKilled.cause, { timeout: 60_000 }, async () => {
      await using pool = await startNight(
        { ...TEST_CONFIG, workers: 2, sources: [{ use: 'file', path: 'well.yaml' }] },
        () => ({}),
      );
      const { pid } = pool.gateway;
      // Scraped before it happens, as Prometheus would: a counter that appears with the value 1 has not increased.
      const firing = pool.fires('MeshgateServiceFailed', /service="workers"/);
      await until(async () => (await (await fetch(new URL('/metrics', pool.gateway.admin))).text()) !== '');
      const [victim] = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
      process.kill(Number(victim), 'SIGKILL');
      const line = await pool.gateway.line(({ service }) => service === 'workers');
      expect(line['msg']).toMatch(/worker \d \(pid \d+\) was killed by SIGKILL; restarting/);
      expect(await pool.serve(WELL)).toBe('through the night');
      await firing;
      await until(async () =>
        /^meshgate_workers 2$/m.test(await (await fetch(new URL('/metrics', pool.gateway.admin))).text()),
      );
    });

    it(CAUSES.signals.cause, async () => {
      for (const signal of ['SIGUSR1', 'SIGHUP', 'SIGPIPE', 'SIGHUP', 'SIGWINCH'] as const)
        night.gateway.signal(signal);
      expect(await night.serve(WELL)).toBe('through the night');
    });
  });

  describe('in the morning', () => {
    it('no warnings remain, the connection from before is still open, and the gateway stops cleanly', async () => {
      await until(async () => (await night.warnings()).length === 0);
      expect(await night.established.echo('good morning')).toBe('good morning');
      night.established.end();
      night.gateway.signal('SIGTERM');
      expect(await night.gateway.ended).toBe(0);
    });
  });
});

/** Starts a gateway that does not become ready, and waits until it listens. */
async function startListening(config: string): Promise<ReadyDaemon> {
  const gateway = await startGateway(config, 'started');
  const { msg } = await gateway.line(({ listener }) => listener === 'main');
  const [, host = '', port = ''] = /listening on (\S+):(\d+)$/.exec(String(msg)) ?? [];
  return Object.assign(gateway, { address: { host, port: Number(port) } });
}

function isTrouble(line: LogLine): boolean {
  return line['level'] === 'warn' || line['level'] === 'error' || line['code'] !== undefined;
}

function logged(line: LogLine): string {
  const { msg, code, reason } = line;
  return typeof msg === 'string' ? msg : `${String(code)}: ${String(reason)}`;
}
