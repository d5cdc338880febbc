import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { gatewayFolder, startGateway, TEST_CONFIG } from './daemon.ts';

describe('a gateway on a unix socket', () => {
  it('warns while the file of the socket is gone', async () => {
    await using files = await gatewayFolder([]);
    const socket = join(files.path, 'edge.sock');
    const listeners = [...TEST_CONFIG.listeners, { name: 'edge', address: `unix:${socket}` }];
    await files.write('meshgate.yaml', { ...TEST_CONFIG, listeners });
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`);
    const ready = (warnings: readonly string[]): object => ({ status: 200, json: { ready: true, warnings } });
    expect(await gateway.query('/ready')).toMatchObject(ready([]));
    await rename(socket, `${socket}.away`);
    const lost = `listener edge: its socket ${socket} was removed, no client can connect: restart the gateway`;
    expect(await gateway.query('/ready')).toMatchObject(ready([lost]));
    await rename(`${socket}.away`, socket);
    expect(await gateway.query('/ready')).toMatchObject(ready([]));
  });
});
