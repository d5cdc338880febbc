import { access, readFile } from 'node:fs/promises';
import { formatEndpoint } from '@meshgate/core';
import { needs, rawClient, tlsBackend, tlsClient } from '@meshgate/testkit';
import { selfTest as epollTest } from '@meshgate/epoll-transport';
import { PartsCollector } from '@meshgate/core/parts';
import { describe, expect, it } from 'vitest';
import { adminClient } from '../src/admin/client.ts';
import { parseConfig } from '../src/config/config.ts';
import { atOnce, together } from '../src/run/change.ts';
import { changeText, flatSettings, planReload } from '../src/run/reload-plan.ts';
import { reloaded } from '../src/run/setting-effects.ts';
import { folder, gatewayFolder, meshgate, routesTo, startGateway, TEST_CONFIG } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';
import { eventually } from './federation/eventually.ts';
import { freePorts } from './sidecar/agent.ts';

const BASE = {
  listeners: [{ name: 'main', address: '127.0.0.1', port: 8443 }],
  sources: [{ use: 'file', path: 'routes.yaml' }],
};

function parsedConfig(config: object) {
  return parseConfig(JSON.stringify({ ...BASE, ...config }), 'meshgate.yaml');
}

function settings(config: object) {
  return flat(parsedConfig(config));
}

function flat(parsed: ReturnType<typeof parsedConfig>) {
  const lists = ['sources', 'plugins'] as const;
  const uses = lists.flatMap((list) => parsed[list].map((use, index) => ({ ...use, list, path: [list, index] })));
  const none = new PartsCollector().parts;
  return flatSettings(
    parsed,
    uses.map((use) => ({ use, parts: none })),
  );
}

/** A source that reports a warning and a metric, under its own name or another. */
const WARNING_SOURCE = `export default { name: 'warns', install(host, { name, labels = [], broken }) {
  host.reportWarning(name + ' is about to expire');
  host.metrics.counter({ name: 'looks_total', help: 'Looks', labels }).add(1, Object.fromEntries(labels.map((label) => [label, 'x'])));
  host.addSource({ name, async *watch(signal) {
    if (broken) throw new Error('never works');
    yield { version: '1', routes: [] };
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
  } });
} };`;

describe('a source of a plugin', () => {
  it('loses its warning and its metrics, whether a reload has removed it or was refused', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api], { transport: 'node' });
    await files.write('warns.mjs', WARNING_SOURCE);
    const using = (...uses: readonly object[]) => {
      const sources = uses.map((one) => ({ use: './warns.mjs', ...one }));
      return files.write('meshgate.yaml', {
        ...TEST_CONFIG,
        transport: 'node',
        sources: [...TEST_CONFIG.sources, ...sources],
      });
    };
    await using({ name: 'first' });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const warnings = async () =>
      ((await gateway.query('/ready')).json as { readonly warnings: readonly string[] }).warnings;
    const looks = async () =>
      (await (await fetch(new URL('/metrics', gateway.admin))).text()).match(/^meshgate_plugin_warns_looks_total.*$/gm);
    expect([await warnings(), await looks()]).toEqual([
      ['plugin warns: first is about to expire'],
      ['meshgate_plugin_warns_looks_total 1'],
    ]);
    await using();
    expect(await reloading(gateway)).toMatchObject({ status: 200 });
    expect([await warnings(), await looks()]).toEqual([[], null]);
    await using({ name: 'second', broken: true });
    expect(await reloading(gateway)).toMatchObject({ status: 409 });
    expect([await warnings(), await looks()]).toEqual([[], null]);
    await using({ name: 'second', labels: ['of'] });
    expect(await reloading(gateway)).toMatchObject({ status: 200 });
    expect([await warnings(), await looks()]).toEqual([
      ['plugin warns: second is about to expire'],
      ['meshgate_plugin_warns_looks_total{of="x"} 1'],
    ]);
  });
});

