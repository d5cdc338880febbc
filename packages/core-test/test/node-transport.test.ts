import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { nodeTransport } from '@meshgate/core';
import { describeTransport, needs } from '@meshgate/testkit';
import { expect, it } from 'vitest';

describeTransport('the node transport', nodeTransport);

needs('posix', process.platform !== 'win32' || 'it has no limit of descriptors')('the node transport', () => {
  it('leaves its port free when it is closed while it binds it again after a shortage of descriptors', async () => {
    const fixture = fileURLToPath(new URL('fixtures/close-while-paused.mjs', import.meta.url));
    const command = ['-c', 'ulimit -n 64; exec "$0" "$@"', process.execPath, fixture];
    expect((await promisify(execFile)('sh', command)).stdout).toBe('ECONNREFUSED');
  });

  it('reports exhausted descriptors without any dial, and accepts again when there are some', async () => {
    const fixture = fileURLToPath(new URL('fixtures/silent-until-exhausted.mjs', import.meta.url));
    const child = spawn('sh', ['-c', 'ulimit -n 96; exec "$0" "$@"', process.execPath, fixture], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    const clients: Socket[] = [];
    try {
      const { port } = await logged<{ port: number }>(child);
      const paused = logged<Pause>(child);
      // One after the other: connections in the backlog of a listener that closes are reset.
      const crowd = connectOneByOne(port, clients, 96);
      expect(await paused).toMatchObject({ paused: true, code: 'EMFILE' });
      await crowd;
      const resumed = logged<Pause>(child, ({ paused: again }) => !again);
      for (const client of clients) client.destroy();
      expect(await resumed).toMatchObject({ paused: false });
    } finally {
      for (const client of clients) client.destroy();
      child.disconnect();
      await once(child, 'exit');
    }
  });
});

interface Pause {
  readonly paused: boolean;
  readonly code: string;
  readonly accepted: number;
}

/** The next message of the process with the type `wanted`. */
async function logged<Word>(child: ChildProcess, wanted: (word: Word) => boolean = () => true): Promise<Word> {
  for (;;) {
    const [word] = (await once(child, 'message')) as [Word];
    if (wanted(word)) return word;
  }
}

/** Clients that send nothing, until one is refused. */
async function connectOneByOne(port: number, clients: Socket[], most: number): Promise<void> {
  while (clients.length < most) {
    const client = connect(port, '127.0.0.1');
    clients.push(client);
    const isConnected = await new Promise<boolean>((resolve) => {
      client.once('connect', () => resolve(true)).on('error', () => resolve(false));
    });
    if (!isConnected) return;
  }
}
