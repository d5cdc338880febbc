import { describe, expect, it } from 'vitest';
import type { Libc } from '../src/libc.ts';
import { PipePool, pipesOf } from '../src/pipe-pool.ts';

const MIB = 1024 * 1024;

/** A kernel in which pipes can be resized, or not, and which counts open pipes. */
function kernel(resizes: boolean) {
  const open = new Set<number>();
  let next = 3;
  const ends = { address: 0, ints: new Int32Array(2) };
  const libc = {
    allocate: () => ends,
    pipe2: () => {
      ends.ints.set([next, next + 1]);
      open.add(next).add(next + 1);
      next += 2;
      return 0;
    },
    fcntl: () => (resizes ? 0 : -1),
    close: (fd: number) => (open.delete(fd) ? 0 : -1),
  } as unknown as Libc;
  return { libc, open };
}

describe('pipes', () => {
  it.each([
    ['half of what a user may have', 16_384, false, 32],
    ['no more than enough, without a limit', 0, false, 256],
    ['no more than enough, for root', 16_384, true, 256],
    ['none, where not even one is allowed', 64, false, 0],
  ])('are %s', (_claim, userPages, isRoot, most) => {
    expect(pipesOf(MIB, userPages, isRoot)).toBe(most);
  });

  it('that the system refuses to enlarge are closed: bytes are copied instead', () => {
    const { libc, open } = kernel(false);
    const pool = new PipePool(libc, MIB, 4);
    expect([pool.take(), pool.take(), open.size, pool.usage.used]).toEqual([undefined, undefined, 0, 0]);
  });

  it('are bounded in number', () => {
    const { libc, open } = kernel(true);
    const pool = new PipePool(libc, MIB, 2);
    const acquired = [pool.take(), pool.take(), pool.take()];
    expect(acquired.filter((pipe) => pipe !== undefined)).toHaveLength(2);
    expect(open.size).toBe(4);
  });
});
