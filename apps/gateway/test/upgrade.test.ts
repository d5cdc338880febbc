import { access } from 'node:fs/promises';
import { selfTest as epollTest } from '@meshgate/epoll-transport';
import { needs, tcpBackend, tlsBackend, tlsClient } from '@meshgate/testkit';
import { selfTest as uringTest } from '@meshgate/uring-transport';
import { describe, expect, it } from 'vitest';
import { activatedSockets } from '../src/run/predecessor.ts';
import { socketsFor } from '../src/run/inherited-sockets.ts';
import { folder, gatewayFolder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';
import { query, inTime, servingPid, steadyLoad, upgradable, upgraded } from './upgradable.ts';

const epoll = await epollTest();
const uring = await uringTest();

/** Repetitions of each test; `MESHGATE_UPGRADES=50` for a long run. */
const LONG_RUN = process.env['MESHGATE_UPGRADES'];

const TRANSPORTS = [
  { transport: 'node', declare: describe },
  { transport: 'epoll', declare: needs('epoll', epoll.ok || epoll.reason) },
  { transport: 'uring', declare: needs('uring', uring.ok || uring.reason) },
];
const SHAPES = [
  { shape: 'one process', workers: 1, isUnix: false, rounds: Number(LONG_RUN ?? 2) },
  { shape: 'two workers', workers: 2, isUnix: false, rounds: Number(LONG_RUN ?? 2) },
  { shape: 'two workers on a unix socket', workers: 2, isUnix: true, rounds: Number(LONG_RUN ?? 1) },
];
const KINDS = TRANSPORTS.flatMap((transport) => SHAPES.map((shape) => ({ ...transport, ...shape })));

for (const { transport, declare, shape, workers, isUnix, rounds } of KINDS) {
  declare(`an upgrade with ${shape} and the transport ${transport}`, () => {
    it('drops no connection, new or live, again and again', { timeout: 60_000 + rounds * 30_000 }, async () => {
      await using api = await tlsBackend('api.example.com');
      await using files = await gatewayFolder([api]);
      const edge = isUnix ? { address: `unix:${files.path}/edge.sock` } : { address: '127.0.0.1', port: 0 };
      const settings = { transport, workers, listeners: [{ name: 'edge', ...edge }], drain: { grace: '10m' } };
      await files.write('meshgate.yaml', { ...TEST_CONFIG, ...settings });
      await using gateway = await upgradable(`${files.path}/meshgate.yaml`);
      await using old = await tlsClient(gateway.address, 'api.example.com');
      const traffic = steadyLoad(() => tlsClient(gateway.address, 'api.example.com'));
      const pids = [await servingPid(gateway)];
      for (let round = 0; round < rounds; round += 1) {
        pids.push(await upgraded(gateway));
        expect(await query(gateway).change('POST', '/reload')).toEqual({ changes: [] });
      }
      expect(await old.echo('not cut')).toBe('not cut');
      old.end();
      expect(await inTime(gateway.exited, 'the first process to exit', gateway)).toBe(0);
      const { served, failed } = await inTime(traffic.end(), 'the load to end', gateway);
      expect(failed).toEqual([]);
      expect(served).toBeGreaterThan(rounds);
      expect(new Set(pids).size).toBe(rounds + 1);
    });
  });
}

describe('an upgrade', () => {
  it('knows which backends are down before it takes over', { timeout: 60_000 }, async () => {
    await using well = await tlsBackend('well.internal');
    // It accepts, and sends nothing, which a dial does not detect.
    await using deaf = await tcpBackend('deaf', { conduct: { kind: 'hang' } });
    await using files = await folder({ 'meshgate.yaml': TEST_CONFIG });
    const backends = [well, deaf].map(({ address: { host, port } }) => ({ address: host, port }));
    const healthCheck = { kind: 'tls', interval: '1h', timeout: '500ms' };
    const route = { name: 'api', serverNames: ['api.example.com'], healthCheck, backends };
    await files.write('routes.yaml', { routes: [route] });
    await using gateway = await upgradable(`${files.path}/meshgate.yaml`);
    const port = deaf.address.port;
    const down = gateway.line(
      ({ msg, backend }) => String(msg).startsWith('backend down') && String(backend).endsWith(`:${port}`),
    );
    await inTime(down, 'the silent backend to be down', gateway);
    await upgraded(gateway);
    for (let turn = 0; turn < 6; turn += 1) {
      await using client = await tlsClient(gateway.address, 'api.example.com');
      expect(client.serverCertificateName).toBe('well.internal');
    }
  });

  it('hands over unix sockets, of a listener and of the admin API, whose paths stay', { timeout: 80_000 }, async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    const occupied = { name: 'taken', address: '127.0.0.1', port: api.address.port };
    const path = `${files.path}/edge.sock`;
    const admin = `unix:${files.path}/admin.sock`;
    const settings = {
      ...TEST_CONFIG,
      listeners: [{ name: 'edge', address: `unix:${path}` }],
      admin: [{ address: admin }, { port: 0 }],
    };
    await using gateway = await startGateway(await files.write('meshgate.yaml', settings));
    const first = await meshgate(['upgrade', '--admin', admin]);
    expect(first).toMatchObject({ status: 0, stdout: expect.stringMatching(/^process \d+ has taken over/) });
    expect(await inTime(gateway.exited, 'the first process to exit', gateway)).toBe(0);
    await using client = await tlsClient({ host: `unix:${path}`, port: 0 }, 'api.example.com');
    expect(await client.echo('hello')).toBe('hello');
    // A failed upgrade leaves the sockets' paths, too.
    await files.write('meshgate.yaml', { ...settings, listeners: [...settings.listeners, { ...occupied }] });
    expect(await meshgate(['upgrade', '--admin', admin])).toMatchObject({ status: 1 });
    await files.write('meshgate.yaml', settings);
    const again = await meshgate(['upgrade', '--admin', admin]);
    expect(again).toMatchObject({ status: 0 });
    await using newcomer = await tlsClient({ host: `unix:${path}`, port: 0 }, 'api.example.com');
    expect(await newcomer.echo('hello')).toBe('hello');
    await newcomer[Symbol.asyncDispose]();
    await client[Symbol.asyncDispose]();
    process.kill(Number(/process (\d+)/.exec(again.stdout)?.[1]), 'SIGTERM');
    await inTime(gateway.ended, 'all processes to exit', gateway);
    await expect(access(path)).rejects.toThrow('ENOENT');
    await expect(access(`${files.path}/admin.sock`)).rejects.toThrow('ENOENT');
  });

  it('applies what a reload does not, and drops no connection', { timeout: 60_000 }, async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api], { drain: { grace: '1m' } });
    await using gateway = await upgradable(`${files.path}/meshgate.yaml`);
    await using old = await tlsClient(gateway.address, 'api.example.com');
    const traffic = steadyLoad(() => tlsClient(gateway.address, 'api.example.com'));
    await files.write('plugin.mjs', "export default { name: 'none', install() {} };");
    const changed = { workers: 2, transport: 'node', stateDir: 'state', plugins: ['./plugin.mjs'] };
    await files.write('meshgate.yaml', { ...TEST_CONFIG, drain: { grace: '1m' }, ...changed });
    const pending = (await query(gateway).change('POST', '/reload')) as { readonly changes: readonly object[] };
    expect(pending.changes).toMatchObject(pending.changes.map(() => ({ effect: 'restart' })));
    expect(pending.changes.length).toBeGreaterThan(2);
    gateway.signal('SIGUSR2');
    await inTime(gateway.logged('successor is ready, draining'), 'the successor to be ready', gateway);
    expect(await old.echo('not cut')).toBe('not cut');
    old.end();
    expect(await inTime(gateway.exited, 'the first process to exit', gateway)).toBe(0);
    expect(await query(gateway).get('/status')).toMatchObject({ workers: 2, transport: 'node', ready: true });
    expect(await query(gateway).change('POST', '/reload')).toEqual({ changes: [] });
    expect((await inTime(traffic.end(), 'the load to end', gateway)).failed).toEqual([]);
    await access(`${files.path}/state`);
  });

  it('that fails leaves everything as it was, and reports why', { timeout: 60_000 }, async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([api]);
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(gateway.address, 'api.example.com');
    await files.write('meshgate.yaml', 'listeners: 1');
    const response = await gateway.query('/upgrade', { method: 'POST' });
    expect(response).toMatchObject({ status: 409, json: { error: expect.stringContaining('exited with status 2') } });
    const failure = gateway.line(({ level }) => level === 'error');
    expect(await inTime(failure, 'the failure to be logged', gateway)).toMatchObject({
      msg: expect.stringContaining('no successor, continuing'),
    });
    expect(gateway.stderr).toContain('expected a list');
    expect(await client.echo('as before')).toBe('as before');
    await using another = await tlsClient(gateway.address, 'api.example.com');
    expect(await another.echo('as before')).toBe('as before');
    expect(await gateway.query('/ready')).toMatchObject({ status: 200 });
  });
});

