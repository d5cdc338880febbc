// Health checks in a complete gateway: what an operator sees, and that all workers use the checks of one process.
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { clientHello, inRecords, rawClient, refusingAddress, tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { folder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';
import type { LogLine } from './daemon.ts';

/** The first bytes of a TLS server: enough for a health check. */
const SERVER_HELLO = Buffer.from([22, 3, 3, 0, 4, 2, 0, 0, 0]);

/** A backend that can be healthy or not. */
async function patient() {
  let isWell = true;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    if (isWell) socket.once('data', () => socket.write(SERVER_HELLO));
    else socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    become: (well: boolean) => void (isWell = well),
    async [Symbol.asyncDispose]() {
      server.close();
      await once(server, 'close');
    },
  };
}

describe.each([1, 2])('a gateway with %d workers', (workers) => {
  it('shows which backends are held back after a failover, and how they are checked', async () => {
    await using primary = await patient();
    await using backup = await patient();
    const route = {
      name: 'api',
      serverNames: ['api.example.com'],
      failover: { returnAfter: '1h' },
      healthCheck: { kind: 'tls', interval: '50ms', fall: 1, rise: 1, slowStart: '30s' },
      backends: [
        { address: '127.0.0.1', port: primary.port },
        { address: '127.0.0.1', port: backup.port, priority: 1 },
      ],
    };
    await using files = await folder({
      'meshgate.yaml': { ...TEST_CONFIG, workers },
      'routes.yaml': { routes: [route] },
    });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const isAbout =
      (what: string, port: number) =>
      ({ msg, backend }: LogLine): boolean =>
        String(msg).startsWith(what) && backend === `127.0.0.1:${port}`;
    const explained = async (): Promise<string> =>
      (await meshgate(['explain', 'api.example.com', '--admin', gateway.admin])).stdout;
    expect(await explained()).toMatch(/health check +tls, every 50 ms, timeout 2 s, rise 1, fall 1, slow start 30 s\n/);
    primary.become(false);
    await gateway.line(isAbout('backend down', primary.port));
    await using client = await rawClient(gateway.address);
    await client.send(inRecords(clientHello({ serverName: 'api.example.com' })));
    expect((await client.receive(SERVER_HELLO.length)).equals(SERVER_HELLO)).toBe(true);
    expect(await explained()).toMatch(/in use +backups of priority 1\n/);
    primary.become(true);
    await gateway.line(isAbout('backend up', primary.port));
    expect(await explained()).toMatch(/in use +backups of priority 1\n +held back +priority 0, for .* more\n/);
    const shown = { priorityInUse: 1, heldBack: [{ priority: 0 }], healthCheck: { kind: 'tls', intervalMs: 50 } };
    expect((await gateway.query('/routes')).json).toMatchObject({ routes: [shown] });
  });

  it('sends no clients to a backend that is down, and shows why', async () => {
    await using up = await tlsBackend('up.internal');
    await using down = await refusingAddress();
    const route = {
      name: 'api',
      serverNames: ['api.example.com'],
      balance: 'client_hash',
      healthCheck: { kind: 'tls', serverName: 'api.example.com', interval: '50ms', fall: 1 },
      backends: [up, down].map(({ address: { host, port } }) => ({ address: host, port })),
    };
    await using files = await folder({
      'meshgate.yaml': { ...TEST_CONFIG, workers },
      'routes.yaml': { routes: [route] },
    });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const line = await gateway.line(({ msg }) => String(msg).startsWith('backend down by its tls check: '));
    expect(line).toMatchObject({ level: 'warn', backend: `127.0.0.1:${down.address.port}` });
    for (let turn = 0; turn < 8; turn += 1) {
      await using client = await tlsClient(gateway.address, 'api.example.com');
      expect(client.serverCertificateName).toBe('up.internal');
    }
    const { json } = await gateway.query('/routes');
    const failure = expect.stringContaining('ECONNREFUSED') as string;
    expect(json).toMatchObject({
      routes: [
        {
          balance: 'client_hash',
          backends: [
            { healthy: true, check: { state: 'up', addresses: [{ state: 'up' }] } },
            { healthy: false, check: { state: 'down', addresses: [{ port: down.address.port, failure }] } },
          ],
        },
      ],
    });
    const { stdout } = await meshgate(['explain', 'api.example.com', '--admin', gateway.admin]);
    expect(stdout).toContain(`unhealthy, check of 127.0.0.1:${down.address.port} failed: `);
    const metrics = await (await fetch(new URL('/metrics', gateway.admin))).text();
    expect(metrics).toContain('\nmeshgate_backends_down 1\n');
    expect(metrics).toMatch(/\nmeshgate_health_checks_total\{result="passed"\} [1-9]/);
    expect(metrics).not.toContain('meshgate_dial_failures_total{route="api",code="CONNECT_REFUSED"}');
  });
});
