import { constants } from 'node:os';
import { join } from 'node:path';
import { selfTest } from '@meshgate/epoll-transport';
import { needs, tlsBackend, tlsClient } from '@meshgate/testkit';
import { expect, it } from 'vitest';
import { gatewayFolder, spawnMeshgate } from './daemon.ts';

const epoll = await selfTest();
const SECCOMP = new URL('../../../packages/core-test/test/linux/fixtures/seccomp.mjs', import.meta.url).href;
/** io_uring_setup(2). */
const IO_URING_SETUP = 425;

/** The Node command line with which io_uring_setup(2) fails with `errno` from the start. */
function forbidden(errno: number): readonly string[] {
  const source = `import { forbid } from '${SECCOMP}'; forbid(${IO_URING_SETUP}, ${errno});`;
  return ['--import', `data:text/javascript,${encodeURIComponent(source)}`];
}

needs('epoll', epoll.ok || epoll.reason)('where io_uring is forbidden', () => {
  it.each(['EPERM', 'ENOSYS'] as const)('%s: auto serves over epoll, and reports why in one line', async (error) => {
    await using backend = await tlsBackend('a.example');
    await using files = await gatewayFolder([{ name: 'a.example', address: backend.address }], { transport: 'auto' });
    const args = ['gateway', '--config', join(files.path, 'meshgate.yaml')];
    await using gateway = spawnMeshgate(args, forbidden(constants.errno[error]));
    const ready = (await gateway.logged('ready')) as { readonly listeners: readonly { host: string; port: number }[] };
    expect(ready).toMatchObject({ transport: 'epoll' });
    const about = gateway.lines.filter(({ msg }) => String(msg).startsWith('transport '));
    expect(about).toHaveLength(1);
    expect(about[0]?.['msg']).toMatch(`transport uring unavailable, using epoll: io_uring_setup: ${error} (`);
    const [address] = ready.listeners;
    await using client = await tlsClient(address ?? backend.address, 'a.example');
    expect(client.serverCertificateName).toBe('a.example');
  });

  it('by its name it ends the start with the reason, without a fallback', async () => {
    await using files = await gatewayFolder([], { transport: 'uring' });
    await using gateway = spawnMeshgate(
      ['gateway', '--config', join(files.path, 'meshgate.yaml')],
      forbidden(constants.errno.EPERM),
    );
    expect(await gateway.ended).not.toBe(0);
    expect(gateway.stderr + JSON.stringify(gateway.lines)).toContain('io_uring_setup: EPERM');
  });
});
