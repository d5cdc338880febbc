// Health checks in a whole gateway: what an operator sees, and that all workers heed one process's checks.
import { refusingAddress, tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { folder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';

describe.each([1, 2])('a gateway with %d workers', (workers) => {
  it('keeps clients from a backend that is down, and shows why', async () => {
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
    const { json } = await gateway.ask('/routes');
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
