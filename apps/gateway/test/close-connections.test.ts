import { request } from 'node:http';
import { join } from 'node:path';
import { clientHello, inRecords, rawClient, tcpBackend } from '@meshgate/testkit';
import type { Peer } from '@meshgate/testkit';
import type { Endpoint } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { closeConnections, matching, parseConnectionQuery } from '../src/admin/connection-query.ts';
import type { ConnectionView } from '../src/admin/views.ts';
import { folder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';

/** A client that is connected to the backend of `name`. */
async function connected(address: Endpoint, name: string): Promise<Peer> {
  const hello = inRecords(clientHello({ serverName: name }));
  const client = await rawClient(address);
  await client.send(hello);
  await client.receive(hello.length);
  return client;
}

function files(backend: Endpoint, workers: number) {
  const backends = [{ address: backend.host, port: backend.port }];
  const routes = ['api.example.com', 'db.example.com'].map((name) => ({ serverNames: [name], backends }));
  return { 'meshgate.yaml': { ...TEST_CONFIG, workers }, 'routes.yaml': { routes } };
}

describe.each([1, 2])('live connections of a gateway with %i workers', (workers) => {
  it('are listed and closed by their properties', { timeout: 80_000 }, async () => {
    await using backend = await tcpBackend('api');
    await using at = await folder(files(backend.address, workers));
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    await using one = await connected(gateway.address, 'api.example.com');
    await using two = await connected(gateway.address, 'db.example.com');
    await using three = await connected(gateway.address, 'db.example.com');
    const admin = ['--admin', gateway.admin];
    const listed = await meshgate(['connections', ...admin, '--route', 'api.example.com', '--json']);
    const [only, ...others] = (JSON.parse(listed.stdout) as { readonly connections: readonly ConnectionView[] })
      .connections;
    expect([only?.remote, others]).toEqual([`127.0.0.1:${one.local.port}`, []]);
    expect((await meshgate(['connections', ...admin, '--client', '10.0.0.0/8'])).stdout.split('\n')).toHaveLength(2);
    expect(await meshgate(['close', only?.id ?? '', ...admin])).toMatchObject({
      status: 0,
      stdout: 'closed 1 connection\n',
    });
    await one.closed;
    const line = await gateway.line(({ id }) => id === only?.id);
    expect(line).toMatchObject({ code: 'CLOSED_BY_ADMIN', reason: 'closed by an operator' });
    expect(await meshgate(['close', only?.id ?? '', ...admin])).toMatchObject({ status: 1 });
    expect(await meshgate(['close', ...admin, '--older', '1h', '--route', 'db.example.com'])).toMatchObject({
      status: 1,
    });
    const closed = await meshgate(['close', ...admin, '--backend', `${backend.address.host}:${backend.address.port}`]);
    expect(closed).toMatchObject({ status: 0, stdout: 'closed 2 connections\n' });
    await Promise.all([two.closed, three.closed]);
  });
});

describe('with two workers', () => {
  it('every filter, and any combination, matches the connections of all workers', { timeout: 60_000 }, async () => {
    await using backend = await tcpBackend('api');
    const { port } = backend.address;
    const route = (name: string, address: string) => ({ serverNames: [name], backends: [{ address, port }] });
    await using at = await folder({
      'meshgate.yaml': { ...TEST_CONFIG, workers: 2 },
      'routes.yaml': { routes: [route('api.example.com', '127.0.0.1'), route('db.example.com', 'localhost')] },
    });
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    const clients: Peer[] = [];
    // Enough for each of two workers to have some.
    for (let index = 0; index < 12; index += 1)
      clients.push(await connected(gateway.address, index < 8 ? 'db.example.com' : 'api.example.com'));
    const of = async (query: string): Promise<readonly ConnectionView[]> => {
      const { json } = await gateway.query(`/connections${query}`);
      return (json as { readonly connections: readonly ConnectionView[] }).connections;
    };
    const close = async (query: string): Promise<unknown> =>
      (await gateway.query(`/connections/close?${query}`, { method: 'POST' })).json;
    expect(await of(`?backend=localhost:${port}`)).toHaveLength(8);
    expect(await of(`?backend=127.0.0.1:${port}&client=127.0.0.0/8&olderThan=0s`)).toHaveLength(12);
    expect(await close('olderThan=1h&client=127.0.0.1')).toEqual({ closed: 0 });
    expect(await close('client=::1&route=db.example.com')).toEqual({ closed: 0 });
    expect(await close('client=::ffff:127.0.0.1&route=api.example.com')).toEqual({ closed: 4 });
    expect(await close(`backend=localhost:${port}&olderThan=0s`)).toEqual({ closed: 8 });
    for (const client of clients) await client.closed;
    expect(await of('')).toEqual([]);
  });
});

const HOSTILE_IDS = [
  '..',
  '%2e%2e',
  '..%2F..',
  '%00',
  '%ff',
  '%',
  '__proto__',
  'a%2Fb',
  '1%20',
  '1;x',
  '',
  '*',
  '%1b[31m',
];

/** The status of `DELETE /connections/ID`, with an id that is sent unescaped. */
function deletion(admin: string, id: string): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(admin);
    const sent = request({ hostname, port, method: 'DELETE', path: `/connections/${id}` }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    sent.on('error', reject).end();
  });
}