describe('the plan of a reload', () => {
  it.each([
    ['nothing', {}, []],
    [
      'a listener more',
      { listeners: [...BASE.listeners, { name: 'second', address: '127.0.0.1', port: 8444 }] },
      ['listeners.second: added (at once)'],
    ],
    [
      'a listener at another port',
      { listeners: [{ name: 'main', address: '127.0.0.1', port: 9443 }] },
      ['listeners.main: 127.0.0.1:8443 to 127.0.0.1:9443 (at once)'],
    ],
    [
      'a filter of a listener',
      { listeners: [{ ...BASE.listeners[0], filters: ['postgres'] }] },
      ['listeners.main: changed (at once)'],
    ],
    [
      'a source more, and one whose settings have changed',
      { sources: [{ use: 'file', path: 'other.yaml' }, { use: 'consul' }] },
      ['sources.file: changed (at once)', 'sources.consul: added (at once)'],
    ],
    ['a limit', { limits: { connections: 10 } }, ['limits.connections: auto to 10 (for new connections)']],
    [
      'a limit that is off',
      { limits: { idleTimeout: 'off' } },
      ['limits.idleTimeout: 1 h to off (for new connections)'],
    ],
    [
      'the drain and the log',
      { drain: { grace: '5s' }, log: { level: 'debug', format: 'json' } },
      [
        'drain.grace: 30 s to 5 s (at once)',
        'log.level: info to debug (at once)',
        'log.format: auto to json (at once)',
      ],
    ],
    ['the access log as a whole', { log: { access: false } }, ['log.access: on to false (at once)']],
    [
      'what takes a restart',
      { workers: 2, transport: 'node', plugins: ['./a.js'] },
      [
        'transport.use: auto to node (needs a restart: meshgate upgrade)',
        'workers: 1 to 2 (needs a restart: meshgate upgrade)',
        'plugins../a.js: added (needs a restart: meshgate upgrade)',
      ],
    ],
  ])('%s', (_what, change, expected) => {
    expect(planReload(settings({}), settings(change)).map(changeText)).toEqual(expected);
  });

  const EVERYTHING = {
    listeners: [{ name: 'other', address: '127.0.0.1', port: 9443 }],
    limits: { connections: 10, perClient: { rate: '1/s', prefix: { v4: 24 } } },
    drain: { grace: '1s' },
    log: { level: 'debug', format: 'json' },
    stateDir: '/state',
    keepAlive: { idle: '5s' },
    admin: { port: 1 },
    transport: 'node',
    workers: 2,
    prefer: { zone: 'a' },
  };
  const FEWER = { limits: { perClient: { connections: 2 } }, log: { access: false }, workers: 3 };
  it.each([
    [{}, EVERYTHING],
    [EVERYTHING, {}],
    [EVERYTHING, FEWER],
    [FEWER, EVERYTHING],
    [{}, FEWER],
    [FEWER, {}],
  ])('matches the reload: only changes that need a restart remain (%j, %j)', (before, wanted) => {
    const plan = planReload(settings(before), settings(wanted));
    const after = flat(reloaded(parsedConfig(before), parsedConfig(wanted)));
    const remaining = plan.filter(({ effect }) => effect === 'restart');
    expect(planReload(after, settings(wanted)).map(changeText).toSorted()).toEqual(
      remaining.map(changeText).toSorted(),
    );
    expect(plan.some(({ effect }) => effect !== 'restart')).toBe(true);
  });

  it('shows no settings of plugins, which may contain secrets', () => {
    const all = settings({ sources: [{ use: 'consul', token: 'a-secret' }] });
    expect(JSON.stringify(all)).not.toContain('a-secret');
  });
});

function reloading(gateway: ReadyDaemon) {
  return gateway.query('/reload', { method: 'POST' });
}

