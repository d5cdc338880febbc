import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { rawClient } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { transportUnderTest } from '../transport-under-test.ts';

it('a listener on a unix socket stops accepting when it is closed, although a file stands where its folder was', async () => {
  const root = mkdtempSync(join(tmpdir(), 'lost-path-'));
  const [folder, moved] = [join(root, 'run'), join(root, 'moved')];
  mkdirSync(folder);
  const options = { backlog: 16, keepAlive: { idleMs: 60_000 }, onPause: () => undefined };
  const at = { host: `unix:${join(folder, 'edge.sock')}`, port: 0 };
  const listening = await transportUnderTest().listen(at, options, (connection) => connection.destroy());
  renameSync(folder, moved);
  writeFileSync(folder, '');
  const behind = { host: `unix:${join(moved, 'edge.sock')}`, port: 0 };
  await using client = await rawClient(behind);
  await client.closed;
  await listening.close();
  await expect(rawClient(behind)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  rmSync(root, { recursive: true });
});
