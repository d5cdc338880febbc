import { expect, it } from 'vitest';
import { RecentHellos } from '../src/recent-hellos.ts';

it('detects repeated hellos among all others, in a table that does not grow', () => {
  const recent = new RecentHellos();
  expect([0, 2 ** 52 - 1, 0, 2 ** 52 - 1].map((trace) => recent.hasSeen(trace))).toEqual([false, false, true, true]);
  // The next hello in its slot evicts it.
  expect([16_384, 0].map((trace) => recent.hasSeen(trace))).toEqual([false, false]);
  const before = process.memoryUsage().arrayBuffers;
  for (let trace = 0; trace < 200_000; trace += 1) recent.hasSeen(trace);
  expect(process.memoryUsage().arrayBuffers).toBeLessThanOrEqual(before);
});