/** The keepalive timers of connections accepted on one port, and of those dialled to another, as Linux shows them. */
async function keepAliveMinutes({ local, remote }: { readonly local: number; readonly remote: number }) {
  const rows = (await readFile('/proc/net/tcp', 'latin1')).split('\n').map((line) => line.trim().split(/\s+/));
  // proc(5): `tr tm->when`, the kind of timer (2: keepalive) and hundredths of a second until it fires.
  const timersOf = (column: number, port: number): readonly number[] => {
    const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
    const timers = rows.filter((row) => row[column]?.endsWith(suffix) === true && row[5]?.startsWith('02:') === true);
    return timers
      .map((row) => Math.ceil(Number.parseInt(row[5]?.slice(3) ?? '', 16) / 6_000))
      .toSorted((a, b) => a - b);
  };
  return { accepted: timersOf(1, local), dialled: timersOf(2, remote) };
}

const epoll = await epollTest();

for (const { transport, workers, declare } of [
  { transport: 'node', workers: 1, declare: describe },
  { transport: 'node', workers: 2, declare: describe },
  { transport: 'epoll', workers: 2, declare: needs('epoll', epoll.ok || epoll.reason) },
]) {
  declare(`a reload with ${workers === 1 ? 'one process' : 'two workers'} and the transport ${transport}`, () => {
    const own = { transport, workers };

    it('opens and closes listeners, changes sources, and keeps connections', async () => {
      await using api = await tlsBackend('api.example.com');
      await using web = await tlsBackend('web.example.com');
      await using files = await gatewayFolder([api], own);
      await files.write('web.yaml', routesTo(web));
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      await using client = await tlsClient(gateway.address, 'api.example.com');
      await files.write('meshgate.yaml', {
        ...TEST_CONFIG,
        ...own,
        listeners: [{ name: 'second', address: '127.0.0.1', port: 0 }],
        sources: [{ use: 'file', path: 'web.yaml' }, ...TEST_CONFIG.sources],
      });
      const { status, json } = await reloading(gateway);
      expect({ status, json }).toMatchObject({
        status: 200,
        json: {
          changes: [
            { setting: 'listeners.main', change: 'removed' },
            { setting: 'listeners.second', change: 'added' },
            { setting: 'sources.file', change: 'added', effect: 'now' },
          ],
        },
      });
      const { listeners } = (await gateway.query('/listeners')).json as {
        readonly listeners: readonly { readonly name: string; readonly host: string; readonly port: number }[];
      };
      expect(listeners).toMatchObject([{ name: 'second', bound: true }]);
      const [second = gateway.address] = listeners;
      await using newcomer = await tlsClient(second, 'web.example.com');
      expect(await newcomer.echo('hello')).toBe('hello');
      await using still = await tlsClient(second, 'api.example.com');
      expect(await still.echo('kept')).toBe('kept');
      await expect(rawClient(gateway.address)).rejects.toThrow('ECONNREFUSED');
      expect(await client.echo('not cut')).toBe('not cut');
    });

    it('changes limits and the log, and reports what needs a restart', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await gatewayFolder([api], own);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      const changed = {
        limits: { connections: workers, connectTimeout: '2s' },
        log: { access: false },
        stateDir: 'state',
      };
      await files.write('meshgate.yaml', { ...TEST_CONFIG, ...own, ...changed });
      gateway.signal('SIGHUP');
      expect(await gateway.logged('changed settings need a restart: stateDir')).toMatchObject({ level: 'warn' });
      expect((await gateway.query('/routes')).json).toMatchObject({ routes: [{ connectTimeoutMs: 2_000 }] });
      await using first = await tlsClient(gateway.address, 'api.example.com');
      // Each of several workers has a share, and the kernel chooses the worker.
      const others = await Promise.allSettled(
        Array.from({ length: workers * 8 }, () => tlsClient(gateway.address, 'api.example.com')),
      );
      expect(others.filter(({ status }) => status === 'fulfilled').length).toBeLessThan(workers);
      expect(await first.echo('kept')).toBe('kept');
      for (const other of others) if (other.status === 'fulfilled') await other.value[Symbol.asyncDispose]();
      expect(gateway.lines.filter(({ durationMs }) => durationMs !== undefined)).toEqual([]);
    });

    it('moves the admin API and changes its token, and nothing of it comes back to the gateway as a backend', async () => {
      await using api = await tlsBackend('api.example.com');
      const [port = 0] = await freePorts(1);
      await using files = await gatewayFolder([api], own);
      await files.write('secret', 'first');
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      await using client = await tlsClient(gateway.address, 'api.example.com');
      const backend = { address: '127.0.0.1', port };
      await files.write('routes.yaml', {
        routes: [
          ...(routesTo(api) as { readonly routes: readonly object[] }).routes,
          { serverNames: ['loop.example.com'], backends: [backend] },
        ],
      });
      const moved = { ...TEST_CONFIG, ...own, admin: [{ port }, { address: `unix:${files.path}/admin.sock` }] };
      await files.write('meshgate.yaml', moved);
      expect((await reloading(gateway)).json).toMatchObject({ changes: [{ setting: 'admin', effect: 'now' }] });
      const at = (path: string, init: RequestInit = {}): Promise<Response> =>
        fetch(`http://127.0.0.1:${port}${path}`, init);
      expect((await at('/ready')).status).toBe(200);
      const isGone = async (): Promise<true> => {
        await expect(fetch(gateway.admin)).rejects.toThrow();
        return true;
      };
      await eventually('the former address is closed', isGone, 5_000);
      expect((await adminClient({ socketPath: `${files.path}/admin.sock` }).get('/status')) as object).toMatchObject({
        ready: true,
      });
      await files.write('meshgate.yaml', { ...moved, admin: { port, tokenFile: 'secret' } });
      expect((await at('/reload', { method: 'POST' })).status).toBe(200);
      expect((await at('/reload', { method: 'POST' })).status).toBe(401);
      const authorized = { method: 'POST', headers: { authorization: 'Bearer first' } };
      expect(await (await at('/reload', authorized)).json()).toEqual({ changes: [] });
      const isLoop = async (): Promise<true> => {
        await expect(tlsClient(gateway.address, 'loop.example.com')).rejects.toThrow();
        const codes = gateway.lines
          .filter(({ serverName }) => serverName === 'loop.example.com')
          .map(({ code }) => code);
        expect(codes).toContain('LOOP_DETECTED');
        return true;
      };
      // Before the new routes are in use, the name has no route.
      await eventually('a loop', isLoop, 5_000);
      expect(await client.echo('not cut')).toBe('not cut');
      const next = await adminClient(new URL(`http://127.0.0.1:${port}`), `${files.path}/secret`).change(
        'POST',
        '/upgrade',
        30_000,
      );
      expect(next).toMatchObject({ pid: expect.any(Number) });
      const isPassedOn = async (): Promise<true> => {
        expect(await (await at('/status')).json()).toMatchObject(next as object);
        return true;
      };
      await eventually('the successor', isPassedOn, 5_000);
      await at('/drain', authorized);
    });

    it('refuses an address of the admin API that is taken, and changes nothing', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await gatewayFolder([api], own);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      const admin = [{ port: 0 }, { port: api.address.port }];
      await files.write('meshgate.yaml', { ...TEST_CONFIG, ...own, admin, limits: { connectTimeout: '2s' } });
      expect(await reloading(gateway)).toMatchObject({
        status: 409,
        json: { error: expect.stringMatching(/admin.*already in use/) },
      });
      expect((await gateway.query('/routes')).json).not.toMatchObject({ routes: [{ connectTimeoutMs: 2_000 }] });
    });

    it('writes the log in another format', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await gatewayFolder([api], own);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      const write = async (log: object): Promise<void> => {
        await files.write('meshgate.yaml', { ...TEST_CONFIG, ...own, log });
        expect(await reloading(gateway)).toMatchObject({ status: 200 });
      };
      const connect = async (): Promise<void> => {
        await using client = await tlsClient(gateway.address, 'api.example.com');
        await client.get();
      };
      await write({ format: 'pretty' });
      await connect();
      await gateway.line(({ level, msg: text }) => level === undefined && /INFO.*api\.example\.com/.test(String(text)));
      await write({ format: 'json' });
      await connect();
      await gateway.line(({ serverName, durationMs }) => serverName === 'api.example.com' && durationMs !== undefined);
    });

    it('prefers other backends, and keeps the connections to the previously preferred ones', async () => {
      await using near = await tlsBackend('api.example.com');
      await using far = await tlsBackend('api.example.com');
      const zone = (name: string, { address: { host, port } }: typeof near): object => {
        return { address: host, port, labels: { zone: name } };
      };
      const backends = [zone('a', near), zone('b', far)];
      const base = { ...TEST_CONFIG, ...own };
      await using files = await folder({
        'meshgate.yaml': { ...base, prefer: { zone: 'a' } },
        'routes.yaml': { routes: [{ serverNames: ['api.example.com'], backends }] },
      });
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      const all = [await tlsClient(gateway.address, 'api.example.com')];
      await files.write('meshgate.yaml', { ...base, prefer: { zone: 'b' } });
      expect((await reloading(gateway)).json).toMatchObject({
        changes: [{ setting: 'prefer.zone', effect: 'new connections', from: 'a', to: 'b' }],
      });
      for (let count = 0; count < 4; count += 1) all.push(await tlsClient(gateway.address, 'api.example.com'));
      const { connections } = (await gateway.query('/connections')).json as {
        readonly connections: readonly { readonly backend: string; readonly age: number }[];
      };
      const of = ({ address }: typeof near): number =>
        connections.filter(({ backend }) => backend === formatEndpoint(address)).length;
      expect([of(near), of(far)]).toEqual([1, 4]);
      for (const client of all) {
        expect(await client.echo('not cut')).toBe('not cut');
        await client[Symbol.asyncDispose]();
      }
    });

    needs('linux', process.platform === 'linux' || 'no /proc/net/tcp')('on Linux', () => {
      it('applies another keepalive to new connections, of clients and to backends', async () => {
        await using api = await tlsBackend('api.example.com');
        await using files = await gatewayFolder([api], { ...own, keepAlive: { idle: '1m' } });
        await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
        await using before = await tlsClient(gateway.address, 'api.example.com');
        expect(await before.echo('hello')).toBe('hello');
        const isAs = (minutes: readonly number[]) => async (): Promise<true> => {
          const timers = await keepAliveMinutes({ local: gateway.address.port, remote: api.address.port });
          expect(timers).toEqual({ accepted: minutes, dialled: minutes });
          return true;
        };
        await eventually('a timer of each', isAs([1]), 10_000);
        await files.write('meshgate.yaml', { ...TEST_CONFIG, ...own, keepAlive: { idle: '50m' } });
        expect((await reloading(gateway)).json).toMatchObject({
          changes: [{ setting: 'keepAlive.idle', effect: 'new connections' }],
        });
        await using after = await tlsClient(gateway.address, 'api.example.com');
        expect(await after.echo('hello')).toBe('hello');
        await eventually('another timer of each', isAs([1, 50]), 10_000);
      });
    });

    it('applies a rate per client, and removes it when it is no longer set', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await gatewayFolder([api], own);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      const refused = async (): Promise<number> => {
        const attempts = Array.from({ length: 3 * workers }, () => tlsClient(gateway.address, 'api.example.com'));
        const outcomes = await Promise.allSettled(attempts);
        for (const one of outcomes) if (one.status === 'fulfilled') await one.value[Symbol.asyncDispose]();
        return outcomes.filter(({ status }) => status === 'rejected').length;
      };
      await files.write('meshgate.yaml', { ...TEST_CONFIG, ...own, limits: { perClient: { rate: '1/h' } } });
      expect(await reloading(gateway)).toMatchObject({ status: 200 });
      // Each worker has a share of the rate, of which at least one connection remains.
      expect(await refused()).toBeGreaterThanOrEqual(2 * workers);
      await files.write('meshgate.yaml', { ...TEST_CONFIG, ...own });
      expect(await reloading(gateway)).toMatchObject({ status: 200 });
      expect(await refused()).toBe(0);
    });

    it('changes nothing when the configuration is invalid, or cannot be applied, and reports why', async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await gatewayFolder([api], own);
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      await files.write('meshgate.yaml', { ...TEST_CONFIG, ...own, limit: {} });
      expect(await reloading(gateway)).toMatchObject({
        status: 422,
        json: { problems: [expect.stringContaining('unknown key "limit": did you mean "limits"?')] },
      });
      const occupied = { name: 'taken', address: '127.0.0.1', port: api.address.port };
      await files.write('meshgate.yaml', {
        ...TEST_CONFIG,
        ...own,
        listeners: [occupied],
        sources: [
          { use: 'file', path: 'routes.yaml' },
          { use: 'file', path: 'routes.yaml', poll: '0s' },
        ].slice(0, 1),
        limits: { connections: workers },
      });
      expect(await reloading(gateway)).toMatchObject({
        status: 409,
        json: { error: expect.stringContaining(`cannot listen on 127.0.0.1:${occupied.port}`) },
      });
      for (const why of ['unknown key "limit"', `cannot listen on 127.0.0.1:${occupied.port}`])
        await gateway.line(
          ({ msg }) => String(msg).startsWith('reload refused, nothing changed: ') && String(msg).includes(why),
        );
      for (let round = 0; round <= workers; round += 1) {
        await using client = await tlsClient(gateway.address, 'api.example.com');
        expect(await client.echo('as before')).toBe('as before');
      }
    });
  });
}

