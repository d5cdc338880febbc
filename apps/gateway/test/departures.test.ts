// A backend that is removed while it has connections, in a complete gateway: with one process, and with workers that
// each close their own.
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { clientHello, inRecords, rawClient, tcpBackend } from '@meshgate/testkit';
import type { Peer } from '@meshgate/testkit';
import type { Endpoint } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { folder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';

const HELLO = inRecords(clientHello({ serverName: 'api.example.com' }));

async function connected(to: Endpoint): Promise<Peer> {
  const client = await rawClient(to);
  await client.send(HELLO);
  await client.receive(HELLO.length);
  return client;
}

describe.each([1, 2])('a gateway with %d workers', (workers) => {
  it('closes the connections of a backend that is removed from a route file, and reports it', async () => {
    await using old = await tcpBackend('old');
    await using fresh = await tcpBackend('fresh');
    const routes = (...backends: readonly { readonly address: Endpoint }[]) => ({
      routes: [
        {
          serverNames: ['api.example.com'],
          onBackendRemoved: { grace: '100ms', spread: '50ms' },
          onBackendDown: 'close',
          backends: backends.map(({ address: { host, port } }) => ({ address: host, port })),
        },
      ],
    });
    await using files = await folder({ 'meshgate.yaml': { ...TEST_CONFIG, workers }, 'routes.yaml': routes(old) });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const clients = [
      await connected(gateway.address),
      await connected(gateway.address),
      await connected(gateway.address),
    ];
    await files.write('routes.yaml', routes(fresh));
    const backend = `127.0.0.1:${old.address.port}`;
    for (const client of clients) await client.closed;
    const isOurs = ({ code }: Readonly<Record<string, unknown>>): boolean => code === 'BACKEND_REMOVED';
    const line = await gateway.line(isOurs);
    expect(line).toMatchObject({ backend, reason: `${backend} was removed, of route api.example.com` });
    const logged = await gateway.line(({ msg }) =>
      String(msg).startsWith('backend of route api.example.com was removed'),
    );
    expect(logged).toMatchObject({ level: 'info', backend });
    const metrics = await (await fetch(new URL('/metrics', gateway.admin))).text();
    expect(metrics).toMatch(/meshgate_connections_closed_total\{.*code="BACKEND_REMOVED".*\} 3\n/);
    expect((await gateway.query('/routes')).json).toMatchObject({
      routes: [{ onBackendRemoved: { graceMs: 100, spreadMs: 50 }, onBackendDown: { graceMs: 0, spreadMs: 5_000 } }],
    });
    const { stdout } = await meshgate(['explain', 'api.example.com', '--admin', gateway.admin]);
    expect(stdout).toMatch(/removed backend\s+connections closed after 100 ms, spread over 50 ms/);
    await using kept = await connected(gateway.address);
    await kept.send('.');
    await kept.receive(1);
  });

  it('closes the connections of a backend that goes down by its health checks', async () => {
    // It stops listening while its connections continue.
    const server = createServer((socket) => socket.on('error', () => undefined).pipe(socket));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const route = {
      serverNames: ['api.example.com'],
      onBackendDown: { grace: '0s', spread: '0s' },
      healthCheck: { interval: '50ms', fall: 1, rise: 1 },
      backends: [{ address: '127.0.0.1', port }],
    };
    await using files = await folder({
      'meshgate.yaml': { ...TEST_CONFIG, workers },
      'routes.yaml': { routes: [route] },
    });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const clients = [await connected(gateway.address), await connected(gateway.address)];
    const stopped = once(server, 'close');
    server.close();
    for (const client of clients) await client.closed;
    const line = await gateway.line(({ code }) => code === 'BACKEND_REMOVED');
    expect(line).toMatchObject({ reason: `127.0.0.1:${port} is down, of route api.example.com` });
    await stopped;
  });
});
