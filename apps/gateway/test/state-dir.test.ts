import { readdir } from 'node:fs/promises';
import { tlsBackend, tlsClient } from '@meshgate/testkit';
import { describe, expect, it } from 'vitest';
import { fileSnapshotStore } from '../src/run/snapshot-files.ts';
import { gatewayFolder, startGateway } from './daemon.ts';
import type { ReadyDaemon } from './daemon.ts';

/** A source of one route, which stays silent while a file exists. */
const SOURCE = `
import { existsSync, readFileSync } from 'node:fs';
export default { name: 'remote', install: (host) => host.addSource({
  name: 'remote',
  async *watch(signal) {
    if (!existsSync(host.baseDir + '/silent')) yield JSON.parse(readFileSync(host.baseDir + '/snapshot.json', 'utf8'));
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  },
}) };`;

/** A source of one listener, which stays silent while a file exists. */
const LOCATIONS = `
import { existsSync } from 'node:fs';
export default { name: 'places', install: (host) => host.addListenerSource({
  name: 'places',
  async *watch(signal) {
    if (!existsSync(host.baseDir + '/silent')) yield [{ name: 'place', endpoint: { host: '127.0.0.1', port: 0 } }];
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve));
  },
}) };`;

interface Bound {
  readonly bound: boolean;
}

/** The listeners, once there are some and all of them are bound. */
async function bound(gateway: ReadyDaemon): Promise<readonly Bound[]> {
  for (;;) {
    const { listeners } = (await gateway.query('/listeners')).json as { readonly listeners: readonly Bound[] };
    if (listeners.length > 0 && listeners.every((listener) => listener.bound)) return listeners;
  }
}

describe('a gateway with a state folder', () => {
  it('uses the last good routes at once when its source is unresponsive at the start, and reports it', async () => {
    await using api = await tlsBackend('api.example.com');
    await using files = await gatewayFolder([], { sources: [{ use: './remote.mjs' }], stateDir: 'state' });
    await files.write('remote.mjs', SOURCE);
    const backends = [{ address: api.address, weight: 1, healthy: true }];
    await files.write('snapshot.json', { version: '1', routes: [{ name: 'api', serverNames: [api.name], backends }] });
    const first = await startGateway(`${files.path}/meshgate.yaml`);
    first.signal('SIGTERM');
    expect(await first.ended).toBe(0);

    await files.write('silent', '');
    await using second = await startGateway(`${files.path}/meshgate.yaml`);
    await using client = await tlsClient(second.address, 'api.example.com');
    expect(await client.echo('by the kept routes')).toBe('by the kept routes');
    expect(await second.query('/ready')).toMatchObject({
      status: 200,
      json: { warnings: [expect.stringContaining('source remote: no response yet, using routes stored on')] },
    });
  });

  it('uses the last listeners when their source is unresponsive at the start', async () => {
    await using files = await gatewayFolder([], { listeners: [], plugins: ['./places.mjs'], stateDir: 'state' });
    await files.write('places.mjs', LOCATIONS);
    const first = await startGateway(`${files.path}/meshgate.yaml`);
    await bound(first);
    first.signal('SIGTERM');
    expect(await first.ended).toBe(0);

    await files.write('silent', '');
    await using second = await startGateway(`${files.path}/meshgate.yaml`);
    expect(await bound(second)).toMatchObject([{ name: 'place', host: '127.0.0.1', bound: true }]);
  });

  it('starts without stored snapshots when they are damaged, and names the file', async () => {
    await using files = await gatewayFolder([], { sources: [{ use: './remote.mjs' }], stateDir: '.' });
    await files.write('remote.mjs', SOURCE);
    await files.write('silent', '');
    await fileSnapshotStore(files.path).save('remote', { version: '1', routes: [] });
    const kept = (await readdir(files.path)).find((name) => name.endsWith('.json')) ?? '';
    await files.write(kept, '{');
    await using gateway = await startGateway(`${files.path}/meshgate.yaml`, 'started');
    await gateway.line(({ msg }) => String(msg).includes(`${files.path}/${kept} is damaged`));
    const { status, json } = await gateway.query('/ready');
    expect(status).toBe(503);
    expect(JSON.stringify(json)).toContain(`${files.path}/${kept} is damaged`);
  });
});
