import { constants } from 'node:os';
import { expect, it } from 'vitest';
import { loadLibc, testTransport } from '@meshgate/linux';
import type { Libc, SelfTest } from '@meshgate/linux';
import { PARAMS } from '../src/abi.ts';
import { UringKernel } from '../src/kernel.ts';
import { DEFAULTS } from '../src/options.ts';
import { transportOver } from '../src/transport.ts';
import { describeWithUring } from './available.ts';

/** What the self-test reports for a kernel that behaves differently from this one. */
async function testOn(changed: (libc: Libc) => Partial<Libc>): Promise<SelfTest> {
  const libc = await loadLibc();
  return testTransport(
    transportOver(() => Promise.resolve(new UringKernel({ ...libc, ...changed(libc) }, DEFAULTS))),
    { timeoutMs: 300 },
  );
}

describeWithUring('the self-test', () => {
  it('rejects a kernel without the required io_uring', async () => {
    expect(await testOn(() => ({ io_uring_setup: () => -1, errno: () => constants.errno.EINVAL }))).toEqual({
      ok: false,
      reason: 'io_uring_setup: EINVAL (expected Linux 6.0 or later)',
    });
  });

  it('rejects a kernel whose io_uring lacks a feature', async () => {
    const lacking = (libc: Libc): Partial<Libc> => {
      let parameters: Int32Array = new Int32Array(0);
      return {
        allocate: (lengthBytes) => {
          const memory = libc.allocate(lengthBytes);
          parameters = memory.ints;
          return memory;
        },
        io_uring_setup: (entries, address) => {
          const fd = libc.io_uring_setup(entries, address);
          parameters[PARAMS.features] = 0;
          return fd;
        },
      };
    };
    expect(await testOn(lacking)).toEqual({ ok: false, reason: 'expected the io_uring of Linux 6.0 or later' });
  });

  it('rejects memory that cannot be mapped', async () => {
    expect(await testOn(() => ({ map: () => undefined, errno: () => constants.errno.ENOMEM }))).toMatchObject({
      ok: false,
      reason: expect.stringMatching(/^mmap .*ENOMEM/) as string,
    });
  });

  it('does not wait longer than its deadline for a loop that is never woken', async () => {
    const deaf = await testOn(() => ({ poll: () => ({ close: () => undefined }) }));
    expect(deaf).toEqual({ ok: false, reason: 'no response within 300 ms' });
  });
});