describe('a change of several parts', () => {
  it('applies the others when one of them throws', async () => {
    let isInUse = false;
    const throwing = atOnce(() => {
      throw new Error('broke');
    });
    const { commit } = await together([throwing, atOnce(() => void (isInUse = true))]);
    await expect(commit()).rejects.toThrow('broke');
    expect(isInUse).toBe(true);
  });
});

describe('a draining gateway', () => {
  it('refuses a reload: it opens nothing any more', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    gateway.signal('SIGTERM');
    await gateway.logged('drain started');
    const listeners = [...TEST_CONFIG.listeners, { name: 'second', address: '127.0.0.1', port: 0 }];
    await files.write('meshgate.yaml', { ...TEST_CONFIG, listeners });
    expect(await reloading(gateway)).toMatchObject({ status: 409, json: { error: 'already draining' } });
    expect((await gateway.query('/listeners')).json).toMatchObject({ listeners: [{ name: 'main' }] });
    await client[Symbol.asyncDispose]();
    expect(await gateway.ended).toBe(0);
  });
});

describe.each([1, 2])('a reload whose last part fails, with workers: %i', (workers) => {
  it('leaves everything as it was: new sockets are closed, and no limit applies', { timeout: 60_000 }, async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api], { workers });
    await files.write('silent.mjs', SILENT_SOURCE);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const [port = 0] = await freePorts(1);
    const path = `${files.path}/second.sock`;
    const second = [
      { name: 'second', address: '127.0.0.1', port },
      { name: 'third', address: `unix:${path}` },
    ];
    await files.write('meshgate.yaml', {
      ...TEST_CONFIG,
      workers,
      listeners: [...TEST_CONFIG.listeners, ...second],
      sources: [...TEST_CONFIG.sources, { use: './silent.mjs' }],
      limits: { connections: workers },
      drain: { grace: '1s' },
    });
    const before = (await gateway.query('/reload')).json;
    expect(await reloading(gateway)).toMatchObject({
      status: 409,
      json: { error: expect.stringContaining('silent') },
    });
    expect((await gateway.query('/reload')).json).toEqual(before);
    expect((await gateway.query('/listeners')).json).toMatchObject({ listeners: [{ name: 'main' }] });
    await expect(rawClient({ host: '127.0.0.1', port })).rejects.toThrow('ECONNREFUSED');
    await expect(access(path)).rejects.toThrow('ENOENT');
    const clients = await Promise.all([1, 2, 3, 4].map(() => tlsClient(gateway.address, 'api.example.com')));
    for (const client of clients) {
      expect(await client.echo('as before')).toBe('as before');
      await client[Symbol.asyncDispose]();
    }
    // It can still be applied without the invalid part.
    await files.write('meshgate.yaml', { ...TEST_CONFIG, workers, listeners: [...TEST_CONFIG.listeners, ...second] });
    expect(await reloading(gateway)).toMatchObject({ status: 200 });
    for (const address of [
      { host: '127.0.0.1', port },
      { host: `unix:${path}`, port: 0 },
    ]) {
      await using client = await tlsClient(address, 'api.example.com');
      expect(await client.echo('hello')).toBe('hello');
    }
  });
});

