import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startMesh } from '../sidecar/mesh.mjs';

const START_MS = 60_000;

describe('the measured mesh', () => {
  const folder = mkdtempSync(join(tmpdir(), 'meshgate-ways-'));
  let mesh;

  beforeAll(async () => {
    mesh = await startMesh(folder);
  }, START_MS);

  afterAll(async () => {
    await mesh?.stop();
    rmSync(folder, { recursive: true, force: true });
  }, START_MS);

  it.each([
    ['pair', 0],
    ['gateways', 1],
  ])(
    'carries data between two applications by the path %s, with %d connection at each gateway',
    async (id, connections) => {
      const before = await mesh.carried();
      expect(await echo(mesh.paths.find((path) => path.id === id).port)).toBe('eight');
      const after = await mesh.carried();
      expect(after.map((count, gateway) => count - before[gateway])).toEqual([connections, connections]);
    },
  );

  it('has a direct path that refuses clients without an identity', async () => {
    await expect(echo(mesh.paths.find(({ id }) => id === 'direct').port)).rejects.toThrow('nothing came back');
  });
});

/** The echo of a message whose first byte selects the echo mode. */
async function echo(port) {
  const socket = connect({ host: '127.0.0.1', port }).on('error', () => undefined);
  socket.write('eight');
  const closed = once(socket, 'close').then(() => Promise.reject(new Error('nothing came back')));
  const [response] = await Promise.race([once(socket, 'data'), closed]);
  closed.catch(() => undefined);
  socket.destroy();
  return response.toString();
}