describe('the selection of connections to close', () => {
  it('ignores a hostile id', async () => {
    await using at = await folder(files({ host: '127.0.0.1', port: 1 }, 1));
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    await using silent = await rawClient(gateway.address);
    for (const id of HOSTILE_IDS) expect([id, await deletion(gateway.admin, id)]).toEqual([id, 404]);
    expect(await deletion(gateway.admin, 'a'.repeat(100_000))).toBe(431);
    expect((await gateway.query('/connections')).json).toMatchObject({ connections: [{ state: 'sniffing' }] });
    silent.end();
  });

  it('is required, and must be valid', async () => {
    await using at = await folder(files({ host: '127.0.0.1', port: 1 }, 1));
    await using gateway = await startGateway(join(at.path, 'meshgate.yaml'));
    const post = (query: string) => gateway.query(`/connections/close${query}`, { method: 'POST' });
    expect(await post('')).toMatchObject({
      status: 400,
      json: { error: expect.stringContaining('expected one of route') },
    });
    expect(await post('?rout=api')).toMatchObject({ status: 400 });
    expect(await post('?route=api&route=db')).toMatchObject({
      status: 400,
      json: { error: 'expected route once, found it 2 times' },
    });
    expect(await post('?client=10.0.0.0/33')).toMatchObject({ status: 400 });
    expect(await post('?olderThan=1')).toMatchObject({ status: 400 });
    expect(await post('?route=api')).toEqual({ status: 200, json: { closed: 0 } });
    expect(await gateway.query('/connections/nobody', { method: 'DELETE' })).toMatchObject({ status: 404 });
    const { status, stderr } = await meshgate(['close', '--admin', gateway.admin]);
    expect([status, stderr]).toEqual([2, expect.stringContaining('expected the id of a connection')]);
  });

  it('matches all given criteria', () => {
    const view = {
      id: '1',
      remote: '[2001:db8::1]:4711',
      route: 'api',
      backend: '10.0.0.1:443',
      ageMs: 61_000,
    } as ConnectionView;
    const selected = (query: string): boolean => {
      const parsed = parseConnectionQuery(new URLSearchParams(query));
      return typeof parsed !== 'string' && matching(parsed)(view);
    };
    expect(selected('route=api&client=2001:db8::/32&backend=10.0.0.1:443&olderThan=1m')).toBe(true);
    expect(['route=db', 'client=192.0.2.0/24', 'backend=10.0.0.2:443', 'olderThan=2m'].filter(selected)).toEqual([]);
  });

  it('closes 50,000 connections in turns with all other work', async () => {
    let cuts = 0;
    const connection = {
      id: '1',
      listener: 'main',
      remote: { host: '192.0.2.1', port: 1 },
      local: { host: '192.0.2.2', port: 2 },
      at: 0,
    };
    const live = { state: 'sniffing', connection, attempts: 0, bytesUp: 0, bytesDown: 0, lastByteAt: 0 } as const;
    const sessions = Array.from({ length: 50_000 }, () => ({ live, cut: () => (cuts += 1) > 0 }));
    let turns = 0;
    const counting = setInterval(() => (turns += 1), 0);
    expect(await closeConnections(sessions, { client: '192.0.2.0/24' })).toBe(50_000);
    clearInterval(counting);
    expect([cuts, turns > 2]).toEqual([50_000, true]);
  });
});
