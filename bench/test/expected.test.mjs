import { describe, expect, it } from 'vitest';
import { contestants, forGoals } from '../contestants.mjs';
import { expectedSeconds } from '../expected.mjs';
import { parseOptions } from '../options.mjs';

const everybody = contestants({ transports: ['node', 'epoll', 'uring'], workers: [1, 2] });

describe('a run of everything that there is', () => {
  it('is over within 25 minutes', () => {
    expect(expectedSeconds(everybody, parseOptions([]))).toBeLessThan(25 * 60);
  });

  it('is over within ten when only the goals are wanted', () => {
    expect(expectedSeconds(forGoals(everybody), parseOptions(['--goals']))).toBeLessThan(10 * 60);
  });
});

describe('the expected time', () => {
  it('counts a contestant only for the loads that it takes', () => {
    const options = parseOptions(['--only', 'rate,down-8', '--rounds', '1', '--seconds', '10']);
    const rate = expectedSeconds([{ family: 'peer', loads: ['rate'] }], options);
    const both = expectedSeconds([{ family: 'peer' }], options);
    expect(both - rate).toBeCloseTo(10.2);
  });
});
