import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ListenAddress, Route, RouteSnapshot } from '@meshgate/core';
import { describe, expect, it } from 'vitest';
import { fileListenerStore, fileSnapshotStore } from '../src/run/snapshot-files.ts';
import { folder } from './daemon.ts';

const snapshot: RouteSnapshot = {
  version: 'v1',
  routes: [
    {
      name: 'api',
      kind: 'static',
      serverNames: ['api.example.com'],
      backends: [{ address: { host: '10.0.0.1', port: 443 }, weight: 1, healthy: true }],
      origin: { file: 'routes.yaml' },
    },
  ],
};

describe('a snapshot store on files', () => {
  it('returns what was stored last', async () => {
    await using files = await folder();
    const snapshots = fileSnapshotStore(join(files.path, 'state', 'deep'));
    await snapshots.save('consul', { version: 'v0', routes: [] });
    await snapshots.save('consul', snapshot);
    await snapshots.save('../other', { version: 'x', routes: [] });
    expect(await snapshots.load('consul')).toEqual({ snapshot, savedAt: expect.any(Date) });
    expect((await snapshots.load('../other'))?.snapshot.version).toBe('x');
    expect((await readdir(join(files.path, 'state', 'deep'))).length).toBe(2);
  });

  it.runIf(process.platform === 'linux')('rejects immediately if the system refuses the folder', async () => {
    // Node's recursive mkdir never returns there.
    const saving = fileSnapshotStore('/proc/nobody/state').save('consul', snapshot);
    await expect(saving).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('preserves limits that are off, which JSON cannot represent', async () => {
    await using files = await folder();
    const snapshots = fileSnapshotStore(files.path);
    const limits = { idleTimeoutMs: Infinity, halfCloseTimeoutMs: Infinity, maxAgeMs: 1_000, connections: 5 };
    const routes = snapshot.routes.map((route): Route => ({ ...route, limits }));
    await snapshots.save('files', { ...snapshot, routes });
    expect((await snapshots.load('files'))?.snapshot.routes).toEqual(routes);
  });

  it('returns listeners with all settings of their source', async () => {
    await using files = await folder();
    const snapshots = fileListenerStore(files.path);
    const listeners: readonly ListenAddress[] = [
      {
        name: 'wan',
        endpoint: { host: '127.0.0.1', port: 8443 },
        advertised: [{ host: '192.0.2.1', port: 443 }],
        access: { allow: ['10.0.0.0/8'] },
      },
    ];
    await snapshots.save('consul', listeners);
    expect(await snapshots.load('consul')).toEqual(listeners);
  });

  it('has nothing for a source that was never stored', async () => {
    await using files = await folder();
    expect(await fileSnapshotStore(files.path).load('consul')).toBeUndefined();
  });

  it('is readable by its owner only', async () => {
    await using files = await folder();
    const state = join(files.path, 'state');
    await fileSnapshotStore(state).save('consul', snapshot);
    const [name = ''] = await readdir(state);
    const mode = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);
    expect([await mode(state), await mode(join(state, name))]).toEqual(['700', '600']);
  });

  it.each([
    ['is cut off', (text: string) => text.slice(0, -10)],
    ['is of another format', (text: string) => text.replace('"format":1', '"format":2')],
    ['lacks an address', (text: string) => text.replace('"host":"10.0.0.1",', '')],
    ['is empty', () => ''],
  ])('rejects a file that %s, by name', async (_claim, damage) => {
    await using files = await folder();
    const snapshots = fileSnapshotStore(files.path);
    await snapshots.save('consul', snapshot);
    const [name = ''] = await readdir(files.path);
    const file = join(files.path, name);
    await writeFile(file, damage(await readFile(file, 'utf8')));
    await expect(snapshots.load('consul')).rejects.toThrow(`${file} is damaged: `);
  });

  it('keeps the previous file when it cannot write, and no partial one', async () => {
    await using files = await folder({ state: 'a file, no folder' });
    const snapshots = fileSnapshotStore(join(files.path, 'state'));
    await expect(snapshots.save('consul', snapshot)).rejects.toThrow();
    expect(await readdir(files.path)).toEqual(['state']);
  });
});