/** It never yields. */
const SILENT_SOURCE = `
export default { name: 'silent', install: (host) => host.addSource({ name: 'silent', async *watch(signal) {
  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
} }) };`;

describe('meshgate reload', () => {
  it('prints the changes; --check --against prints them before', async () => {
    await using files = await gatewayFolder([]);
    const config = `${files.path}/meshgate.yaml`;
    await using gateway = await startGateway(config);
    await files.write('meshgate.yaml', { ...TEST_CONFIG, drain: { grace: '1s' }, workers: 2 });
    const plan = [
      'drain.grace: 5 s to 1 s (at once)',
      'drain.spread: 100 ms to 5 s (at once)',
      'workers: 1 to 2 (needs a restart: meshgate upgrade)',
    ];
    const checked = await meshgate(['gateway', '--config', config, '--check', '--against', gateway.admin]);
    expect(checked).toMatchObject({ status: 0, stdout: expect.stringContaining(plan.join('\n')) });
    const why = [
      'workers stays as it is in a reload: each process has its share of every limit',
      'meshgate upgrade applies all of it, and drops no connection',
      '',
    ];
    expect(checked.stdout.endsWith([...plan, ...why].join('\n'))).toBe(true);
    expect(await meshgate(['reload', '--admin', gateway.admin])).toEqual({
      status: 0,
      stdout: [...plan, ...why].join('\n'),
      stderr: '',
    });
    expect(await meshgate(['reload', '--admin', gateway.admin])).toMatchObject({
      stdout: [plan[2], ...why].join('\n'),
    });
    await files.write('other.yaml', { ...TEST_CONFIG, drain: { grace: '1s' } });
    const other = ['gateway', '--config', `${files.path}/other.yaml`, '--check', '--against', gateway.admin];
    expect((await meshgate(other)).stdout.split('\n').slice(1)).toEqual([
      `note: the running gateway has read ${config}, and reads that again in a reload`,
      'nothing would change',
      '',
    ]);
    await files.write('meshgate.yaml', 'listeners: 1\nlimit: {}');
    expect(await meshgate(['reload', '--admin', gateway.admin])).toEqual({
      status: 2,
      stdout: '',
      stderr: [
        'reload refused, nothing changed:',
        `${config}:1:1: expected a list, found the number 1`,
        `${config}:1:1: expected at least one source of routes, found none`,
        `${config}:2:1: unknown key "limit": did you mean "limits"?`,
        '',
      ].join('\n'),
    });
  });
});