describe('sockets', () => {
  const socket = (name: string, port: number, fd: number) =>
    ({ kind: 'listener', name, endpoint: { host: '127.0.0.1', port }, fd }) as const;

  it('of one endpoint are assigned to workers, and shared when there are fewer', () => {
    const all = [socket('a', 1, 3), socket('a', 1, 4), socket('a', 1, 5), socket('b', 2, 6)];
    expect([0, 1].map((slot) => socketsFor(slot, 2, all).map(({ fd }) => fd))).toEqual([
      [3, 5, 6],
      [4, 6],
    ]);
  });

  it('of a service manager belong to the listeners that they are named after', () => {
    const listeners = [
      { name: 'edge', endpoint: { host: '0.0.0.0', port: 443 } },
      { name: 'inner', endpoint: { host: '127.0.0.1', port: 8443 } },
    ];
    expect(activatedSockets(['inner', 'edge'], listeners)).toMatchObject([
      { name: 'inner', fd: 3 },
      { name: 'edge', fd: 4 },
    ]);
    expect(activatedSockets(['meshgate.socket'], listeners.slice(0, 1))).toMatchObject([{ name: 'edge', fd: 3 }]);
    expect(() => activatedSockets(['other'], listeners)).toThrow(
      'socket other of the service manager: expected the name of a listener (edge, inner)',
    );
  });
});
