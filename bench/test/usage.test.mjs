import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { cpuTime } from '../usage.mjs';

describe.skipIf(process.platform !== 'linux')('CPU time of a process', () => {
  it('grows with its usage, to the microsecond where the kernel accounts for it', () => {
    const before = cpuTime(process.pid);
    const clock = process.cpuUsage();
    while (spentSince(clock) < 0.05);
    const { total } = cpuTime(process.pid);
    expect(total - before.total).toBeGreaterThanOrEqual(0.05);
    if (existsSync('/proc/self/schedstat')) expect(before.total).not.toBe(Math.round(before.total * 100) / 100);
  });

  it('is the same in total, whether split or not', () => {
    const { user, system, total } = cpuTime(process.pid);
    expect(Math.abs(total - (user + system))).toBeLessThan(0.1);
  });

  it('of a process that has exited is absent', () => {
    expect(cpuTime(2 ** 22 + 1)).toEqual({ user: 0, system: 0, total: 0 });
  });
});

/** @returns {number} CPU seconds */
function spentSince(clock) {
  const { user, system } = process.cpuUsage(clock);
  return (user + system) / 1e6;
}
