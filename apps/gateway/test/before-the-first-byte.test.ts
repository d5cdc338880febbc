// A backend that accepts and closes without sending a byte: what an operator sees, with one process and with several.
import { peerListener, tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { folder, meshgate, startGateway, TEST_CONFIG } from './daemon.ts';

describe.each([1, 2])('a gateway with %d workers', (workers) => {
  it('completes the handshake of a client whose first backend reset it, and reports the retry', async () => {
    await using broken = await peerListener();
    await using well = await tlsBackend('well.internal');
    const backends = [broken, well].map(({ address: { host, port } }, priority) => ({ address: host, port, priority }));
    const route = { name: 'shop', serverNames: ['shop.example.com'], retryBeforeFirstByte: true, backends };
    await using files = await folder({
      'meshgate.yaml': { ...TEST_CONFIG, workers },
      'routes.yaml': { routes: [route] },
    });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const connecting = tlsClient(gateway.address, 'shop.example.com');
    const backend = await broken.accept();
    await backend.receive(1);
    backend.reset();
    const client = await connecting;
    expect(client.serverCertificateName).toBe('well.internal');
    client.end();
    await client.closed;
    const line = await gateway.line(({ attempts }) => attempts === 2);
    expect(line).toMatchObject({ route: 'shop', backend: `127.0.0.1:${well.address.port}`, retries: 1 });
    const metrics = await (await fetch(new URL('/metrics', gateway.admin))).text();
    expect(metrics).toContain('\nmeshgate_connection_retries_total{route="shop"} 1\n');
    expect((await gateway.query('/routes')).json).toMatchObject({ routes: [{ retryBeforeFirstByte: true }] });
    const { stdout } = await meshgate(['explain', 'shop.example.com', '--admin', gateway.admin]);
    expect(stdout).toMatch(/retry\s+before the first byte/);
  });
});
