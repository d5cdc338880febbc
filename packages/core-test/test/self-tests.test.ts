// How the Linux transports report that they cannot work. Runs anywhere, so nothing is skipped.
import { execFile } from 'node:child_process';
import { constants } from 'node:os';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import type { SelfTest } from '@meshgate/uring-transport';
import { fixture, output } from './linux/processes.ts';

const CALLS = { io_uring_setup: 425, io_uring_enter: 426, io_uring_register: 427 };

describe.each(['epoll', 'uring'])('where the %s transport cannot work', (transport) => {
  it.each([
    ['processor', `expected linux on x64 or arm64, found ${process.platform} on riscv64`],
    ['koffi', 'koffi cannot be loaded: no binary'],
  ])('its self-test reports why, and nothing crashes: %s', async (what, reason) => {
    expect(await output('unsupported.mjs', transport, what)).toEqual({ ok: false, reason });
  });
});

describe.skipIf(process.platform !== 'linux')('where io_uring is forbidden or too old', () => {
  it.each([
    ['io_uring_setup', 'EPERM'],
    ['io_uring_setup', 'ENOSYS'],
    ['io_uring_setup', 'ENOMEM'],
    ['io_uring_setup', 'EINVAL'],
    ['io_uring_enter', 'EPERM'],
    ['io_uring_register', 'EPERM'],
  ] as const)('the self-test reports it, and nothing crashes or leaks, when %s fails with %s', async (call, error) => {
    expect(await output('forbidden.mjs', String(CALLS[call]), String(constants.errno[error]))).toMatchObject({
      ok: false,
      reason: expect.stringMatching(`^${call}: ${error} \\(.+\\)$`) as string,
    });
  });

  it('works even if no memory may be locked, or names the limit', async ({ skip }) => {
    // Without the privilege to raise the limit: in a user namespace.
    const limited = ['-c', 'ulimit -l 0 && exec unshare --user "$0" "$@"', process.execPath];
    const run = promisify(execFile)('sh', [...limited, fixture('self-test.mjs'), 'uring'], { timeout: 10_000 });
    const found = await run.then(({ stdout }) => JSON.parse(stdout) as SelfTest).catch(() => undefined);
    skip(found === undefined, 'needs user namespaces');
    if (found?.ok === false) expect(found.reason).toMatch(/RLIMIT_MEMLOCK|EPERM|ENOSYS|EINVAL/);
  });
});
