// Two gateways that route to each other: a connection loops until a limit ends it, and the metrics identify the loop.
import { join } from 'node:path';
import { clientHello, inRecords, rawClient } from '@meshgate/testkit';
import type { Endpoint } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { folder, startGateway, TEST_CONFIG } from './daemon.ts';
import type { LogLine, ReadyDaemon } from './daemon.ts';

const LIMIT = 8;

const BEHIND_BALANCER = { name: 'proxied', address: '127.0.0.1', port: 0, proxyProtocol: { from: ['127.0.0.0/8'] } };

/** The second listener of a gateway. */
async function listenersOf(gateway: ReadyDaemon): Promise<Readonly<Record<string, Endpoint>>> {
  const { listeners } = (await gateway.query('/listeners')).json as {
    readonly listeners: readonly (Endpoint & { readonly name: string })[];
  };
  return Object.fromEntries(listeners.map(({ name, host, port }) => [name, { host, port }]));
}

describe('a dial that would loop', () => {
  it(
    'is refused by any address of the listener, its other listeners, and the admin API',
    { timeout: 80_000 },
    async () => {
      const sockets = { unix: 'gateway.sock', admin: 'admin.sock' };
      await using files = await folder({ 'routes.yaml': { routes: [] } });
      const at = (name: string): string => `unix:${join(files.path, name)}`;
      await files.write('meshgate.yaml', {
        ...TEST_CONFIG,
        listeners: [
          ...TEST_CONFIG.listeners,
          { name: 'any', address: '0.0.0.0', port: 0 },
          BEHIND_BALANCER,
          { name: 'unix', address: at(sockets.unix) },
        ],
        admin: [{ port: 0 }, { address: at(sockets.admin) }],
      });
      await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
      const known = await listenersOf(gateway);
      const [main, any, proxied] = ['main', 'any', 'proxied'].map((name) => known[name]?.port ?? 0);
      const backends: Readonly<Record<string, object>> = {
        itself: { address: '127.0.0.1', port: main },
        mapped: { address: '::ffff:127.0.0.1', port: main },
        'mapped-in-hex': { address: '::ffff:7f00:1', port: main },
        named: { address: 'localhost', port: main },
        'any-address': { address: '0.0.0.0', port: main },
        'wildcard-listener': { address: '127.9.9.9', port: any },
        'other-listener': { address: '127.0.0.1', port: proxied, proxyProtocol: 'v2' },
        'unix-socket': { address: at(sockets.unix) },
        'unix-socket-by-detour': { address: `unix:${files.path}/./${sockets.unix}` },
        'admin-port': { address: '127.0.0.1', port: Number(new URL(gateway.admin).port) },
        'admin-socket': { address: at(sockets.admin) },
      };
      const routes = Object.entries(backends).map(([name, backend]) => {
        return { name, serverNames: [`${name}.test`], backends: [backend] };
      });
      await files.write('routes.yaml', { routes });
      await gateway.line(({ msg, appeared }) => String(msg).startsWith('routes updated') && appeared !== undefined);
      const codes: Record<string, unknown> = {};
      for (const name of Object.keys(backends)) {
        await using client = await rawClient(gateway.address);
        await client.send(inRecords(clientHello({ serverName: `${name}.test` })));
        await client.closed;
        codes[name] = (await gateway.line((line: LogLine) => line['route'] === name && 'code' in line))['code'];
      }
      // Nothing listens on the other of localhost's two addresses.
      expect({ ...codes, named: undefined }).toEqual({
        ...Object.fromEntries(Object.keys(backends).map((name) => [name, 'LOOP_DETECTED'])),
        named: undefined,
      });
      expect(['LOOP_DETECTED', 'CONNECT_REFUSED']).toContain(codes['named']);
    },
  );
});

it('a loop through another gateway ends at the limit of a client, and is visible in the metrics', async () => {
  const limits = { perClient: { connections: LIMIT } };
  await using files = await folder({ 'meshgate.yaml': { ...TEST_CONFIG, limits }, 'routes.yaml': { routes: [] } });
  await using one = await startGateway(`${files.path}/meshgate.yaml`);
  const toOne = { serverNames: ['*'], backends: [{ address: '127.0.0.1', port: one.address.port }] };
  await using others = await folder({ 'meshgate.yaml': TEST_CONFIG, 'routes.yaml': { routes: [toOne] } });
  await using other = await startGateway(`${others.path}/meshgate.yaml`);
  const toOther = { serverNames: ['*'], backends: [{ address: '127.0.0.1', port: other.address.port }] };
  await files.write('routes.yaml', { routes: [toOther] });
  await one.line(({ msg, appeared }) => String(msg).startsWith('routes updated') && appeared !== undefined);
  await using client = await rawClient(one.address);
  await client.send(inRecords(clientHello({ serverName: 'around.example.com' })));
  await client.closed;
  const refused = await one.line(({ code }) => code === 'LIMIT_REACHED');
  expect(refused['msg']).toContain('limits.perClient.connections');
  const metrics = await (await fetch(new URL('/metrics', one.admin))).text();
  expect(metrics).toMatch(new RegExp(`meshgate_hellos_repeated_total\\{listener="main"\\} ${LIMIT - 1}\n`));
});
