import { execFile } from 'node:child_process';
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
});
